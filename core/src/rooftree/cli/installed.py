"""Which plugins are installed, read from their packages' metadata: nothing of theirs is imported for it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from attrs import frozen

PLUGIN_GROUP: Final = "rooftree.plugins"
NO_DRIVERS: Final = frozenset({PLUGIN_GROUP, "rooftree.commands"})


@frozen
class InstalledPlugin:
    """A plugin as its distribution declares it."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint


def installed_drivers() -> dict[str, list[InstalledPlugin]]:
    """The drivers that plugins of Rooftree's own may take, by the table of the operator's settings for them."""
    groups = {entry.group for entry in entry_points() if entry.group.startswith("rooftree.")} - NO_DRIVERS
    return {group.removeprefix("rooftree."): installed_plugins(group) for group in sorted(groups)}


def installed_plugins(group: str = PLUGIN_GROUP) -> list[InstalledPlugin]:
    """Every installed plugin (or driver of that group), by name; of two with one name the first on the path."""
    found: dict[str, InstalledPlugin] = {}
    for entry in entry_points(group=group):
        distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        found.setdefault(entry.name, InstalledPlugin(entry.name, distribution, version, entry))
    return sorted(found.values(), key=lambda plugin: plugin.name)
