"""Bringing plugins up: imported side by side, loaded in order, each set up when what it requires runs.

What goes wrong on the way is that plugin's reason, and everybody else's start goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from rooftree.context import code_of, plugin_under_way
from rooftree.http import RouteTable
from rooftree.plugins.drivers import Drivers
from rooftree.plugins.life import Health, PluginLife
from rooftree.plugins.parts import KernelParts
from rooftree.plugins.plugin import Plugin
from rooftree.plugins.remains import PluginRemains
from rooftree.services import Service


@frozen(kw_only=True, eq=False)
class PluginStart:
    """Brings plugins up."""

    parts: KernelParts
    lives: Mapping[str, PluginLife]
    """All plugins there are, by name."""
    remains: PluginRemains
    drivers: Drivers
    why_disabled: Callable[[str], str | None]
    """Why a plugin is not to run, or ``None``."""
    loaded: Callable[[], None]
    """Called when some have been loaded, and none of them set up."""
    begun: Callable[[PluginLife], Awaitable[None]]
    """Called for each that runs."""

    async def bring_up(self, lives: Iterable[PluginLife]) -> None:
        """Import, load and start plugins, each when what it requires runs."""
        chosen = list(lives)
        for life in chosen:
            life.begin()
        classes = await asyncio.gather(*(self._import(life) for life in chosen))
        for life, plugin_class in zip(chosen, classes, strict=True):  # in order: who is first has the route
            if plugin_class is not None:
                with code_of(life.name):
                    self._load(life, plugin_class)
        for life in chosen:  # only now it is known which hooks there are
            self._refuse_misspelt_hooks(life)
        self._refuse_unmet_requirements()
        self.loaded()
        await asyncio.gather(*(self._start(life, self.providers(life)) for life in chosen))

    async def _import(self, life: PluginLife) -> object:
        reason = self.why_disabled(life.name)
        if reason is not None:
            life.become(Health.DISABLED, reason)
            return None
        return await life.imported()

    def _load(self, life: PluginLife, plugin_class: object) -> None:
        try:
            life.load(plugin_class)
            RouteTable(entry for other in self.lives.values() for entry in other.entries)
        except Exception as error:
            life.plugin = None
            life.not_loaded(error)

    def _refuse_misspelt_hooks(self, life: PluginLife) -> None:
        if life.plugin is None:
            return
        try:
            self.parts.hooks.refuse_misspelt(life.plugin_class)
        except TypeError as error:
            life.plugin = None
            life.not_loaded(error)

    def _refuse_unmet_requirements(self) -> None:
        """Fail plugins whose required services nobody will provide, and those that wait for each other in a ring."""
        starting = {name for name, life in self.lives.items() if life.is_about_to_start}
        able = starting | {name for name, life in self.lives.items() if life.running}
        while True:
            lacking = {name: self._lack(self.lives[name].plugin_class, able) for name in starting & able}
            unable = {name: lack for name, lack in lacking.items() if lack}
            if not unable:
                break
            for name, lack in unable.items():
                self.lives[name].fail(f"it requires {lack.name}, which no plugin that can start provides")
            able -= unable.keys()
        order = able - starting
        while ready := {n for n in able - order if self.providers(self.lives[n]) <= order}:
            order |= ready
        for name in able - order:
            others = ", ".join(sorted(able - order - {name}))
            self.lives[name].fail(f"it and {others} require each other in a ring")

    def _lack(self, plugin_class: type[Plugin], able: set[str]) -> Service[Any] | None:
        services = self.parts.services
        return next((key for key in plugin_class.requires if services.owner(key.name) not in {*able, "kernel"}), None)

    def providers(self, life: PluginLife) -> set[str]:
        """The plugins whose services it requires; to be asked before any of them starts, and may fail."""
        owners = {self.parts.services.owner(key.name) for key in life.plugin_class.requires}
        return {owner for owner in owners if owner and owner != "kernel"}

    async def _start(self, life: PluginLife, providers: set[str]) -> None:
        plugin_under_way.set(life.name)
        try:
            if not life.is_about_to_start:
                return
            for provider in sorted(providers):
                other = self.lives[provider]
                await other.settled.wait()
                if not other.running:
                    life.fail(f"it requires plugin {provider}, which does not run: {other.reason}")
                    return
            if await life.set_up(self.remains, self.drivers):
                await self.begun(life)
        finally:
            life.settled.set()
