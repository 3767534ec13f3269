"""Bringing plugins up: imported side by side, loaded in order, each started when what it requires runs.

What goes wrong on the way is that plugin's reason, and everybody else's start goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from rooftree.context import code_of, is_cancelled, plugin_under_way
from rooftree.errors import RooftreeError
from rooftree.http.binding import Endpoint
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.plugin import Kernel, Plugin
from rooftree.plugin_loading import checked_class, import_compatible, in_thread_of_its_own
from rooftree.plugin_record import Health, Record
from rooftree.plugin_release import release
from rooftree.services import Service

if TYPE_CHECKING:
    from rooftree.system import System

log = structlog.get_logger(__name__)


class PluginStart:
    """Brings plugins up.

    :param records: all plugins there are, by name
    :param disabled: why a plugin is not to run, or ``None``
    :param loaded: called when some have been loaded, and none of them started
    :param begun: called for each that has started
    """

    def __init__(
        self,
        system: System,
        records: Mapping[str, Record],
        disabled: Callable[[str], str | None],
        loaded: Callable[[], None],
        begun: Callable[[Record], Awaitable[None]],
    ) -> None:
        self._system = system
        self._records = records
        self._disabled = disabled
        self._loaded = loaded
        self._begun = begun

    async def bring_up(self, records: Iterable[Record]) -> None:
        """Import, load and start plugins, each when what it requires runs."""
        chosen = list(records)
        for record in chosen:
            record.begin()
        imported = await asyncio.gather(*(self._import(record) for record in chosen))
        for record, found in zip(chosen, imported, strict=True):  # in order: who is first has the route
            if found is not None:
                with code_of(record.name):
                    self._load(record, found)
        self._refuse_unmet_requirements()
        self._loaded()
        await asyncio.gather(*(self._start(record, self.providers(record)) for record in chosen))

    async def _import(self, record: Record) -> object:
        """What the entry point leads to; ``None`` where the plugin is disabled or can't be imported."""
        reason = self._disabled(record.name)
        if reason is not None:
            record.become(Health.DISABLED, reason)
            return None
        deadline_s = self._system.settings.kernel.start_timeout_s
        try:
            async with asyncio.timeout(deadline_s):
                plugin_under_way.set(record.name)  # in a task of its own, as gather makes one for each
                return await in_thread_of_its_own(lambda: import_compatible(record.point))
        except TimeoutError:
            record.fail(f"it was not imported within {deadline_s} s")
        except Exception as error:
            self._not_loaded(record, error)
        return None

    def _load(self, record: Record, plugin_class: object) -> None:
        try:
            record.plugin_class = checked_class(plugin_class, record.name)
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
        starting = {name for name, record in self._records.items() if record.is_about_to_start}
        able = starting | {name for name, record in self._records.items() if record.running}
        while True:
            lacking = {name: self._lack(self._records[name].plugin_class, able) for name in starting & able}
            unable = {name: lack for name, lack in lacking.items() if lack}
            if not unable:
                break
            for name, lack in unable.items():
                self._records[name].fail(f"it requires {lack.name}, which no plugin that can start provides")
            able -= unable.keys()
        order = able - starting
        while ready := {n for n in able - order if self.providers(self._records[n]) <= order}:
            order |= ready
        for name in able - order:
            others = ", ".join(sorted(able - order - {name}))
            self._records[name].fail(f"it and {others} require each other in a ring")

    def _lack(self, plugin_class: type[Plugin], able: set[str]) -> Service[Any] | None:
        services = self._system.services
        return next((key for key in plugin_class.requires if services.owner(key.name) not in {*able, "kernel"}), None)

    def providers(self, record: Record) -> set[str]:
        """The plugins whose services it requires; to be asked before any of them starts, and may fail."""
        owners = {self._system.services.owner(key.name) for key in record.plugin_class.requires}
        return {owner for owner in owners if owner and owner != "kernel"}

    async def _start(self, record: Record, providers: set[str]) -> None:
        plugin_under_way.set(record.name)
        try:
            if not record.is_about_to_start:
                return
            for provider in sorted(providers):
                other = self._records[provider]
                await other.settled.wait()
                if not other.running:
                    record.fail(f"it requires plugin {provider}, which does not run: {other.reason}")
                    return
            assert record.plugin is not None
            await self._set_up(record, record.plugin)
        finally:
            record.settled.set()

    async def _set_up(self, record: Record, plugin: Plugin) -> None:
        deadline_s = self._system.settings.kernel.start_timeout_s
        deadline = asyncio.timeout(deadline_s)
        try:
            self._system.hooks.register(plugin, record.name)
            async with deadline:
                await plugin.setup(Kernel(self._system, record))
            lacking = [key.name for key in plugin.provides if self._system.services.find(key) is None]
            if lacking:
                raise RuntimeError(f"setup did not provide {', '.join(lacking)}, which it declares")
            for task in plugin.tasks():
                self._system.tasks.start(task, record.name)
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if is_cancelled():  # Rooftree stops before it has started
                await release(self._system, record)
                raise
            if not isinstance(error, RooftreeError):
                log.exception("plugin_setup_failed")
            reason = f"setup took more than {deadline_s} s" if deadline.expired() else _said(error)
            await release(self._system, record)
            record.fail(reason)
            return
        await self._begun(record)


def _said(error: BaseException) -> str:
    """What an error says; its kind where it says nothing, or is no error."""
    return str(error) if str(error) and isinstance(error, Exception) else repr(error).removesuffix("()")
