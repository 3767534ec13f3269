# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree plugins``: what is installed, how it is, and why; and switching plugins on and off while we run."""

from __future__ import annotations

from typing import Any, Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation
from rooftree.cli.names import NAME
from rooftree.cli.refusals import DaemonNotRunning

NOT_RUNNING: Final = "not running"
CHANGE_S: Final = 600
"""How long a change may take: what is under way is let end, in one plugin after another."""
UNINSTALLED: Final = "uninstalled"

_COLOURS: Final = {
    "ok": "green",
    "starting": "yellow",
    "degraded": "yellow",
    "in": "green",
    "idle": "dim",
    "failed": "bold red",
    "disabled": "dim",
    "not": "dim",
    "uninstalled": "dim",
}


@click.group(invoke_without_command=True)
@click.option("--services", is_flag=True, help="With what each provides and requires.")
@invocation_options
@click.pass_context
@pass_invocation
def plugins(invocation: Invocation, context: click.Context, /, *, services: bool) -> None:
    """List the plugins and drivers, and how they are."""
    if context.invoked_subcommand is None:
        _list(invocation, with_services=services)


@plugins.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def enable(invocation: Invocation, /, name: str) -> None:
    """Let a plugin run, or a driver (boards.acme) be used, from now on and after a restart too."""
    _change(invocation, name, "enable")


@plugins.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def disable(invocation: Invocation, /, name: str) -> None:
    """Stop a plugin and those that depend on it, or use a driver no longer; after a restart too."""
    _change(invocation, name, "disable")


@plugins.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def restart(invocation: Invocation, /, name: str) -> None:
    """Stop a plugin and those that depend on it, and start them again."""
    _change(invocation, name, "restart")


@plugins.command()
@click.argument("name", type=NAME)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@invocation_options
@pass_invocation
def purge(invocation: Invocation, /, name: str, *, yes: bool) -> None:
    """Remove for good what a plugin left that is no longer installed: documents, files, tokens, remembered routes."""
    from urllib.parse import quote

    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, tell

    if not yes:
        all_remains = ask(invocation.daemon_socket(), "GET", "/kernel/v1/plugins")["left_behind"]
        for remains in (remains for remains in all_remains if remains["name"] == name):  # of others it says why not
            tell(f"Plugin {name} left {_remains_text(remains)}.", err=True)
            click.confirm("Remove all of it? It can't be brought back", abort=True, err=True)
    remains = ask(invocation.daemon_socket(), "DELETE", f"/kernel/v1/plugins/{quote(name, safe='')}")
    if invocation.as_json:
        print_json(remains)
    else:
        tell(f"Nothing is left of {name}; removed: {_remains_text(remains)}.")


def _remains_text(remains: dict[str, Any]) -> str:
    return (
        f"{remains['documents']} documents ({', '.join(remains['collections']) or 'no collections'}), "
        f"{remains['tokens']} tokens" + (f", the folder {remains['folder']}" if remains["folder"] else "")
    )


def _change(invocation: Invocation, name: str, verb: str) -> None:
    from urllib.parse import quote

    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, tell

    path = f"/kernel/v1/plugins/{quote(name, safe='')}/{verb}"
    plugin = ask(invocation.daemon_socket(), "POST", path, patience_s=CHANGE_S)
    if invocation.as_json:
        print_json(plugin)
    else:
        tell(
            f"{plugin['name']} is {plugin['state'].replace('_', ' ')}"
            + (f": {plugin['reason']}" if plugin["reason"] else "")
        )


def _list(invocation: Invocation, *, with_services: bool) -> None:
    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, print_table, tell

    try:
        data = ask(invocation.daemon_socket(), "GET", "/kernel/v1/plugins")
    except DaemonNotRunning as error:
        data = {"plugins": _installed(invocation), "drivers": _installed_drivers(invocation), "left_behind": []}
        tell(f"{error.message}. These are the plugins that are installed.", err=True)
    if invocation.as_json:
        print_json(data)
        return
    rows = [
        (
            plugin["name"],
            plugin["version"],
            plugin["state"],
            ", ".join(plugin["provides"]),
            ", ".join([*plugin["requires"], *(f"({name})" for name in plugin.get("optional", ()))]),
            plugin["reason"] or "",
        )
        for plugin in data["plugins"]
    ]
    rows += [
        (
            driver["name"],
            driver["version"],
            driver["state"].replace("_", " "),
            "",
            "",
            driver["reason"] or (f"by plugin {driver['plugin']}" if driver["plugin"] else ""),
        )
        for driver in data["drivers"]
    ]
    rows += [
        (
            remains["name"],
            "",
            UNINSTALLED,
            "",
            "",
            f"it left {_remains_text(remains)}; to remove that: rooftree plugins purge {remains['name']}",
        )
        for remains in data["left_behind"]
    ]
    headings = ("NAME", "VERSION", "STATE", "PROVIDES", "REQUIRES", "REASON")
    columns = range(len(headings)) if with_services else (0, 1, 2, 5)
    print_table(
        [headings[column] for column in columns], [[row[column] for column in columns] for row in rows], _COLOURS
    )


def _installed_drivers(invocation: Invocation) -> list[dict[str, Any]]:
    """The same of drivers."""
    from rooftree.cli.installed import installed_drivers

    settings = invocation.settings()
    disabled = {name: f"disabled by {settings.origin('plugins.disabled')}" for name in settings.disabled}
    return [
        {
            "name": (name := f"{table}.{driver.name}"),
            "distribution": driver.distribution,
            "version": driver.version,
            "state": NOT_RUNNING,
            "reason": disabled.get(name),
            "plugin": None,
        }
        for table, drivers in installed_drivers().items()
        for driver in drivers
    ]


def _installed(invocation: Invocation) -> list[dict[str, Any]]:
    """The same facts without a daemon, as far as they can be known without importing plugins."""
    from rooftree.cli.installed import installed_plugins

    settings = invocation.settings()

    def reason(name: str) -> str | None:
        if settings.runs(name):
            return None
        by = settings.origin("plugins.disabled" if name in settings.disabled else "plugins.enabled")
        return f"disabled by {by}"

    return [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": NOT_RUNNING,
            "reason": reason(plugin.name),
            "provides": [],
            "requires": [],
            "optional": [],
        }
        for plugin in installed_plugins()
    ]
