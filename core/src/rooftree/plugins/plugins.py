"""Starting and stopping plugins, at the start and at run time, so that none can harm another.

Plugins start side by side, each as soon as the services it requires are there, and stop in the reverse order. What goes
wrong in one is kept as its reason; its known routes answer 503 with it. One that is switched on or off while the system
runs takes those that depend on it along, and the choice is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import structlog

from rooftree.access import KNOWN
from rooftree.context import caller, is_cancelled
from rooftree.errors import Conflict, NotFound, NotReady, RooftreeError, Unavailable
from rooftree.events import Problem
from rooftree.http import Entry, Route, RouteTable, shape
from rooftree.plugins.drivers import Drivers, report_taken_names
from rooftree.plugins.life import Health, KnownRoutes, PluginChoice, PluginInfo, PluginLife, left_out
from rooftree.plugins.loading import GROUP, Installed, installed
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin import Plugin
from rooftree.plugins.remains import LeftBehind, PluginRemains
from rooftree.plugins.start import PluginStart
from rooftree.services import Service
from rooftree.state import Collection

log = structlog.get_logger(__name__)

DRAIN_S = 10.0
"""Seconds that the calls and running steps of a plugin get to end when it is stopped while the system goes on."""


class Plugins:
    """All plugins of the system."""

    def __init__(
        self,
        parts: KernelParts,
        known: Collection[KnownRoutes],
        choices: Collection[PluginChoice],
        remains: PluginRemains,
    ) -> None:
        self._parts = parts
        self.remains = remains
        self._known = known
        self._choices = choices
        self._lives: dict[str, PluginLife] = {}
        self._drivers = Drivers(parts.problems, parts.settings.kernel.start_timeout_s)
        self._start = PluginStart(
            parts=parts,
            lives=self._lives,
            remains=remains,
            drivers=self._drivers,
            why_disabled=self.why_disabled,
            loaded=self._rebuild_table,
            begun=self._begun,
        )
        self._left_out: tuple[tuple[Installed, Installed], ...] = ()
        """Those whose name another distribution's has, with that one."""
        self._running: list[PluginLife] = []
        """Those that run, in the order in which they started."""
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()
        self._asker: asyncio.Task[Any] | None = None
        """Who asked for the change under way, and so need not end for it."""
        self._stopping = False

    @classmethod
    async def load(cls, parts: KernelParts) -> Plugins:
        """Read what is remembered of plugins."""
        state = parts.state
        remains = await PluginRemains.load(state, parts.tokens, parts.data.path)
        return cls(parts, await state.collection(KnownRoutes), await state.collection(PluginChoice), remains)

    def __iter__(self) -> Iterator[PluginInfo]:
        infos = [life.info() for life in self._lives.values()]
        infos += [left_out(other, used) for other, used in self._left_out]
        return iter(sorted(infos, key=lambda info: info.name))

    def find(self, name: str) -> PluginLife | None:
        """What is known of a plugin, or ``None``; for the kernel's own parts."""
        return self._lives.get(name)

    def info(self, name: str) -> PluginInfo:
        """One plugin; raises :class:`NotFound`."""
        return self._life(name).info()

    def routes(self) -> Iterator[tuple[str, Route]]:
        """The routes of every plugin that runs, each with the plugin's name; in the order in which they are declared,
        by the plugins' names."""
        for name, life in sorted(self._lives.items()):
            if life.running:
                yield from ((name, entry.route) for entry in life.entries)

    def of_module(self, module: str) -> str | None:
        """The plugin that a module belongs to, by its package; safe in any thread."""
        path = module.split(".")
        homes = [
            (_shared_length(life.plugin_class.__module__.split("."), path), life.name)
            for life in tuple(self._lives.values())
            if life.plugin_class is not Plugin
        ]
        length, name = max(homes, default=(0, None))
        return name if length else None

    def gate(self, owner: str) -> RooftreeError | None:
        """Why a plugin's routes cannot be called now, or ``None``."""
        life = self._lives.get(owner)
        if life is None:
            return Unavailable(
                f"Plugin {owner}, which owned this route, is no longer installed. "
                f"Install it again, or remove what it left with: rooftree plugins purge {owner}"
            )
        if life.running:
            return None
        if life.health is Health.STARTING:
            return NotReady(f"Plugin {owner} is starting; try again in a moment")
        if life.health is Health.DISABLED:
            return Unavailable(f"Plugin {owner} is disabled: {life.reason}")
        if life.health is Health.STOPPED:
            return NotReady(f"Plugin {owner} has stopped")
        return Unavailable(f"Plugin {owner} does not run: {life.reason}")

    # --- the start and the stop of all ------------------------------------------------------------------------------

    async def start(self, found: Iterable[EntryPoint] | None = None) -> None:
        """Load what is installed and enabled, and start it; returns when every plugin has started or failed."""
        async with self._changing:
            known = None if found is None else tuple(found)
            self._drivers.choose(known)
            choice = await asyncio.to_thread(installed, GROUP, known)
            self._lives.update({used.name: PluginLife(self._parts, used) for used in choice.chosen})
            self._left_out = choice.left_out
            report_taken_names(self._parts.problems, GROUP, choice)
            self._forget_old_failures()
            self._clear_problems_of_the_gone()
            self._rebuild_table()
            await self._start.bring_up(self._lives.values())
            self._report_settings()
            log.info("plugins_started", running=[r.name for r in self._running])

    async def stop(self) -> None:
        """Stop every plugin, dependents first; a change that is under way is broken off."""
        self._stopping = True
        for change in self._changes:
            change.cancel()
        while self._changes:
            await asyncio.wait(set(self._changes))
        for life in reversed(self._running):
            life.become(Health.STOPPED)
            await life.release()
        self._running.clear()

    # --- at run time ------------------------------------------------------------------------------------------------

    async def enable(self, name: str) -> None:
        """Let a plugin run, and those that could not without it; the choice is kept.

        Returns when they run or have failed; how it went is in :class:`PluginInfo`. Raises :class:`NotFound`, and
        :class:`Conflict` where the operator's settings say otherwise.
        """
        life = self._life(name)
        if not self._parts.settings.runs(name):
            raise Conflict(f"Plugin {name} is disabled by {self._origin(name)}; change that", plugin=name)

        async def change() -> None:
            await self._choose(name, enabled=True, reason=_asked())
            self._parts.problems.clear("plugin_kept_out", "plugin", name)
            if not life.running:
                await self._bring_up_with_dependents(life)

        await self._change(change())

    async def disable(self, name: str, *, keep: str | None = None) -> None:
        """Stop a plugin, after those that depend on it, and leave it stopped; the choice is kept.

        Calls and steps under way get :data:`DRAIN_S` seconds; its open jobs wait for it.

        :param keep: the plugin that asks, which must go on running

        Raises :class:`NotFound`, and :class:`Conflict` where the operator's settings say otherwise, or ``keep`` would
        have to stop.
        """
        life = self._life(name)
        if name in self._parts.settings.enabled:
            raise Conflict(f"Plugin {name} is enabled by {self._origin(name)}; change that", plugin=name)

        async def change() -> None:
            self._refuse_without(keep, life, "Name it in plugins.disabled of rooftree.toml and restart Rooftree")
            await self._choose(name, enabled=False, reason=_asked())
            async with self._stopped(life) as dependents:
                life.become(Health.DISABLED, self.why_disabled(name))
                self._parts.problems.clear("plugin_failed", "plugin", name)
            for dependent in dependents:
                dependent.fail(f"it requires plugin {name}, which is disabled")

        await self._change(change())

    async def restart(self, name: str, *, keep: str | None = None) -> None:
        """Stop a plugin and those that depend on it, and start them again from new objects; its modules stay loaded.

        Raises :class:`NotFound`, and :class:`Conflict` for a plugin that is disabled, or where ``keep`` would stop.
        """
        life = self._life(name)

        async def change() -> None:
            if life.health is Health.DISABLED:
                raise Conflict(f"Plugin {name} is disabled: {life.reason}", plugin=name)
            self._refuse_without(keep, life, "Restart Rooftree")
            async with self._stopped(life) as dependents:
                pass
            await self._bring_up_with_dependents(life, dependents)

        await self._change(change())

    async def _change(self, work: Coroutine[Any, Any, None]) -> None:
        """Do one change at a time, to its end even when the client that asked has gone: nothing stays half-done."""

        asker = asyncio.current_task()

        async def alone() -> None:
            async with self._changing:
                self._asker = asker
                await work

        if self._stopping:
            work.close()
            raise NotReady("Rooftree is stopping")
        task = asyncio.get_running_loop().create_task(alone(), name="change plugins")
        self._changes.add(task)
        task.add_done_callback(self._changed)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise NotReady("Rooftree is stopping") from None

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, RooftreeError):
            log.error("plugins_not_changed", exc_info=error)

    async def stay_disabled(self, name: str, reason: str) -> None:
        """Decide, before plugins are started, that one does not run until somebody enables it."""
        await self._choose(name, enabled=False, reason=reason)
        sentence = f"Plugin {name} is disabled: {reason}"
        self._parts.problems.report(Problem("plugin_kept_out", "plugin", name, sentence))

    # --- of plugins that are gone -----------------------------------------------------------------------------------

    async def left_behind(self) -> list[LeftBehind]:
        """What plugins have left that are no longer installed, by name; empty until the first have been loaded."""
        return [await self.remains.left_behind(name) for name in sorted(self._gone())]

    async def purge(self, name: str) -> LeftBehind:
        """Remove for good what a plugin left that is no longer installed, and say what that was.

        Its collections, folder, remembered routes, choice, tokens and problems go; its open jobs end as failed. What
        stays is history: the audit log, ended jobs, and copies of the database until newer ones take their place.

        Raises :class:`NotFound` where nothing is left, :class:`Conflict` for a plugin that is installed.
        """
        async with self._changing:
            if (life := self._lives.get(name)) is not None:
                raise Conflict(
                    f"Plugin {name} is installed. Uninstall {life.distribution}, restart Rooftree, and purge it then",
                    plugin=name,
                )
            if name not in self._gone():
                names = ", ".join(sorted(self._gone())) or "no plugin"
                raise NotFound(f"There is nothing left of a plugin {name}; something is left of {names}")
            left = await self.remains.left_behind(name)
            if (package := self.remains.own_package(name)) is not None:
                await self._parts.jobs.give_up(package, f"Plugin {name} was uninstalled and purged before it could end")
            await self.remains.remove_folder(name)  # first: what can't be removed is still on the list then
            changes = [kept.delete(name) for kept in (self._known, self._choices) if name in kept]
            await self._parts.state.commit(*self.remains.removal(name), *changes)
            self._clear_problems_of_the_gone()
            self._rebuild_table()
            log.info("plugin_purged", plugin=name, documents=left.documents)
            return left

    def _gone(self) -> set[str]:
        return {*self.remains, *self._known, *self._choices} - self._lives.keys()

    def _clear_problems_of_the_gone(self) -> None:
        """Clear what plugins reported that are not installed: they are not there to do it."""
        for problem in self._parts.problems:
            if problem.plugin is not None and problem.plugin not in self._lives:
                self._parts.problems.clear(problem.type, problem.context, problem.reference)

    def _life(self, name: str) -> PluginLife:
        life = self._lives.get(name)
        if life is None:
            raise NotFound(f"There is no plugin {name}; installed are {', '.join(sorted(self._lives)) or 'none'}")
        return life

    def _origin(self, name: str) -> str | None:
        settings = self._parts.settings
        return settings.origin("plugins.disabled" if name in settings.disabled else "plugins.enabled")

    def _refuse_without(self, keep: str | None, life: PluginLife, instead: str) -> None:
        affected = {life.name, *(other.name for other in self._dependents(life))}
        if keep in affected:
            raise Conflict(
                f"Plugin {life.name} can't be stopped here: {keep}, which answers this call, would stop too. {instead}"
            )

    async def _choose(self, name: str, *, enabled: bool, reason: str) -> None:
        choice = PluginChoice(enabled, reason)
        if self._choices.get(name) != choice:
            await self._parts.state.commit(self._choices.put(name, choice))

    def _dependents(self, life: PluginLife) -> list[PluginLife]:
        """The running plugins that cannot do without it, in the order in which they started."""
        affected = {life.name}
        for other in self._running:
            if self._start.providers(other) & affected:
                affected.add(other.name)
        return [other for other in self._running if other.name in affected and other is not life]

    def _held_back_by(self, life: PluginLife) -> list[PluginLife]:
        """The plugins that do not run, but might if this one did."""
        offered = {key.name for key in life.plugin_class.provides}
        held_back: list[PluginLife] = []
        for _ in self._lives:
            for other in self._lives.values():
                lacks = offered & {key.name for key in other.plugin_class.requires}
                if other.health is Health.FAILED and lacks and other is not life and other not in held_back:
                    held_back.append(other)
                    offered |= {key.name for key in other.plugin_class.provides}
        return held_back

    @contextlib.asynccontextmanager
    async def _stopped(self, life: PluginLife) -> AsyncIterator[list[PluginLife]]:
        """Stop a plugin after its dependents, which are handed over; the routes are as they are left at the end."""
        dependents = self._dependents(life)
        for stopping in [*reversed(dependents), life]:
            if stopping in self._running:
                log.info("plugin_stopping", plugin=stopping.name)
                stopping.become(Health.STOPPED)
                await self._parts.jobs.suspend(stopping.package, stopping.name, DRAIN_S)
                await self._parts.server.drain(stopping.name, DRAIN_S, self._asker)
                await stopping.release()
                self._running.remove(stopping)
            stopping.plugin, stopping.entries = None, ()
            self._parts.services.withdraw(stopping.name)
        yield dependents
        self._rebuild_table()

    # --- bringing up ------------------------------------------------------------------------------------------------

    async def _bring_up_with_dependents(self, life: PluginLife, stopped: Sequence[PluginLife] = ()) -> None:
        """Start a plugin, those that were stopped for it, and those that could not start without it."""
        await self._start.bring_up([life, *stopped])
        if life.running:  # only now it is known what it provides
            await self._start.bring_up(other for other in self._held_back_by(life) if other not in stopped)

    def _forget_old_failures(self) -> None:
        """Clear what an earlier start reported of plugins that are not to run now."""
        for problem in self._parts.problems:
            name = problem.reference
            gone = name not in self._lives
            if problem.type == "hook_failed":  # of the last run, which ended before it could answer again
                self._parts.problems.clear(problem.type, problem.context, name)
            elif problem.context != "plugin" or name is None:
                continue
            elif (problem.type == "plugin_failed" and (gone or self.why_disabled(name) is not None)) or (
                problem.type == "plugin_kept_out" and gone
            ):
                self._parts.problems.clear(problem.type, problem.context, name)

    def why_disabled(self, name: str) -> str | None:
        """Why a plugin is not to run, or ``None``."""
        if not self._parts.settings.runs(name):
            return f"by {self._origin(name)}"
        choice = self._choices.get(name)
        return choice.reason if choice is not None and not choice.enabled else None

    def _report_settings(self) -> None:
        """Say what the operator's file says of plugins that cannot be meant so; a typing error stops nothing else."""
        classes = {name: life.plugin_class.settings for name, life in self._lives.items()}
        unloaded = [name for name, life in self._lives.items() if life.plugin is None]
        wrong = self._parts.settings.check_sections(classes, unchecked=unloaded)
        if wrong:
            self._parts.problems.report(Problem("settings_invalid", "system", None, "; ".join(wrong)))
        else:
            self._parts.problems.clear("settings_invalid")

    async def _begun(self, life: PluginLife) -> None:
        """A plugin has started."""
        self._running.append(life)
        if life.health is Health.STARTING:
            life.become(Health.OK)
        self._parts.problems.clear("plugin_failed", "plugin", life.name)
        self._parts.jobs.resume(life.package)
        await self.remains.note(life.name, life.distribution, life.package, life.token_kinds)
        await self._remember_routes(life)

    async def _remember_routes(self, life: PluginLife) -> None:
        known = KnownRoutes(tuple((e.route.method, path) for e in life.entries for path in e.route.paths))
        if self._known.get(life.name) != known:
            try:
                await self._parts.state.commit(self._known.put(life.name, known))
            except Unavailable as error:  # no reason not to run: without it, a later failure answers 404 for 503
                log.warning("routes_not_remembered", error=error.message)

    def _rebuild_table(self) -> None:
        """Swap in a table with the routes of every plugin that is loaded, and what is remembered of the others."""
        entries = [entry for life in self._lives.values() for entry in life.entries]
        taken = {(entry.route.method, shape(path)) for entry in entries for path in entry.route.paths}
        for owner, known in self._known.items():
            if owner in self._lives and self._lives[owner].entries:
                continue
            for method, path in known.routes:
                if (method, shape(path)) not in taken:
                    taken.add((method, shape(path)))
                    entries.append(Entry(Route(method, path, _nobody, KNOWN), owner, None))
        self._parts.server.table = RouteTable(entries)


PLUGINS = Service[Plugins]("plugins/1")


def _asked() -> str:
    """Who decides just now, for the list of plugins."""
    who = caller.get()
    return f"by {who} over the API" if who else "by Rooftree itself"


async def _nobody() -> None:
    """Stands in a remembered route, which has no endpoint to call it."""


def _shared_length(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first parts are the same."""
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
