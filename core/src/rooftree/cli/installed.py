"""Which plugins are installed, read from their packages' metadata: nothing of theirs is imported for it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from attrs import frozen

PLUGIN_GROUP: Final = "rooftree.plugins"


@frozen
class InstalledPlugin:
    """A plugin as its distribution declares it."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint


def installed_plugins() -> list[InstalledPlugin]:
    """Every installed plugin, by name; of two with one name the first on the path."""
    found: dict[str, InstalledPlugin] = {}
    for entry in entry_points(group=PLUGIN_GROUP):
        distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        found.setdefault(entry.name, InstalledPlugin(entry.name, distribution, version, entry))
    return sorted(found.values(), key=lambda plugin: plugin.name)
