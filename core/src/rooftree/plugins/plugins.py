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
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog
from attrs import evolve

from rooftree.context import caller, code_of, is_cancelled, plugin_under_way
from rooftree.errors import Conflict, NotFound, NotReady, RooftreeError, Stopping, Unavailable
from rooftree.events import Problem
from rooftree.http import Route, Routes, RouteTable
from rooftree.plugins.choices import Choices
from rooftree.plugins.drivers import DriverInfo, Drivers, report_left_out
from rooftree.plugins.life import Health, PluginInfo, PluginLife, info_of_left_out
from rooftree.plugins.loading import GROUP, KERNEL, Installed, LeftOut, installed
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin import Plugin
from rooftree.plugins.plugin_routes import PluginRoutes
from rooftree.plugins.remains import LeftBehind, PluginRemains
from rooftree.plugins.requirements import Requirements
from rooftree.services import Service

log = structlog.get_logger(__name__)

DRAIN_S = 10.0
"""Seconds that the calls and running steps of a plugin get to end when it is stopped while the system goes on."""


class Plugins:
    """All plugins of the system."""

    def __init__(
        self,
        parts: KernelParts,
        lives: dict[str, PluginLife],
        routes: PluginRoutes,
        choices: Choices,
        remains: PluginRemains,
    ) -> None:
        self._parts = parts
        self._lives = lives
        self._routes = routes
        self._choices = choices
        self._remains = remains
        self._requirements = Requirements(lives, parts.services)
        self._drivers = Drivers(parts.problems, parts.settings, choices.why_disabled)
        self._left_out: tuple[LeftOut, ...] = ()
        self._running: list[PluginLife] = []
        """Those that run, in the order in which they started."""
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()
        self._asker: asyncio.Task[Any] | None = None
        """Who asked for the change under way, and so need not end for it."""
        self._stopping = False

    @classmethod
    async def load(cls, parts: KernelParts, own_routes: Routes) -> Plugins:
        """Read what is remembered of plugins.

        :param own_routes: the kernel's own, which are there whatever plugins run
        """
        lives: dict[str, PluginLife] = {}
        routes = await PluginRoutes.load(parts.server, parts.state, parts.services, own_routes, lives)
        choices = await Choices.load(parts.settings, parts.state)
        return cls(parts, lives, routes, choices, await PluginRemains.load(parts.state, parts.tokens, parts.data.path))

    def __iter__(self) -> Iterator[PluginInfo]:
        infos = [life.info() for life in self._lives.values()]
        infos += [info_of_left_out(other) for other in self._left_out]
        return iter(sorted(infos, key=lambda info: info.name))

    def find(self, name: str) -> PluginLife | None:
        """What is known of a plugin, or ``None``; for the kernel's own parts."""
        return self._lives.get(name)

    def drivers(self) -> list[DriverInfo]:
        """Every driver, by name."""
        return list(self._drivers)

    def info(self, name: str) -> PluginInfo | DriverInfo:
        """One plugin, or driver (``boards.acme``); raises :class:`NotFound`."""
        return self._driver(name) if "." in name else self._life(name).info()

    def routes(self) -> Iterator[tuple[str, Route]]:
        """The kernel's own routes, then those of every plugin that runs, each with its owner's name; in the order in
        which they are declared, by the plugins' names."""
        yield from ((KERNEL, entry.route) for entry in self._routes.own)
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
        if owner == KERNEL:
            return None
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

    async def start(self, given: Iterable[EntryPoint] | None = None, in_files: Iterable[Installed] = ()) -> None:
        """Load what is installed and enabled, and start it; returns when every plugin has started or failed.

        :param given: what is installed; ``None``: what the import system says
        :param in_files: plugins beside those, each in place of one of its name
        """
        async with self._changing:
            points = tuple(await asyncio.to_thread(entry_points) if given is None else given)
            await self._drivers.choose(points, self._remains.groups())
            replacing = {file.name: file for file in in_files}
            self._choices.in_files.update(replacing)
            beside = [point for point in points if point.group == GROUP and point.name not in replacing]
            choice = await asyncio.to_thread(installed, GROUP, beside)
            chosen = [*choice.chosen, *replacing.values()]
            self._lives.update({used.name: PluginLife(self._parts, used) for used in chosen})
            self._left_out = choice.left_out
            report_left_out(self._parts.problems, GROUP, choice)
            self._forget_old_failures()
            self._clear_problems_of_the_gone()
            await self._bring_up(self._lives.values())
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
        """Let a plugin run, and those that could not without it; or a driver be used. The choice is kept.

        Returns when they run or have failed; how it went is in :class:`PluginInfo`. Raises :class:`NotFound`, and
        :class:`Conflict` where the operator's settings say otherwise.
        """
        if "." in name:
            await self._choose_driver(name, enabled=True)
            return
        life = self._life(name)
        self._choices.refuse_enabling(name)

        async def change() -> None:
            await self._choices.choose(name, enabled=True, reason=_asked())
            self._parts.problems.clear("plugin_kept_out", "plugin", name)
            if not life.running:
                await self._bring_up_with_dependents(life)

        await self._change(change())

    async def disable(self, name: str) -> None:
        """Stop a plugin, after those that depend on it, and leave it stopped; or use a driver no longer. The choice is
        kept.

        Calls and steps under way get :data:`DRAIN_S` seconds; its open jobs wait for it. Raises :class:`NotFound`, and
        :class:`Conflict` where the operator's settings say otherwise.
        """
        if "." in name:
            await self._choose_driver(name, enabled=False)
            return
        life = self._life(name)
        self._choices.refuse_disabling(name)

        async def change() -> None:
            await self._choices.choose(name, enabled=False, reason=_asked())
            async with self._stopped(life) as dependents:
                life.become(Health.DISABLED, self._choices.why_disabled(name))
                self._parts.problems.clear("plugin_failed", "plugin", name)
            for dependent in dependents:
                dependent.fail(f"it requires plugin {name}, which is disabled")

        await self._change(change())

    async def restart(self, name: str) -> None:
        """Stop a plugin and those that depend on it, and start them again from new objects; its modules stay loaded,
        but for one in a file (``rooftree run --plugin``).

        Raises :class:`NotFound`, and :class:`Conflict` for a plugin that is disabled and for a driver.
        """
        if "." in name:
            taker = self._driver(name).plugin
            instead = f"restart plugin {taker}, which takes it" if taker else "no plugin takes it just now"
            raise Conflict(f"{name} is a driver, and is not restarted by itself: {instead}", driver=name)
        life = self._life(name)

        async def change() -> None:
            if life.health is Health.DISABLED:
                raise Conflict(f"Plugin {name} is disabled: {life.reason}", plugin=name)
            await self._restart(life)

        await self._change(change())

    async def _restart(self, life: PluginLife) -> None:
        async with self._stopped(life) as dependents:
            pass
        await self._bring_up_with_dependents(life, dependents)
        self._report_settings()

    async def _choose_driver(self, name: str, *, enabled: bool) -> None:
        """Keep whether a driver is to be used, and restart the plugin that takes it, so that it is or is not."""
        life = self._lives.get(self._driver(name).plugin or "")
        if enabled:
            self._choices.refuse_enabling(name)

        async def change() -> None:
            await self._choices.choose(name, enabled=enabled, reason=_asked())
            self._drivers.look_again(name)
            if life is not None and life.running:
                await self._restart(life)

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
            raise Stopping("Rooftree is stopping")
        task = asyncio.get_running_loop().create_task(alone(), name="change plugins")
        self._changes.add(task)
        task.add_done_callback(self._changed)
        task.add_done_callback(lambda _: work.close())  # also where it was cancelled before its turn came
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise Stopping("Rooftree is stopping") from None

    def _changed(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, RooftreeError):
            log.error("plugins_not_changed", exc_info=error)

    async def stay_disabled(self, name: str, reason: str) -> None:
        """Decide, before plugins are started, that one does not run until somebody enables it."""
        await self._choices.choose(name, enabled=False, reason=reason)
        sentence = f"Plugin {name} is disabled: {reason}"
        self._parts.problems.report(Problem("plugin_kept_out", "plugin", name, sentence))

    # --- of plugins that are gone -----------------------------------------------------------------------------------

    async def left_behind(self) -> list[LeftBehind]:
        """What plugins have left that are no longer installed, by name; empty until the first have been loaded."""
        return [await self._left_behind(name) for name in sorted(self._gone())]

    async def _left_behind(self, name: str) -> LeftBehind:
        remains = await self._remains.left_behind(name)
        kept = self._drivers.kept(name)
        return evolve(remains, collections=[*remains.collections, *kept], documents=remains.documents + len(kept))

    async def purge(self, name: str) -> LeftBehind:
        """Remove for good what a plugin left that is no longer installed, and say what that was.

        Its collections, folder, remembered routes, choice, tokens and problems go; its open jobs end as failed. What
        stays is history: the audit log, ended jobs, and copies of the database until newer ones take their place.

        Raises :class:`NotFound` where nothing is left, :class:`Conflict` for a plugin that is installed.
        """
        async with self._changing:
            self._routes.refuse_unknown()
            if any(driver.name == name for driver in self._drivers):
                raise Conflict(f"Driver {name} is installed. Uninstall it, restart Rooftree, and purge it then")
            if (life := self._lives.get(name)) is not None:
                raise Conflict(
                    f"Plugin {name} is installed. Uninstall {life.distribution}, restart Rooftree, and purge it then",
                    plugin=name,
                )
            if name not in self._gone():
                names = ", ".join(sorted(self._gone())) or "no plugin"
                raise NotFound(f"There is nothing left of a plugin {name}; something is left of {names}")
            remains = await self._left_behind(name)
            if "." not in name and (package := self._remains.own_package(name)) is not None:
                await self._parts.jobs.give_up(package, f"Plugin {name} was uninstalled and purged before it could end")
            await self._remains.remove_folder(name)  # first: what can't be removed is still on the list then
            changes = [*self._routes.removal(name), *self._choices.removal(name)]
            changes += [kept.delete(key) for kept, key in self._drivers.kept(name).values()]
            await self._parts.state.commit(*self._remains.removal(name), *changes)
            self._clear_problems_of_the_gone()
            self._routes.rebuild()
            log.info("plugin_purged", plugin=name, documents=remains.documents)
            return remains

    def _gone(self) -> set[str]:
        if not self._routes.are_known:
            return set()
        there = {*self._lives, *(driver.name for driver in self._drivers)}
        return {*self._remains, *self._routes, *self._choices, *self._drivers.gone()} - there

    def _clear_problems_of_the_gone(self) -> None:
        """Clear what plugins reported that are not installed: they are not there to do it."""
        for problem in self._parts.problems:
            if problem.plugin is not None and problem.plugin not in self._lives:
                self._parts.problems.clear(problem.type, problem.context, problem.reference)

    def _life(self, name: str) -> PluginLife:
        life = self._lives.get(name)
        if life is None:
            self._routes.refuse_unknown()
            raise NotFound(f"There is no plugin {name}; installed are {', '.join(sorted(self._lives)) or 'none'}")
        return life

    def _driver(self, name: str) -> DriverInfo:
        self._routes.refuse_unknown()
        return self._drivers.info(name)

    @contextlib.asynccontextmanager
    async def _stopped(self, life: PluginLife) -> AsyncIterator[list[PluginLife]]:
        """Stop a plugin after its dependents, which are handed over; the routes are as they are left at the end."""
        dependents = self._requirements.dependents(life, self._running)
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
        self._routes.rebuild()

    # --- bringing up ------------------------------------------------------------------------------------------------

    async def _bring_up(self, lives: Iterable[PluginLife]) -> None:
        """Import plugins side by side, load them in order, and start each when what it requires runs. What goes wrong
        on the way is that plugin's reason, and everybody else's start goes on."""
        chosen = list(lives)
        for life in chosen:
            life.begin()
        classes = await asyncio.gather(*(self._import(life) for life in chosen))
        taken = self._routes.taken()
        for life, plugin_class in zip(chosen, classes, strict=True):  # in order: who is first has the route
            if plugin_class is not None:
                with code_of(life.name):
                    self._load(life, plugin_class, taken)
                await asyncio.sleep(0)  # all their routes bound in one go would hold up whoever asks meanwhile
        for life in chosen:  # only now it is known which hooks there are
            life.refuse_misspelt_hooks()
        self._requirements.refuse_unmet()
        self._routes.rebuild()
        await asyncio.gather(*(self._start(life, self._requirements.providers(life)) for life in chosen))

    async def _import(self, life: PluginLife) -> object:
        reason = self._choices.why_disabled(life.name)
        if reason is not None:
            life.become(Health.DISABLED, reason)
            return None
        return await life.imported()

    def _load(self, life: PluginLife, plugin_class: object, taken: RouteTable) -> None:
        try:
            life.load(plugin_class)
            taken.add(life.entries)
        except Exception as error:
            life.not_loaded(error)

    async def _start(self, life: PluginLife, providers: set[str]) -> None:
        plugin_under_way.set(life.name)
        try:
            if not life.is_about_to_start:
                return
            for provider in sorted(providers):
                other = self._lives[provider]
                await other.start_is_over.wait()
                if not other.running:
                    life.fail(f"it requires plugin {provider}, which does not run: {other.reason}")
                    return
            try:
                runs = await life.set_up(self._remains, self._drivers)
                if runs:
                    self._running.append(life)
                    life.begun()
            finally:
                await life.note(self._remains)
            if runs:
                await self._routes.remember(life)
        finally:
            life.start_is_over.set()

    async def _bring_up_with_dependents(self, life: PluginLife, stopped: Sequence[PluginLife] = ()) -> None:
        """Start a plugin, those that were stopped for it, and those that could not start without it."""
        await self._bring_up([life, *stopped])
        if life.running:  # only now it is known what it provides
            await self._bring_up(other for other in self._requirements.held_back_by(life) if other not in stopped)

    def _forget_old_failures(self) -> None:
        """Clear what an earlier start reported of plugins that are not to run now."""
        for problem in self._parts.problems:
            name = problem.reference
            gone = name not in self._lives
            if problem.type == "hook_failed":  # of the last run, which ended before it could answer again
                self._parts.problems.clear(problem.type, problem.context, name)
            elif problem.context != "plugin" or name is None:
                continue
            elif (problem.type == "plugin_failed" and (gone or self._choices.why_disabled(name) is not None)) or (
                problem.type == "plugin_kept_out" and (gone or self._choices.why_disabled(name) is None)
            ):
                self._parts.problems.clear(problem.type, problem.context, name)

    def _report_settings(self) -> None:
        """Say what the operator's file says of plugins that cannot be meant so; a typing error stops nothing else."""
        classes = {name: life.plugin_class.settings for name, life in self._lives.items()}
        unloaded = [name for name, life in self._lives.items() if life.plugin is None]
        drivers = self._drivers.operator_settings()
        named = dict.fromkeys(driver.name for driver in self._drivers)
        settings = self._parts.settings
        running = [name for name in self._lives if self._choices.why_disabled(name) is None]
        wrong = settings.check_sections(named | classes, running=running, unchecked=unloaded)
        wrong += settings.check_driver_sections(drivers, unchecked=self._drivers.not_loaded())
        if wrong:
            self._parts.problems.report(Problem("settings_invalid", "system", None, "; ".join(wrong)))
        else:
            self._parts.problems.clear("settings_invalid")


PLUGINS = Service[Plugins]("plugins/1")


def _asked() -> str:
    """Who decides just now, for the list of plugins."""
    who = caller.get()
    return f"by {who} over the API" if who else "by Rooftree itself"


def _shared_length(path: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first parts are the same."""
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(path, other, strict=False))))
