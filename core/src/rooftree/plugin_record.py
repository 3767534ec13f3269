"""What the kernel knows of one plugin: where it comes from, how it is, and what it has got."""

from __future__ import annotations

import asyncio
import enum
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import structlog
from attrs import field, frozen

from rooftree.events import Event
from rooftree.plugin import Plugin
from rooftree.problems import Problem
from rooftree.state import document

if TYPE_CHECKING:
    from rooftree.http.table import Entry
    from rooftree.system import System

log = structlog.get_logger(__name__)


class Health(enum.StrEnum):
    """How a plugin is."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    DISABLED = "disabled"
    STOPPED = "stopped"


_RUNNING = frozenset({Health.OK, Health.DEGRADED})


@frozen
class PluginHealthChanged(Event):
    """A plugin's health changed."""

    name: str
    health: Health
    reason: str | None


@frozen(kw_only=True)
class PluginInfo:
    """A plugin as shown to people."""

    name: str
    distribution: str
    version: str
    state: Health
    reason: str | None
    provides: list[str]
    requires: list[str]
    optional: list[str]


@document("kernel.known_routes", version=1)
@frozen
class KnownRoutes:
    """The routes that a plugin had at its last good start, so that a missing one answers 503 rather than 404."""

    routes: tuple[tuple[str, str], ...] = field(factory=tuple)


@document("kernel.plugin_choice", version=1)
@frozen
class PluginChoice:
    """What was decided of a plugin at run time."""

    enabled: bool
    reason: str
    """Who or what decided it, for whoever wonders why it does not run."""


class Record:
    """What the kernel knows of one plugin."""

    def __init__(self, system: System, point: EntryPoint, distribution: str, installed: str) -> None:
        self._system = system
        self.point = point
        self.name = point.name
        self.distribution = distribution
        self.version = installed
        self.health = Health.STARTING
        self.reason: str | None = None
        self.plugin_class: type[Plugin] = Plugin
        self.plugin: Plugin | None = None
        self.entries: tuple[Entry, ...] = ()
        self.listeners: set[str] = set()
        self.token_kinds: set[str] = set()
        self.settled = asyncio.Event()
        """Set when it has started, or never will."""

    @property
    def running(self) -> bool:
        """Whether its routes may be called."""
        return self.health in _RUNNING

    @property
    def is_about_to_start(self) -> bool:
        """Whether it is loaded, and nothing speaks against starting it."""
        return self.plugin is not None and self.health is Health.STARTING and not self.settled.is_set()

    @property
    def package(self) -> str:
        """The package that its class, and with it its jobs, come from."""
        return self.plugin_class.__module__.partition(".")[0]

    def begin(self) -> None:
        """It is about to be loaded, for the first time or anew."""
        self.plugin, self.entries = None, ()
        self.settled = asyncio.Event()
        self.become(Health.STARTING)

    def become(self, health: Health, reason: str | None = None) -> None:
        """Change health, and say so."""
        if (health, reason) == (self.health, self.reason):
            return
        self.health, self.reason = health, reason
        self._system.bus.publish(PluginHealthChanged(self.name, health, reason))

    def fail(self, reason: str) -> None:
        """It does not run, and this is why."""
        log.error("plugin_failed", plugin=self.name, reason=reason)
        self.become(Health.FAILED, reason)
        self._system.problems.report(
            Problem("plugin_failed", "plugin", self.name, f"Plugin {self.name} does not run: {reason}")
        )

    def degrade(self, reason: str) -> None:
        """It runs, but not with everything it needs."""
        if self.running or self.health is Health.STARTING:
            self.become(Health.DEGRADED, reason)

    def recover(self) -> None:
        """All is well again."""
        if self.health is Health.DEGRADED:
            self.become(Health.OK)

    def info(self) -> PluginInfo:
        """A picture of it."""
        return PluginInfo(
            name=self.name,
            distribution=self.distribution,
            version=self.version,
            state=self.health,
            reason=self.reason,
            provides=[key.name for key in self.plugin_class.provides],
            requires=[key.name for key in self.plugin_class.requires],
            optional=[key.name for key in self.plugin_class.optional],
        )
