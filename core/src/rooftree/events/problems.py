"""Problems: what is wrong and still wrong.

A problem is kept until it is cleared, so nobody has to be listening when it appears; changes are events besides. What
the API lists as issue, unsupported and unhealthy are problems of these severities.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
from collections.abc import Iterator
from typing import Any, Literal, Self

import structlog
from attrs import evolve, field, frozen

from rooftree.context import plugin_under_way
from rooftree.errors import Unavailable
from rooftree.events.bus import Event, EventBus
from rooftree.model import without_addresses
from rooftree.services import Service
from rooftree.state import Change, Collection, State, document

log = structlog.get_logger(__name__)

type ProblemFacts = dict[str, Any]
"""What is known of a problem besides; whoever reports that type of problem decides."""
type Severity = Literal["issue", "unsupported", "unhealthy"]


@document("kernel.problem", version=1)
@frozen
class Problem:
    """Something wrong. Type, context and reference together tell one problem from another."""

    type: str
    """A stable word, such as ``free_space``; the reference's where it has one."""
    context: str = "system"
    """The domain it concerns, in a word of the API's closed list: ``system``, ``plugin``, or one that a plugin owns.
    One problem with another makes the whole list unreadable for clients."""
    reference: str | None = None
    """What it concerns in that domain, such as a name."""
    message: str = ""
    """One sentence for people: what is wrong, and what to do."""
    suggestions: tuple[str, ...] = ()
    """What could be done about it, as stable words."""
    severity: Severity = "issue"
    extra: ProblemFacts | None = None
    uuid: str = field(factory=lambda: secrets.token_hex(16))
    plugin: str | None = None
    """The plugin that reported it, filled in by the kernel: when that is uninstalled, nobody else would clear it."""

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.type}/{self.context}/{self.reference or ''}"


@frozen
class ProblemReported(Event):
    """A problem appeared, or what is known of it changed."""

    problem: Problem


@frozen
class ProblemCleared(Event):
    """A problem is no more."""

    problem: Problem


class Problems:
    """The problems there are. Reporting and clearing return at once; what they change is written behind."""

    def __init__(self, kept: Collection[Problem], state: State, bus: EventBus) -> None:
        self._kept = kept
        self._state = state
        self._bus = bus
        self._now = dict(kept)
        self._writes: set[asyncio.Task[None]] = set()
        self._reporter: str | None = None
        self._aside: set[str] = set()

    def reported_by(self, plugin: str) -> Self:
        """The same problems, for a plugin: what it reports here is known to be its own."""
        view = copy.copy(self)
        view._reporter = plugin
        return view

    @classmethod
    async def load(cls, state: State, bus: EventBus) -> Problems:
        """Read the problems that were there when the process ended."""
        problems = cls(await state.collection(Problem), state, bus)
        for problem in problems:
            log.warning("problem_still_there", type=problem.type, context=problem.context, reference=problem.reference,
                        message=problem.message)  # fmt: skip
        return problems

    def report(self, problem: Problem) -> None:
        """Something is wrong. Reporting what is known already, unchanged, does nothing."""
        known = self._now.get(problem.key)
        under_way = plugin_under_way.get()
        reporter = self._reporter or problem.plugin or (under_way if under_way != "kernel" else None)
        problem = evolve(problem, plugin=reporter, message=without_addresses(problem.message))
        if known is not None:
            problem = evolve(problem, uuid=known.uuid)
            if problem == known:
                return
        self._now[problem.key] = problem
        log.warning("problem", type=problem.type, context=problem.context, reference=problem.reference,
                    message=problem.message)  # fmt: skip
        if self._is_shown(problem):
            self._bus.publish(ProblemReported(problem))
        self._write(self._kept.put(problem.key, problem))

    def clear(self, type: str, context: str = "system", reference: str | None = None) -> None:
        """It is right again; nothing happens when it was not wrong."""
        key = f"{type}/{context}/{reference or ''}"
        problem = self._now.pop(key, None)
        if problem is not None:
            log.info("problem_cleared", type=type, context=context, reference=reference)
            if self._is_shown(problem):
                self._bus.publish(ProblemCleared(problem))
            self._write(self._kept.delete(key))

    def set_aside(self, plugin: str) -> None:
        """The plugin is disabled, and so what it reported is nobody's concern. It may still be wrong, and is kept."""
        gone = [problem for problem in self if problem.plugin == plugin]
        self._aside.add(plugin)
        for problem in gone:
            self._bus.publish(ProblemCleared(problem))

    def bring_back(self, plugin: str) -> None:
        """The plugin is disabled no more: what it had reported is shown again, until it says otherwise."""
        self._aside.discard(plugin)
        for problem in self:
            if problem.plugin == plugin:
                self._bus.publish(ProblemReported(problem))

    def _is_shown(self, problem: Problem) -> bool:
        return problem.plugin not in self._aside

    def __iter__(self) -> Iterator[Problem]:
        return iter([problem for problem in self._now.values() if self._is_shown(problem)])

    @property
    def healthy(self) -> bool:
        """Whether nothing reported makes the system unhealthy."""
        return all(problem.severity != "unhealthy" for problem in self)

    @property
    def supported(self) -> bool:
        """Whether nothing reported makes the system unsupported."""
        return all(problem.severity != "unsupported" for problem in self)

    def _write(self, change: Change) -> None:
        task = asyncio.get_running_loop().create_task(self._commit(change), name="problems: write")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _commit(self, change: Change) -> None:
        try:
            await self._state.database.commit(change)  # noticed by ourselves: nobody's call, and no plan's end
        except Unavailable as error:
            # A full disk is the most likely problem of all: it is known in memory, and reported again after a start.
            log.warning("problem_not_written", error=error.message)

    async def written(self) -> None:
        """Wait until everything reported so far is on disk."""
        while self._writes:
            await asyncio.wait(set(self._writes))


PROBLEMS = Service[Problems]("problems/1")
