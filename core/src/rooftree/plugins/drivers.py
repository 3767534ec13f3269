"""Drivers: implementations of a narrow protocol, each an entry point in a group of its own (``rooftree.boards`` …).

The plugin that owns the domain says what a driver has to derive from, and gets the classes that are installed. As with
plugins, each is loaded on its own, in a thread with a deadline: one that can't be imported, was written for another
kernel, or is no driver, is reported as a problem and left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib.metadata import EntryPoint

import structlog

from rooftree.entry_points import import_compatible
from rooftree.events import Problem, Problems
from rooftree.plugins.loading import (
    NAME_REFUSED,
    NAME_TAKEN,
    Choice,
    in_thread_of_its_own,
    installed,
    refuse_misspelt,
)

log = structlog.get_logger(__name__)


class Drivers:
    """Loads drivers.

    :param deadline_s: how long the import of one may take
    """

    def __init__(self, problems: Problems, deadline_s: float) -> None:
        self._chosen: tuple[EntryPoint, ...] | None = None
        self._problems = problems
        self._deadline_s = deadline_s

    def choose(self, points: Iterable[EntryPoint] | None) -> None:
        """Load drivers from among these entry points; ``None``: from what is installed."""
        self._chosen = None if points is None else tuple(points)

    async def load[D](self, group: str, base: type[D]) -> dict[str, type[D]]:
        """The classes of the drivers in that group, by the names of their entry points."""
        choice = await asyncio.to_thread(installed, group, self._chosen)
        loaded = await asyncio.gather(*(self._loaded(group, base, used.point) for used in choice.chosen))
        self._forget_gone(group, {used.name for used in choice.chosen})
        report_left_out(self._problems, group, choice)
        return {used.name: driver for used, driver in zip(choice.chosen, loaded, strict=True) if driver is not None}

    async def _loaded[D](self, group: str, base: type[D], point: EntryPoint) -> type[D] | None:
        reference = f"{group}:{point.name}"
        try:
            async with asyncio.timeout(self._deadline_s):
                found = await in_thread_of_its_own(lambda: import_compatible(point))
            driver = _checked(found, base, point.name)
        except Exception as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, TimeoutError):
                reason = f"it was not imported within {self._deadline_s} s"
            log.error("driver_failed", driver=reference, reason=reason)
            sentence = f"The driver {point.name} in {group} is left out: {reason}"
            self._problems.report(Problem("driver_failed", "plugin", reference, sentence))
            return None
        self._problems.clear("driver_failed", "plugin", reference)
        return driver

    def _forget_gone(self, group: str, names: set[str]) -> None:
        """Clear what was reported of drivers that are not installed any more."""
        for problem in self._problems:
            if problem.type == "driver_failed" and problem.reference is not None:
                of, _, name = problem.reference.partition(":")
                if of == group and name not in names:
                    self._problems.clear("driver_failed", "plugin", problem.reference)


def report_left_out(problems: Problems, group: str, choice: Choice) -> None:
    """Say which are left out because of their names; until they are no longer."""
    left_out = {(other.problem, f"{group}:{other.installed.name}"): other.message for other in choice.left_out}
    for problem in problems:
        reference = problem.reference or ""
        gone = (problem.type, reference) not in left_out and reference.startswith(f"{group}:")
        if problem.type in {NAME_TAKEN, NAME_REFUSED} and gone:
            problems.clear(problem.type, problem.context, problem.reference)
    for (kind, reference), message in left_out.items():
        problems.report(Problem(kind, "plugin", reference, message))


def _checked[D](found: object, base: type[D], name: str) -> type[D]:
    """``found`` as a driver's class; raises ``TypeError`` for what is none, or misspells a verb of it."""
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"the entry point leads to {found!r}, which is no subclass of {base.__name__}")
    called = getattr(found, "name", None)
    if called != name:
        raise TypeError(f"its class is called {called!r}, its entry point {name!r}; they must be the same")
    refuse_misspelt(found, [verb for verb, value in vars(base).items() if callable(value) and verb[0] != "_"])
    return found
