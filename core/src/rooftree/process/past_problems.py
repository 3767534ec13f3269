"""What is over when it can be told, as problems that stay for a while, so that somebody sees it all the same.

That is a block of the event loop, a problem of the plugin whose code it was, and an end of Rooftree that nobody asked
for, of which the next start knows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import define, field

from rooftree.clock import Clock
from rooftree.events import Problem, Problems
from rooftree.process.loop_watchdog import Block, LoopBlocked

BLOCKED: Final = "loop_blocked"
ENDED: Final = "ended_unexpectedly"
STAYS: Final = {BLOCKED: timedelta(hours=1), ENDED: timedelta(days=1)}
"""How long after it happened last the problem is cleared, by its type."""
LOOK_EVERY: Final = timedelta(minutes=1)
"""How often it is looked which are due."""


@define
class PastProblems:
    """Reports them, and clears each when it has stayed."""

    _problems: Problems
    _clock: Clock
    _last: dict[str, float] = field(factory=dict)
    """When it last happened, by the problem's key, on the monotonic clock."""

    def __attrs_post_init__(self) -> None:
        for problem in self._problems:  # of an earlier process: seen for another while
            if problem.type in STAYS:
                self._last[problem.key] = self._clock.monotonic()

    def blocked(self, block: LoopBlocked) -> None:
        """The loop was blocked."""
        owner = f"Plugin {block.plugin}" if block.plugin else "Rooftree"
        self._report(
            Problem(
                BLOCKED,
                "plugin",
                block.plugin or "kernel",
                f"{owner} held up everything for {block.seconds:g} s in {block.where}. What computes or waits that "
                "long belongs into a thread",
                extra={"where": block.where, "seconds": block.seconds},
                plugin=block.plugin,
            )
        )

    def ended(self, block: Block | None) -> None:
        """The process before this one ended though nobody had asked it to.

        :param block: what blocked the loop then
        """
        known = next((problem for problem in self._problems if problem.type == ENDED), None)
        times = 1 + (known.extra or {}).get("times", 0) if known is not None else 1
        often = "" if times == 1 else f" {times} times"
        why = f"its event loop was blocked by {block}" if block else "it crashed, or was killed"
        when = self._clock.now().isoformat(timespec="seconds")
        self._report(
            Problem(
                ENDED,
                "system",
                None,
                f"Rooftree ended{often} without being told to, and was started again, last at {when}: {why}. The log "
                "of before says more",
                extra={"times": times, "started": when},
            )
        )

    def _report(self, problem: Problem) -> None:
        self._last[problem.key] = self._clock.monotonic()
        self._problems.report(problem)

    async def forget(self) -> None:
        """Clear what was long ago."""
        now = self._clock.monotonic()
        for problem in list(self._problems):
            last = self._last.get(problem.key)
            if last is not None and now - last >= STAYS[problem.type].total_seconds():
                del self._last[problem.key]
                self._problems.clear(problem.type, problem.context, problem.reference)
