"""Drivers: implementations of a narrow protocol, each an entry point in a group of its own (``rooftree.boards`` …).

The plugin that owns the domain says what a driver has to derive from, and gets those that are installed. As with
plugins, each is loaded on its own, in a thread with a deadline: one that can't be imported, was written for another
kernel, or is no driver, is reported as a problem and left out. A driver is called after the last word of its group:
``boards.acme`` on the command line and in ``plugins.disabled``, ``[boards.acme]`` for the operator's settings.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from inspect import iscoroutinefunction
from typing import Any, Final

import structlog
from attrs import define, frozen

from rooftree.entry_points import import_compatible
from rooftree.errors import NotFound, RooftreeError
from rooftree.events import Problem, Problems
from rooftree.fault_places import package_of, told
from rooftree.model import without_addresses
from rooftree.plugins.loading import (
    GROUP,
    NAME_REFUSED,
    NAME_TAKEN,
    Choice,
    Installed,
    checked_kind,
    imported_within,
    installed,
    refuse_misspelt,
)
from rooftree.settings import Settings
from rooftree.state import Collection

log = structlog.get_logger(__name__)

OURS: Final = "rooftree."
"""How the groups of drivers begin that Rooftree's own plugins take."""
NO_DRIVERS: Final = frozenset({GROUP, "rooftree.commands"})
"""Groups that begin so and are none."""


class DriverState(enum.StrEnum):
    """How a driver is."""

    IN_USE = "in_use"
    IDLE = "idle"
    """It could be used; the reason says why it is not."""
    FAILED = "failed"
    DISABLED = "disabled"


@frozen(kw_only=True)
class DriverInfo:
    """A driver as shown to people."""

    name: str
    """With what it drives: ``boards.acme``."""
    distribution: str
    version: str
    state: DriverState
    reason: str | None
    plugin: str | None
    """The plugin that takes drivers of its group, where that runs."""


@define(eq=False)
class _Standing:
    """What is known of one driver."""

    installed: Installed
    group: str
    state: DriverState
    reason: str | None
    plugin: str | None = None
    is_loaded: bool = False
    settings: type | None = None
    """The class of the operator's settings for it, when it was loaded."""

    @property
    def name(self) -> str:
        return driver_name(self.group, self.installed.name)

    def info(self) -> DriverInfo:
        return DriverInfo(
            name=self.name,
            distribution=self.installed.distribution,
            version=self.installed.version,
            state=self.state,
            reason=self.reason,
            plugin=self.plugin,
        )


@frozen(eq=False)
class Driver[D]:
    """One driver, as the plugin gets it that takes its group: its class, what the operator set, and a say in how it is
    shown to people. It is idle until the plugin says more."""

    kind: type[D]
    """The class: a subclass of what was asked for."""
    _standing: _Standing
    _settings: Settings

    @property
    def name(self) -> str:
        """With what it drives: ``boards.acme``."""
        return self._standing.name

    @property
    def distribution(self) -> str:
        """Where it is from."""
        return self._standing.installed.distribution

    def settings[S](self, kind: type[S]) -> S:
        """The operator's settings for this driver, ``[boards.<name>]``, as the class that it declared."""
        return self._settings.driver_section(_table(self._standing.group), self._standing.installed.name, kind)

    def in_use(self) -> None:
        """It is used."""
        self._become(DriverState.IN_USE, None)

    def idle(self, reason: str) -> None:
        """It is not used, such as because this is another machine."""
        self._become(DriverState.IDLE, reason)

    def failed(self, reason: str) -> None:
        """It does not do what it should."""
        self._become(DriverState.FAILED, without_addresses(reason))

    def _become(self, state: DriverState, reason: str | None) -> None:
        self._standing.state, self._standing.reason = state, reason


class Drivers:
    """All drivers, and the loading of them.

    :param settings: the operator's
    :param why_disabled: why a driver is not to be used, by its name, or ``None``
    """

    def __init__(self, problems: Problems, settings: Settings, why_disabled: Callable[[str], str | None]) -> None:
        self._points: tuple[EntryPoint, ...] = ()
        self._choices: dict[str, Choice] = {}
        """What is installed, by group."""
        self._problems = problems
        self._settings = settings
        self._why_disabled = why_disabled
        self._standings: dict[str, _Standing] = {}
        self._kept: dict[str, Collection[Any]] = {}
        """By group, what the plugin that takes it keeps for each of its drivers."""

    async def choose(self, points: Iterable[EntryPoint], groups: Iterable[str]) -> None:
        """Take drivers from among these entry points.

        :param groups: groups that were taken in earlier runs, to know which of their drivers are still installed
        """
        self._points = tuple(points)
        ours = {point.group for point in self._points if point.group.startswith(OURS)} - NO_DRIVERS
        for group in ours | set(groups):
            await self._note(group)

    async def _note(self, group: str) -> None:
        """Know which drivers of a group are installed; nobody takes them just now."""
        if group not in self._choices:
            self._choices[group] = await asyncio.to_thread(installed, group, self._points)
        choice = self._choices[group]
        self._standings = {name: other for name, other in self._standings.items() if other.group != group}
        for used in choice.chosen:
            standing = _Standing(used, group, DriverState.IDLE, f"no plugin that runs takes drivers of {group}")
            if (reason := self._why_disabled(standing.name)) is not None:
                standing.state, standing.reason = DriverState.DISABLED, reason
            self._standings[standing.name] = standing
        report_left_out(self._problems, group, choice)

    def refuse_ambiguous(self, group: str) -> None:
        """Raise ``ValueError`` where the drivers of another group would be called as those of this one."""
        others = {other.group for other in self._standings.values() if _table(other.group) == _table(group)} - {group}
        if others:
            raise ValueError(
                f"drivers of {group} would be called as those of {', '.join(others)}: choose another group"
            )

    async def take[D](
        self, plugin: str, group: str, base: type[D], kept: Collection[Any] | None
    ) -> dict[str, Driver[D]]:
        """The drivers of a group, by the names of their entry points."""
        await self._note(group)
        if kept is not None:
            self._kept[group] = kept
        standings = [standing for standing in self._standings.values() if standing.group == group]
        for standing in standings:
            standing.plugin = plugin
        able = [standing for standing in standings if standing.state is not DriverState.DISABLED]
        drivers = await asyncio.gather(*(self._loaded(standing, base) for standing in able))
        self._forget_gone(group, {standing.installed.name for standing in able})
        return {
            standing.installed.name: driver
            for standing, driver in zip(able, drivers, strict=True)
            if driver is not None
        }

    async def let_go(self, group: str) -> None:
        """The plugin that took a group has stopped."""
        self._kept.pop(group, None)
        await self._note(group)

    async def _loaded[D](self, standing: _Standing, base: type[D]) -> Driver[D] | None:
        point = standing.installed.point
        reference = f"{standing.group}:{point.name}"
        imported: object = None
        try:
            imported = await imported_within(self._settings.kernel.start_timeout_s, lambda: import_compatible(point))
            kind = _checked(imported, base, point.name)
            standing.is_loaded, standing.settings = True, getattr(kind, "operator_settings", None)
            driver = Driver(kind, standing, self._settings)
            if standing.settings is not None:
                driver.settings(standing.settings)  # refused now rather than at some later use
        except Exception as error:
            reason = without_addresses(_told(error, imported, point))
            log.error("driver_failed", driver=reference, reason=reason)
            standing.state, standing.reason = DriverState.FAILED, reason
            sentence = f"The driver {point.name} in {standing.group} is left out: {reason}"
            self._problems.report(Problem("driver_failed", "plugin", reference, sentence))
            return None
        driver.idle("it was loaded, and nothing was said of it since")
        self._problems.clear("driver_failed", "plugin", reference)
        return driver

    # --- for people ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[DriverInfo]:
        infos = [standing.info() for standing in self._standings.values()]
        infos += [
            _Standing(other.installed, group, DriverState.FAILED, other.reason).info()
            for group, choice in self._choices.items()
            for other in choice.left_out
        ]
        return iter(sorted(infos, key=lambda info: info.name))

    def info(self, name: str) -> DriverInfo:
        """One driver; raises :class:`NotFound`."""
        standing = self._standings.get(name)
        if standing is None:
            known = ", ".join(sorted(self._standings)) or "none"
            raise NotFound(f"There is no driver {name}; installed are {known}")
        return standing.info()

    def look_again(self, name: str) -> None:
        """Whether it is to be used was decided anew, and nobody takes it just now."""
        standing = self._standings[name]
        reason = self._why_disabled(name)
        if reason is not None:
            standing.state, standing.reason = DriverState.DISABLED, reason
        elif standing.state is DriverState.DISABLED:
            standing.state, standing.reason = DriverState.IDLE, f"no plugin that runs takes drivers of {standing.group}"

    def operator_settings(self) -> dict[str, dict[str, type | None]]:
        """The classes of the operator's settings, by the table of the group and the driver's name."""
        tables: dict[str, dict[str, type | None]] = {}
        for standing in self._standings.values():
            tables.setdefault(_table(standing.group), {})[standing.installed.name] = standing.settings
        return tables

    def not_loaded(self) -> set[str]:
        """The drivers whose class is not known."""
        return {name for name, standing in self._standings.items() if not standing.is_loaded}

    # --- of drivers that are gone -------------------------------------------------------------------------------------

    def gone(self) -> Iterator[str]:
        """Drivers that are not installed, and for which something is kept."""
        for group, kept in self._kept.items():
            yield from (name for key in kept if (name := driver_name(group, key)) not in self._standings)

    def kept(self, name: str) -> Mapping[str, tuple[Collection[Any], str]]:
        """What is kept for a driver: the collection by its name, with the key in it."""
        return {
            kept.kind.name: (kept, key)
            for group, kept in self._kept.items()
            for key in kept
            if driver_name(group, key) == name
        }

    def _forget_gone(self, group: str, names: set[str]) -> None:
        """Clear what was reported of drivers that are not used any more."""
        for problem in self._problems:
            if problem.type == "driver_failed" and problem.reference is not None:
                of, _, name = problem.reference.partition(":")
                if of == group and name not in names:
                    self._problems.clear("driver_failed", "plugin", problem.reference)


def driver_name(group: str, name: str) -> str:
    """What a driver is called beside those of other groups."""
    return f"{_table(group)}.{name}"


def _table(group: str) -> str:
    return group.rpartition(".")[2]


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


def _told(error: Exception, imported: object, point: EntryPoint) -> str:
    """Why a driver is left out: an error that is an answer in its own words, any other with type and place."""
    if isinstance(error, RooftreeError) and str(error):
        return str(error)
    is_class = isinstance(imported, type)
    package = package_of(imported) if is_class else point.module.partition(".")[0]
    return told(error, package, (imported,) if is_class else ())


def _checked[D](kind: object, base: type[D], name: str) -> type[D]:
    """``kind`` as a driver's class; raises ``TypeError`` for what is none, or misspells what one must have."""
    driver_class = checked_kind(kind, base, base.__name__, name)
    words = [name for name in {**vars(base), **base.__annotations__} if name[0] != "_"]
    verbs = [name for name in words if callable(getattr(base, name, None))]
    refuse_misspelt(driver_class, base, verbs, [name for name in words if name not in verbs])
    for verb in verbs:
        if iscoroutinefunction(getattr(base, verb)) and not iscoroutinefunction(getattr(driver_class, verb)):
            raise TypeError(f"{driver_class.__name__}.{verb} must be async def")
    return driver_class
