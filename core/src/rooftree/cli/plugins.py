# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree plugins``: what is installed, how it is, and why."""

from __future__ import annotations

from typing import Any, Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation
from rooftree.cli.refusals import DaemonNotRunning

NOT_RUNNING: Final = "not running"

_COLOURS: Final = {
    "ok": "green",
    "starting": "yellow",
    "degraded": "yellow",
    "failed": "bold red",
    "disabled": "dim",
    "not": "dim",
}


@click.command()
@invocation_options
@pass_invocation
def plugins(invocation: Invocation, /) -> None:
    """List the plugins, and how they are."""
    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, print_table

    try:
        data = ask(invocation.daemon_socket(), "GET", "/kernel/v1/plugins")
    except DaemonNotRunning as error:
        data = {"plugins": _installed(invocation)}
        click.echo(f"{error.message}. These are the plugins that are installed.", err=True)
    if invocation.as_json:
        print_json(data)
        return
    print_table(
        ("NAME", "VERSION", "STATE", "PROVIDES", "REQUIRES", "REASON"),
        [
            (
                plugin["name"],
                plugin["version"],
                plugin["state"],
                ", ".join(plugin["provides"]),
                ", ".join([*plugin["requires"], *(f"({name})" for name in plugin.get("optional", ()))]),
                plugin["reason"] or "",
            )
            for plugin in data["plugins"]
        ],
        _COLOURS,
    )


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
