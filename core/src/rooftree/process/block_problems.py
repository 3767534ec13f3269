"""What blocks the event loop, told: as a problem of each plugin whose code did, which stays for a while.

A block is over when it can be told. So that somebody sees it all the same, its problem stays for an hour after the last
block of that plugin.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import define, field

from rooftree.clock import Clock
from rooftree.events import Problem, Problems
from rooftree.process.loop_watchdog import LoopBlocked

PROBLEM: Final = "loop_blocked"
STAYS: Final = timedelta(hours=1)
"""How long after the last block the problem is cleared."""
LOOK_EVERY: Final = timedelta(minutes=1)
"""How often it is looked which are due."""


@define
class BlockProblems:
    """Reports blocks, and clears them when none came for :data:`STAYS`."""

    _problems: Problems
    _clock: Clock
    _last: dict[str, float] = field(factory=dict)
    """When it last happened, by who did, on the monotonic clock."""

    def __attrs_post_init__(self) -> None:
        for problem in self._problems:  # of an earlier process: seen for another while
            if problem.type == PROBLEM and problem.reference is not None:
                self._last[problem.reference] = self._clock.monotonic()

    def blocked(self, block: LoopBlocked) -> None:
        """The loop was blocked."""
        who = block.plugin or "kernel"
        self._last[who] = self._clock.monotonic()
        owner = f"Plugin {block.plugin}" if block.plugin else "Rooftree"
        self._problems.report(
            Problem(
                PROBLEM,
                "plugin",
                who,
                f"{owner} held up everything for {block.seconds:g} s in {block.where}. What computes or waits that "
                "long belongs into a thread",
                extra={"where": block.where, "seconds": block.seconds},
                plugin=block.plugin,
            )
        )

    async def forget(self) -> None:
        """Clear what was long ago."""
        now = self._clock.monotonic()
        for who in [who for who, last in self._last.items() if now - last >= STAYS.total_seconds()]:
            del self._last[who]
            self._problems.clear(PROBLEM, "plugin", who)
