"""One plugin's life: imported, loaded, set up, and given back what it had; whatever goes wrong is its own reason.

What it takes through its :class:`~rooftree.plugins.kernel.Kernel` is on its scope. When it stops, its tasks end first,
then its hooks are called no more, then its own ``stop`` is called, then the scope is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Any, Final

import attrs
import structlog
from attrs import frozen

from rooftree.context import is_cancelled, plugin_under_way
from rooftree.entry_points import import_compatible
from rooftree.errors import RooftreeError
from rooftree.events import Event, Problem
from rooftree.fault_places import package_of, told
from rooftree.http import DuplicateRoute, Endpoint, Entry, Routes
from rooftree.model import without_addresses
from rooftree.plugins.drivers import Drivers
from rooftree.plugins.hooks import HookNameUnknown
from rooftree.plugins.kernel import Kernel
from rooftree.plugins.loading import (
    Installed,
    LeftOut,
    checked_kind,
    described,
    imported_within,
    refuse_misspelt,
)
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin import Plugin
from rooftree.plugins.remains import PluginRemains
from rooftree.plugins.scope import Scope
from rooftree.services import Service
from rooftree.settings import SettingsInvalid

log = structlog.get_logger(__name__)

LEFT_TASKS_S: Final = 2.0
"""Seconds that tasks get to end which a plugin made by itself and has not ended."""
_ASYNC_VERBS: Final = ("setup", "stop")
_PLAIN_VERBS: Final = ("routes", "tasks")
_ATTRIBUTES: Final = ("name", "provides", "requires", "optional", "hooks", "settings")


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


class PluginLife:
    """What the kernel knows of one plugin: where it comes from, how it is, and what it has got."""

    def __init__(self, parts: KernelParts, installed: Installed) -> None:
        self._parts = parts
        self.point = installed.point
        self.name = installed.name
        self.distribution = installed.distribution
        self.version = installed.version
        self.health = Health.STARTING
        self.reason: str | None = None
        self.plugin_class: type[Plugin] = Plugin
        self.plugin: Plugin | None = None
        self.entries: tuple[Entry, ...] = ()
        self.token_kinds: set[str] = set()
        self.past_token_kinds: set[str] = set()
        self.collections: dict[str, None] = {}
        self.is_set_up = False
        self._looked_at: tuple[object, ...] = ()
        """What of its code is judged just now, the narrowest last: the fault is there when none of its lines raised."""
        self.scope = Scope(self.name)
        self.start_is_over = asyncio.Event()
        """Set when it has started, or never will."""

    # --- how it is ---------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether its routes may be called."""
        return self.health in _RUNNING

    @property
    def is_about_to_start(self) -> bool:
        """Whether it is loaded, and nothing speaks against starting it."""
        return self.plugin is not None and self.health is Health.STARTING and not self.start_is_over.is_set()

    @property
    def package(self) -> str:
        """The package that its class, and with it its jobs, come from; until it has been imported, what its entry
        point says."""
        module = self.point.module if self.plugin_class is Plugin else self.plugin_class.__module__
        return module.partition(".")[0]

    @property
    def provides(self) -> tuple[Service[Any], ...]:
        """The services that it declares."""
        return self.plugin_class.provides

    def begin(self) -> None:
        """It is about to be loaded, for the first time or anew."""
        self.plugin, self.entries = None, ()
        self._looked_at = ()
        self.start_is_over = asyncio.Event()
        self.become(Health.STARTING)

    def become(self, health: Health, reason: str | None = None) -> None:
        """Change health, and say so."""
        reason = None if reason is None else without_addresses(reason)
        if (health, reason) == (self.health, self.reason):
            return
        was_disabled = self.health is Health.DISABLED
        self.health, self.reason = health, reason
        if was_disabled != (health is Health.DISABLED):
            change = self._parts.problems.bring_back if was_disabled else self._parts.problems.set_aside
            change(self.name)
        self._parts.bus.publish(PluginHealthChanged(self.name, health, reason))

    def fail(self, reason: str) -> None:
        """It does not run, and this is why."""
        log.error("plugin_failed", plugin=self.name, reason=reason)
        self.become(Health.FAILED, reason)
        self._parts.problems.report(
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

    # --- its beginning ------------------------------------------------------------------------------------------------

    async def imported(self) -> object:
        """What its entry point leads to; ``None``, with the reason told, where that can't be imported."""
        plugin_under_way.set(self.name)  # in a task of its own: plugins are imported side by side
        try:
            return await imported_within(self._parts.settings.kernel.start_timeout_s, self._import)
        except Exception as error:
            self.not_loaded(error)
        return None

    def _import(self) -> object:
        """Import it, and make what the operator set of its class: validators may look at the disk. What is wrong with
        that is told when the plugin asks for it."""
        kind = import_compatible(self.point)
        settings = getattr(kind, "settings", None)
        if isinstance(settings, type) and attrs.has(settings):
            with contextlib.suppress(SettingsInvalid):
                self._parts.settings.section(self.name, settings)
        return kind

    def load(self, plugin_class: object) -> None:
        """Make the plugin of its class, and bind its routes; raises what is wrong with it."""
        self._looked_at = (plugin_class,)
        self.plugin_class = checked_class(plugin_class, self.name)
        for key in self.plugin_class.provides:
            self._parts.services.declare(key, self.name)
        self._parts.hooks.specify(self.plugin_class.hooks, self.name)
        plugin = self.plugin_class()
        services = self._parts.services.beside(plugin)
        endpoints = []
        for route in self._returned(plugin, "routes", Routes):
            self._looked_at = (plugin_class, route.handler)
            endpoints.append(Endpoint(route, services))
        self.entries = tuple(Entry(endpoint.route, self.name, endpoint, endpoint.free_texts) for endpoint in endpoints)
        self.plugin = plugin

    def refuse_misspelt_hooks(self) -> None:
        """Fail it, where it is loaded, for a hook that nobody specifies or that is not marked as one."""
        if self.plugin is None:
            return
        try:
            self._looked_at = (self.plugin_class,)
            self._parts.hooks.refuse_misspelt(self.plugin_class)
        except HookNameUnknown as error:
            self.not_loaded(error)

    def not_loaded(self, error: Exception) -> None:
        """It could not be loaded."""
        self.plugin, self.entries = None, ()
        self._parts.services.withdraw(self.name)
        if not isinstance(error, DuplicateRoute | RooftreeError):
            log.error("plugin_not_loaded", plugin=self.name, exc_info=error)
        self.fail(self._told(error))

    async def set_up(self, remains: PluginRemains, drivers: Drivers) -> bool:
        """Let it get ready, and begin its tasks; whether it runs. Where not, all that it took is given back."""
        plugin = self.plugin
        assert plugin is not None
        deadline_s = self._parts.settings.kernel.start_timeout_s
        deadline = asyncio.timeout(deadline_s)
        self.is_set_up = False
        self._looked_at = (type(plugin), type(plugin).setup)
        try:
            async with deadline:
                await plugin.setup(Kernel(self._parts, self, self.scope, remains, drivers))
            lacking = [key.name for key in plugin.provides if self._parts.services.find(key) is None]
            if lacking:
                raise RuntimeError(f"setup did not provide {', '.join(lacking)}, which it declares")
            self._parts.services.run(plugin, self.name)
            self._parts.hooks.register(plugin, self.name)
            for task in self._returned(plugin, "tasks", Iterable):
                self._parts.tasks.start(task, self.name)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if is_cancelled():  # Rooftree stops before it has started
                await self.release()
                raise
            if not isinstance(error, RooftreeError):
                log.exception("plugin_setup_failed")
            reason = f"setup took more than {deadline_s} s" if deadline.expired() else self._told(error)
            await self.release()
            self.fail(reason)
            return False
        return True

    def begun(self) -> None:
        """It has started."""
        if self.health is Health.STARTING:
            self.become(Health.OK)
        self._parts.problems.clear("plugin_failed", "plugin", self.name)
        self._parts.jobs.resume(self.package)

    async def note(self, remains: PluginRemains) -> None:
        """Note what it has asked for while it was set up; what it asks for from now on is noted at once."""
        self.is_set_up = True
        await remains.note(self.name, self.distribution, self.package, self.past_token_kinds, self.collections)

    # --- its end ------------------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """Take back everything it got from the kernel, and let it give back the rest, whatever it does meanwhile."""
        if self.plugin is not None:
            self.scope.push("stop", self.plugin.stop)
        self._parts.hooks.unregister(self.name)
        await self._parts.tasks.stop(self.name)
        await self.scope.close()
        self._parts.services.withdraw(self.name)
        await self._end_left_tasks()

    async def _end_left_tasks(self) -> None:
        """Cancel the tasks that its own code began, in whatever it does, and left behind."""
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task() and self._is_mine(task)}
        if not tasks:
            return
        log.warning("plugin_left_tasks", plugin=self.name, tasks=sorted(task.get_name() for task in tasks))
        for task in tasks:
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=LEFT_TASKS_S)
        if late:
            log.error("task_does_not_end", plugin=self.name, task=", ".join(sorted(task.get_name() for task in late)))

    def _returned(self, plugin: Plugin, verb: str, kind: Any) -> Any:
        """What a verb of the plugin returns; raises ``TypeError`` where that is something else."""
        self._looked_at = (type(plugin), getattr(type(plugin), verb))
        returned = getattr(plugin, verb)()
        if not isinstance(returned, kind):
            said = "nothing: is a return missing" if returned is None else f"{described(returned)}"
            raise TypeError(f"{type(plugin).__name__}.{verb} must return {kind.__name__}, and returned {said}")
        return returned

    def _told(self, error: BaseException) -> str:
        """What went wrong, in a line: an error that is an answer in its own words, any other with its type, and with
        the place in the plugin's own code."""
        if isinstance(error, DuplicateRoute | RooftreeError) and str(error):
            return str(error)
        kind = next(iter(self._looked_at), None)
        return told(error, package_of(kind) if isinstance(kind, type) else self.package, self._looked_at)

    def _is_mine(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task was begun by the plugin's code and runs it. Either alone would not do: what it began may be
        the kernel's or another plugin's, and other plugins may have begun what it offers."""
        if task.get_context().get(plugin_under_way) != self.name:
            return False
        frame = getattr(task.get_coro(), "cr_frame", None)
        return frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == self.package


def checked_class(kind: object, name: str) -> type[Plugin]:
    """``kind`` as a plugin's class; raises ``TypeError`` for what is none, or misspells a verb of it."""
    plugin_class = checked_kind(kind, Plugin, "rooftree.Plugin", name)
    refuse_misspelt(plugin_class, Plugin, (*_ASYNC_VERBS, *_PLAIN_VERBS), _ATTRIBUTES)
    for verb in (*_ASYNC_VERBS, *_PLAIN_VERBS):
        method = getattr(plugin_class, verb)
        if not callable(method) or iscoroutinefunction(method) != (verb in _ASYNC_VERBS):
            raise TypeError(
                f"{plugin_class.__name__}.{verb} must be {'async def' if verb in _ASYNC_VERBS else 'a plain def'}"
            )
    for words in ("provides", "requires", "optional"):
        keys = getattr(plugin_class, words)
        if not (isinstance(keys, tuple) and all(isinstance(key, Service) for key in keys)):
            raise TypeError(
                f"{plugin_class.__name__}.{words} must be a tuple of services, such as (CLOCK,), not {described(keys)}"
            )
    settings: object = plugin_class.settings
    if settings is not None and not (isinstance(settings, type) and attrs.has(settings)):
        raise TypeError(f"{plugin_class.__name__}.settings must be an attrs class, not {described(settings)}")
    return plugin_class


def info_of_left_out(left_out: LeftOut) -> PluginInfo:
    """A picture of one that is not looked at any further."""
    return PluginInfo(
        name=left_out.installed.name,
        distribution=left_out.installed.distribution,
        version=left_out.installed.version,
        state=Health.FAILED,
        reason=left_out.reason,
        provides=[],
        requires=[],
        optional=[],
    )
