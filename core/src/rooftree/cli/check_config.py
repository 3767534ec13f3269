# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree check-config``: the settings that would be in force, each with where it was set, or all that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation, plugin_option

if TYPE_CHECKING:
    from rooftree.cli.installed import InstalledPlugin
    from rooftree.settings import Settings


@click.command(name="check-config")
@plugin_option
@invocation_options
@pass_invocation
def check_config(invocation: Invocation, /, plugins_in: tuple[Path, ...]) -> None:
    """Check the settings, and show where each is set."""
    from rooftree.cli.installed import InstalledPlugin, installed_drivers, installed_plugins
    from rooftree.cli.plugin_file import plugin_files
    from rooftree.cli.presentation import print_json, print_table, tell
    from rooftree.settings import SettingsInvalid

    settings, problems = invocation.read_settings()
    in_files = {
        file.name: InstalledPlugin(file.name, str(file.path), "", file.installed.point)
        for file in plugin_files(plugins_in, settings)
    }
    plugins = {plugin.name: plugin for plugin in installed_plugins()} | in_files
    running = {name for name in plugins if name in in_files or settings.runs(name)}
    drivers = installed_drivers()
    known, unchecked = _declared(plugins.values(), "Plugin", "settings")
    of_drivers, without = {}, []
    for table, in_group in drivers.items():
        of_drivers[table], failed = _declared(in_group, "Driver", "operator_settings")
        without += [f"{table}.{name}" for name in failed]
    named = dict.fromkeys(f"{table}.{name}" for table, names in of_drivers.items() for name in names)
    problems += settings.check_sections(named | known, running=running, unchecked=unchecked)
    problems += settings.check_driver_sections(of_drivers, unchecked=without)
    if problems:
        raise SettingsInvalid(problems)
    effective = list(_effective(settings, {name: known[name] for name in sorted(running)}, of_drivers))
    if invocation.as_json:
        rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in effective]
        print_json({"file": str(settings.file) if settings.file else None, "settings": rows, "problems": []})
        return
    tell(f"Settings file: {settings.file or 'none'}", err=True)
    print_table(
        ("SETTING", "VALUE", "SET BY"),
        [(key, _shown(value), origin or "default") for key, value, origin in effective],
        {"default": "dim"},
    )


def _declared(
    installed: Iterable[InstalledPlugin], what: str, attribute: str
) -> tuple[dict[str, type | None], list[str]]:
    """The settings classes of plugins or drivers, and which of these can't be imported: they are mentioned."""
    import attrs

    from rooftree.cli.presentation import tell

    known: dict[str, type | None] = {}
    unchecked = []
    for plugin in installed:
        try:
            kind = getattr(plugin.entry_point.load(), attribute, None)
        except Exception as error:  # whatever a stranger's module does when it is imported
            reason = f"{type(error).__name__}: {error}"
            tell(f"{what} {plugin.name} can't be loaded, its settings are not checked: {reason}", err=True)
            unchecked.append(plugin.name)
            kind = None
        known[plugin.name] = kind if isinstance(kind, type) and attrs.has(kind) else None
    return known, unchecked


def _effective(
    settings: Settings, known: dict[str, type | None], of_drivers: dict[str, dict[str, type | None]]
) -> Iterator[tuple[str, Any, str | None]]:
    """Every setting as (key, value as plain data, origin); secrets masked."""
    yield from _fields(settings, "kernel", settings.kernel)
    for name in ("enabled", "disabled"):
        yield f"plugins.{name}", list(getattr(settings, name)), settings.origin(f"plugins.{name}")
    for plugin, kind in known.items():
        if kind is not None:
            yield from _fields(settings, f"plugins.{plugin}", settings.section(plugin, kind))
    for table, drivers in of_drivers.items():
        for driver, kind in drivers.items():
            if kind is not None:
                yield from _fields(settings, f"{table}.{driver}", settings.driver_section(table, driver, kind))


def _fields(settings: Settings, key: str, section: Any) -> Iterator[tuple[str, Any, str | None]]:
    import attrs

    from rooftree.model import unstructure
    from rooftree.settings import looks_secret

    for field in attrs.fields(type(section)):
        inner, value = f"{key}.{field.alias}", getattr(section, field.name)
        if attrs.has(type(value)):
            yield from _fields(settings, inner, value)
        else:
            shown = "***" if value and looks_secret(field.alias) else unstructure(value)
            yield inner, shown, settings.origin(inner)


def _shown(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
