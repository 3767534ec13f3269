"""Loading, starting and stopping plugins, so that none can harm another.

Entry points are loaded one by one, in threads, with a deadline; what the distribution requires of ``rooftree`` is read
before anything is imported. Plugins start side by side, each as soon as the services it requires are there, and stop in
the reverse order. What goes wrong in one is kept as its reason; its known routes answer 503 with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import enum
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any

import structlog
from attrs import field, frozen
from packaging.requirements import Requirement

from rooftree.access import KNOWN
from rooftree.errors import NotReady, RooftreeError, Unavailable
from rooftree.events import Event
from rooftree.http.binding import Endpoint
from rooftree.http.routes import Route, shape
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.plugin import Kernel, Plugin
from rooftree.problems import Problem
from rooftree.services import Service
from rooftree.state import Collection, document

if TYPE_CHECKING:
    from rooftree.system import System

log = structlog.get_logger(__name__)

GROUP = "rooftree.plugins"
STOP_S = 10.0
"""Seconds that one plugin's ``stop`` may take."""
_VERBS = ("setup", "routes", "tasks", "stop")


class Health(enum.StrEnum):
    """How a plugin is."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    DISABLED = "disabled"
    STOPPED = "stopped"


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


class Record:
    """What the kernel knows of one plugin."""

    def __init__(self, system: System, name: str, distribution: str, installed: str) -> None:
        self._system = system
        self.name = name
        self.distribution = distribution
        self.version = installed
        self.health = Health.STARTING
        self.reason: str | None = None
        self.plugin_class: type[Plugin] = Plugin
        self.plugin: Plugin | None = None
        self.entries: tuple[Entry, ...] = ()
        self.listeners: set[str] = set()
        self.settled = asyncio.Event()
        """Set when it has started, or never will."""

    @property
    def running(self) -> bool:
        """Whether its routes may be called."""
        return self.health in {Health.OK, Health.DEGRADED}

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


class Plugins:
    """All plugins of the system."""

    def __init__(self, system: System, known: Collection[KnownRoutes]) -> None:
        self._system = system
        self._known = known
        self._records: dict[str, Record] = {}
        self._started: list[Record] = []

    def __iter__(self) -> Iterator[PluginInfo]:
        return iter(sorted((record.info() for record in self._records.values()), key=lambda info: info.name))

    def gate(self, owner: str) -> RooftreeError | None:
        """Why a plugin's routes cannot be called now, or ``None``."""
        record = self._records.get(owner)
        if record is None:
            return Unavailable(f"Plugin {owner}, which owned this route, is no longer installed")
        if record.running:
            return None
        if record.health is Health.STARTING:
            return NotReady(f"Plugin {owner} is starting; try again in a moment")
        if record.health is Health.DISABLED:
            return Unavailable(f"Plugin {owner} is disabled: {record.reason}")
        if record.health is Health.STOPPED:
            return NotReady(f"Plugin {owner} has stopped")
        return Unavailable(f"Plugin {owner} does not run: {record.reason}")

    async def start(self, found: Iterable[EntryPoint] | None = None) -> None:
        """Load what is installed and enabled, and start it; returns when every plugin has started or failed."""
        installed = await asyncio.to_thread(_installed, found)
        chosen = [point for point, _, _ in installed]
        self._records = {point.name: Record(self._system, point.name, *dist) for point, *dist in installed}
        self._forget_old_failures()
        self._rebuild_table()
        found_classes = await asyncio.gather(*(self._import(point, self._records[point.name]) for point in chosen))
        for point, found_class in zip(chosen, found_classes, strict=True):  # in order: who is first has the route
            if found_class is not None:
                self._load(self._records[point.name], found_class)
        self._refuse_unmet_requirements()
        self._rebuild_table()
        await asyncio.gather(*(self._start(record, self._providers(record)) for record in self._records.values()))
        self._report_settings()
        log.info("plugins_started", running=[r.name for r in self._started])

    def _forget_old_failures(self) -> None:
        """Clear what an earlier start reported of plugins that are not to run now."""
        for problem in self._system.problems:
            if problem.type == "plugin_failed" and problem.context == "plugin" and problem.reference is not None:
                name = problem.reference
                if name not in self._records or not self._system.settings.runs(name):
                    self._system.problems.clear(problem.type, problem.context, name)

    async def _import(self, point: EntryPoint, record: Record) -> object:
        """What the entry point leads to; ``None`` where the plugin is disabled or can't be imported."""
        settings = self._system.settings
        if not settings.runs(record.name):
            named = "disabled" if record.name in settings.disabled else "enabled"
            record.become(Health.DISABLED, f"by {settings.origin(f'plugins.{named}')}")
            return None
        try:
            async with asyncio.timeout(settings.kernel.start_timeout_s):
                return await _in_thread_of_its_own(lambda: _import_compatible(point))
        except TimeoutError:
            record.fail(f"it was not imported within {settings.kernel.start_timeout_s} s")
        except Exception as error:
            self._not_loaded(record, error)
        return None

    def _report_settings(self) -> None:
        """Say what the operator's file says of plugins that cannot be meant so; a typing error stops nothing else."""
        classes = {name: record.plugin_class.settings for name, record in self._records.items()}
        unloaded = [name for name, record in self._records.items() if record.plugin is None]
        wrong = self._system.settings.check_sections(classes, unchecked=unloaded)
        if wrong:
            self._system.problems.report(Problem("settings_invalid", "system", None, "; ".join(wrong)))
        else:
            self._system.problems.clear("settings_invalid")

    def _load(self, record: Record, plugin_class: object) -> None:
        try:
            record.plugin_class = _checked_class(plugin_class, record.name)
            for key in record.plugin_class.provides:
                self._system.services.declare(key, record.name)
            plugin = record.plugin_class()
            record.entries = tuple(
                Entry(route, record.name, Endpoint(route, self._system.services)) for route in plugin.routes()
            )
            RouteTable(entry for other in self._records.values() for entry in other.entries)
            record.plugin = plugin
        except Exception as error:
            record.entries = ()
            self._system.services.withdraw(record.name)
            self._not_loaded(record, error)

    def _not_loaded(self, record: Record, error: Exception) -> None:
        if isinstance(error, DuplicateRoute | RooftreeError):
            record.fail(str(error))
            return
        log.error("plugin_not_loaded", plugin=record.name, exc_info=error)
        record.fail(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)

    def _refuse_unmet_requirements(self) -> None:
        """Fail plugins whose required services nobody will provide, and those that wait for each other in a ring."""
        able = {record.name for record in self._records.values() if record.plugin is not None and record.reason is None}
        while True:
            unable = {name: lack for name in able if (lack := self._lack(self._records[name].plugin_class, able))}
            if not unable:
                break
            for name, lack in unable.items():
                self._records[name].fail(f"it requires {lack.name}, which no plugin that can start provides")
            able -= unable.keys()
        order: set[str] = set()
        while ready := {n for n in able - order if self._providers(self._records[n]) <= order}:
            order |= ready
        for name in able - order:
            others = ", ".join(sorted(able - order - {name}))
            self._records[name].fail(f"it and {others} require each other in a ring")

    def _lack(self, plugin_class: type[Plugin], able: set[str]) -> Service[Any] | None:
        services = self._system.services
        return next((key for key in plugin_class.requires if services.owner(key.name) not in {*able, "kernel"}), None)

    def _providers(self, record: Record) -> set[str]:
        """The plugins whose services it requires; to be asked before any of them starts, and may fail."""
        owners = {self._system.services.owner(key.name) for key in record.plugin_class.requires}
        return {owner for owner in owners if owner and owner != "kernel"}

    async def _start(self, record: Record, providers: set[str]) -> None:
        structlog.contextvars.bind_contextvars(plugin=record.name)
        try:
            if record.plugin is None or record.health is not Health.STARTING:
                return
            for provider in sorted(providers):
                other = self._records[provider]
                await other.settled.wait()
                if not other.running:
                    record.fail(f"it requires plugin {provider}, which does not run: {other.reason}")
                    return
            await self._set_up(record, record.plugin)
        finally:
            record.settled.set()

    async def _set_up(self, record: Record, plugin: Plugin) -> None:
        deadline_s = self._system.settings.kernel.start_timeout_s
        try:
            self._system.hooks.register(plugin, record.name)
            async with asyncio.timeout(deadline_s):
                await plugin.setup(Kernel(self._system, record))
            lacking = [key.name for key in plugin.provides if self._system.services.find(key) is None]
            if lacking:
                raise RuntimeError(f"setup did not provide {', '.join(lacking)}, which it declares")
            for task in plugin.tasks():
                self._system.tasks.start(task, record.name)
        except asyncio.CancelledError:  # Rooftree stops before it has started
            await self._release(record)
            raise
        except Exception as error:
            if not isinstance(error, RooftreeError):
                log.exception("plugin_setup_failed")
            reason = f"setup took more than {deadline_s} s" if isinstance(error, TimeoutError) else str(error)
            await self._release(record)
            record.fail(reason or type(error).__name__)
            return
        self._started.append(record)
        if record.health is Health.STARTING:
            record.become(Health.OK)
        self._system.problems.clear("plugin_failed", "plugin", record.name)
        await self._remember_routes(record)

    async def _remember_routes(self, record: Record) -> None:
        known = KnownRoutes(tuple((e.route.method, path) for e in record.entries for path in e.route.paths))
        if self._known.get(record.name) != known:
            try:
                await self._system.state.commit(self._known.put(record.name, known))
            except Unavailable as error:  # no reason not to run: without it, a later failure answers 404 for 503
                log.warning("routes_not_remembered", error=error.message)

    def _rebuild_table(self) -> None:
        """Swap in a table with the routes of every plugin that is loaded, and what is remembered of the others."""
        entries = [entry for record in self._records.values() for entry in record.entries]
        taken = {(entry.route.method, shape(path)) for entry in entries for path in entry.route.paths}
        for owner, known in self._known.items():
            if owner in self._records and self._records[owner].entries:
                continue
            for method, path in known.routes:
                if (method, shape(path)) not in taken:
                    taken.add((method, shape(path)))
                    entries.append(Entry(Route(method, path, _nobody, KNOWN), owner, None))
        self._system.server.table = RouteTable(entries)

    async def stop(self) -> None:
        """Stop every plugin, dependents first."""
        for record in reversed(self._started):
            record.become(Health.STOPPED)
            await self._release(record)
        self._started.clear()

    async def _release(self, record: Record) -> None:
        """Take back everything a plugin got from the kernel, and let it give back the rest."""
        system = self._system
        system.hooks.unregister(record.name)
        await system.tasks.stop(record.name)
        for listener in tuple(record.listeners):
            await system.server.close_listener(listener)
        record.listeners.clear()
        try:
            async with asyncio.timeout(STOP_S):
                if record.plugin is not None:
                    await record.plugin.stop()
        except TimeoutError:
            log.error("plugin_stop_timed_out", plugin=record.name)
        except Exception:
            log.exception("plugin_stop_failed", plugin=record.name)
        await system.bus.withdraw(record.name)
        system.conditions.withdraw(record.name)
        system.services.withdraw(record.name)


PLUGINS = Service[Plugins]("plugins/1")


async def _nobody() -> None:
    """Stands in a remembered route, which has no endpoint to call it."""


def _installed(found: Iterable[EntryPoint] | None) -> list[tuple[EntryPoint, str, str]]:
    """The entry points with the names and versions of their distributions; the first of each plugin's name."""
    chosen: dict[str, tuple[EntryPoint, str, str]] = {}
    for point in entry_points(group=GROUP) if found is None else found:
        distribution = (point.dist.name, point.dist.version) if point.dist is not None else (point.value, "0")
        if point.name in chosen:
            log.error("plugin_name_taken", plugin=point.name, ignored=distribution, used=chosen[point.name][1:])
            continue
        chosen[point.name] = (point, *distribution)
    return list(chosen.values())


def _import_compatible(point: EntryPoint) -> object:
    _require_compatible(point)
    return point.load()


def _require_compatible(point: EntryPoint) -> None:
    """Raise unless the distribution's requirement on ``rooftree`` admits this kernel."""
    distribution: Distribution | None = point.dist
    if distribution is None:
        return
    try:
        ours = version("rooftree")
    except PackageNotFoundError:
        return
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.name == "rooftree" and not requirement.specifier.contains(ours, prereleases=True):
            raise Unavailable(f"it was written for rooftree {requirement.specifier}; this is {ours}")


async def _in_thread_of_its_own(load: Callable[[], object]) -> object:
    """``load()`` in a thread that nobody waits for at the end: an import that hangs must not keep the process alive."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[object] = loop.create_future()

    def settle(value: object, error: Exception | None) -> None:
        if loaded.done():
            return
        if error is None:
            loaded.set_result(value)
        else:
            loaded.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = load()
        except Exception as raised:
            error = raised
        except BaseException as raised:  # sys.exit() in a module must not end the daemon
            error = RuntimeError(f"the import ended with {raised!r}")
        with contextlib.suppress(RuntimeError):  # it came after the deadline, and the loop has closed
            loop.call_soon_threadsafe(settle, value, error)

    await asyncio.to_thread(threading.Thread(target=work, name="import a plugin", daemon=True).start)
    return await loaded


def _checked_class(found: object, name: str) -> type[Plugin]:
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise TypeError(f"the entry point leads to {found!r}, which is no subclass of rooftree.Plugin")
    if found.name != name:
        raise TypeError(f"its class is called {found.name!r}, its entry point {name!r}; they must be the same")
    own: Mapping[str, object] = vars(found)
    for method in own:
        near = difflib.get_close_matches(method, _VERBS, 1, 0.8)
        if near and method not in _VERBS and callable(own[method]):
            raise TypeError(f"{found.__name__}.{method}: did you mean {near[0]}?")
    return found
