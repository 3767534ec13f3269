"""The distributions of this checkout, read from their folders: what holds for all of them needs no list of names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"[\w-]+")


@frozen
class Distribution:
    """A folder with a ``pyproject.toml``."""

    folder: Path
    name: str
    package: str
    """What one imports, as ``rooftree_board_green``."""
    needs: frozenset[str]
    """Names of the distributions that it depends on, of ours and of others."""
    entry_points: Mapping[str, Mapping[str, str]]

    @property
    def is_domain(self) -> bool:
        """Whether the kernel or a domain discovers it; else it is a library."""
        return bool(self.entry_points)


def distribution(folder: Path) -> Distribution:
    """What the ``pyproject.toml`` in that folder says."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (package,) = (path.name for path in (folder / "src").iterdir() if (path / "__init__.py").exists())
    needs = (match[0] for text in project["dependencies"] if (match := NAME.match(text)))
    return Distribution(folder, project["name"], package, frozenset(needs), project.get("entry-points", {}))


def plugins(root: Path = ROOT) -> tuple[Distribution, ...]:
    """Everything in ``plugins/``, domains and libraries, by name."""
    return tuple(distribution(path.parent) for path in sorted((root / "plugins").glob("*/pyproject.toml")))


def with_needs(names: Iterable[str], root: Path = ROOT) -> tuple[Distribution, ...]:
    """The plugins of these names, and those that they depend on, whatever the depth."""
    there = {plugin.name: plugin for plugin in plugins(root)}
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += there[name].needs & there.keys()
    return tuple(plugin for name, plugin in there.items() if name in wanted)
