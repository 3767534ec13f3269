# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree run``: the daemon itself, in the foreground, until it is told to stop."""

from __future__ import annotations

from pathlib import Path

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation, plugin_option


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="The port of the API; 0 takes any free one.")
@click.option("--host", metavar="ADDRESS", help="The address that the API listens on.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error", "critical"]))
@click.option("--log-format", type=click.Choice(["text", "json"]))
@plugin_option
@invocation_options
@pass_invocation
@click.pass_context
def run(
    context: click.Context,
    invocation: Invocation,
    /,
    port: int | None,
    host: str | None,
    log_level: str | None,
    log_format: str | None,
    plugins_in: tuple[Path, ...],
) -> None:
    """Run the daemon in the foreground.

    What is given here is stronger than the environment, which is stronger than rooftree.toml. A plugin in a file is
    loaded anew when the file changes.
    """
    settings = invocation.settings(port=port, host=host, log_level=log_level, log_format=log_format)
    from rooftree.daemon import run as run_daemon  # first: decides what comes with the other imports

    # isort: split
    from rooftree.cli.plugin_file import plugin_files, watched

    files = plugin_files(plugins_in, settings)
    status = run_daemon(
        settings,
        [file.installed for file in files],
        lambda plugins: [watched(files, plugins)] if files else [],
    )
    context.exit(status)
