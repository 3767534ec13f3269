"""Who may import whom: ``python -m tests.lint.import_contracts`` checks it, as part of ``make lint``.

What is said of rooms stands in ``.importlinter``. What is said of plugins follows from their folders and is added here:
a plugin imports the kernel, and of other plugins only those that its ``pyproject.toml`` depends on; and a domain is
depended on by nobody but those below, through its front door. A new plugin needs no line anywhere.
"""

from __future__ import annotations

import graphlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path

from tests.workspace import ROOT, Distribution, plugins

EVERY_PLUGIN = "EVERY_PLUGIN"
"""Stands in ``.importlinter`` for the packages of all plugins."""
KNOWN_BY_NAME = {
    "rooftree-addons": {"rooftree-discovery", "rooftree-ingress"},
    "rooftree-store": {"rooftree-addons", "rooftree-discovery"},
}
"""Domains that other domains know by name, and which. All others meet through services, hooks and events."""


class WrongDependency(Exception):
    """A ``pyproject.toml`` that depends on what it may not."""


def contracts(root: Path) -> str:
    """The whole configuration of import-linter."""
    there = plugins(root)
    _check_dependencies(there)
    parser = ConfigParser(interpolation=None)
    parser.read(root / ".importlinter")
    packages = "\n".join(plugin.package for plugin in there)
    for section in parser.sections():
        for option, value in parser.items(section):
            parser.set(section, option, value.replace(EVERY_PLUGIN, packages))
    for section, options in _of_plugins(there):
        parser.read_dict({f"importlinter:contract:{section}": options})
    return "\n".join(_written(parser))


def _check_dependencies(there: Sequence[Distribution]) -> None:
    names = {plugin.name for plugin in there}
    for plugin in there:
        for other in there:
            known = plugin.name in KNOWN_BY_NAME.get(other.name, ())
            if other.is_domain and other.name in plugin.needs and not known:
                raise WrongDependency(f"{plugin.name} depends on {other.name}, which is a domain and no library")
    try:
        graphlib.TopologicalSorter({plugin.name: plugin.needs & names for plugin in there}).prepare()
    except graphlib.CycleError as circle:
        raise WrongDependency(f"depend on each other: {' → '.join(circle.args[1])}") from None


def _of_plugins(there: Sequence[Distribution]) -> Iterator[tuple[str, dict[str, str]]]:
    for plugin in there:
        others = [other.package for other in there if other is not plugin and other.name not in plugin.needs]
        yield (
            f"dependencies-of-{plugin.name}",
            {
                "name": f"{plugin.package} imports no plugin that its pyproject.toml does not depend on",
                "type": "forbidden",
                "source_modules": plugin.package,
                "forbidden_modules": "\n".join(others),
                "allow_indirect_imports": "True",
            },
        )
        if plugin.is_domain and any(plugin.name in other.needs for other in there):
            yield (
                f"door-of-{plugin.name}",
                {
                    "name": f"Others import {plugin.package} itself, none of the modules inside",
                    "type": "protected",
                    "protected_modules": f"{plugin.package}.*",
                    "allowed_importers": plugin.package,
                },
            )


def _written(parser: ConfigParser) -> Iterator[str]:
    for section in parser.sections():
        yield f"[{section}]"
        for option, value in parser.items(section):
            yield f"{option} = {value.replace('\n', '\n    ')}"


def check(root: Path = ROOT) -> int:
    """Run import-linter; its exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        try:
            file.write(contracts(root))
        except WrongDependency as wrong:
            print(wrong)
            return 1
        file.flush()
        command = (Path(sys.executable).with_name("lint-imports"), "--config", file.name)
        return subprocess.run(command, cwd=root, check=False).returncode


if __name__ == "__main__":
    sys.exit(check())
