"""Who needs whom: plugins start when the plugins run whose services they require, and stop before them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

from rooftree.plugins.life import Health, PluginLife
from rooftree.plugins.loading import KERNEL
from rooftree.services import Service, ServiceDirectory


@frozen(eq=False)
class Requirements:
    """The requirements of all plugins."""

    lives: Mapping[str, PluginLife]
    services: ServiceDirectory

    def providers(self, life: PluginLife) -> set[str]:
        """The plugins whose services it requires; to be asked before any of them starts, and may fail."""
        owners = {self.services.owner(key.name) for key in life.plugin_class.requires}
        return {owner for owner in owners if owner and owner != KERNEL}

    def dependents(self, life: PluginLife, running: Collection[PluginLife]) -> list[PluginLife]:
        """Those of the running plugins that cannot do without it, in the same order: that in which they started."""
        affected = {life.name}
        for other in running:
            if self.providers(other) & affected:
                affected.add(other.name)
        return [other for other in running if other.name in affected and other is not life]

    def held_back_by(self, life: PluginLife) -> list[PluginLife]:
        """The plugins that do not run, but might if this one did."""
        offered = {key.name for key in life.plugin_class.provides}
        held_back: list[PluginLife] = []
        for _ in self.lives:
            for other in self.lives.values():
                lacks = offered & {key.name for key in other.plugin_class.requires}
                if other.health is Health.FAILED and lacks and other is not life and other not in held_back:
                    held_back.append(other)
                    offered |= {key.name for key in other.plugin_class.provides}
        return held_back

    def refuse_unmet(self) -> None:
        """Fail plugins whose required services nobody will provide, and those that wait for each other in a ring."""
        starting = {name for name, life in self.lives.items() if life.is_about_to_start}
        able = starting | {name for name, life in self.lives.items() if life.running}
        while True:
            lacking = {name: self._lack(self.lives[name], able) for name in starting & able}
            unable = {name: lack for name, lack in lacking.items() if lack}
            if not unable:
                break
            for name, lack in unable.items():
                self.lives[name].fail(f"it requires {lack.name}, which no plugin that can start provides")
            able -= unable.keys()
        order = able - starting
        while ready := {name for name in able - order if self.providers(self.lives[name]) <= order}:
            order |= ready
        for name in able - order:
            others = ", ".join(sorted(able - order - {name}))
            self.lives[name].fail(f"it and {others} require each other in a ring")

    def _lack(self, life: PluginLife, able: set[str]) -> Service[Any] | None:
        owners = {*able, KERNEL}
        required = life.plugin_class.requires
        return next((key for key in required if self.services.owner(key.name) not in owners), None)
