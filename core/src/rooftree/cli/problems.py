# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree problems``: what is wrong, and still wrong."""

from __future__ import annotations

from typing import Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation

_COLOURS: Final = {"unhealthy": "bold red", "unsupported": "yellow", "issue": "yellow"}


@click.command()
@invocation_options
@pass_invocation
def problems(invocation: Invocation, /) -> None:
    """List what is wrong, and still wrong."""
    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, print_table, tell

    data = ask(invocation.daemon_socket(), "GET", "/kernel/v1/problems")
    if invocation.as_json:
        print_json(data)
        return
    if not data["problems"]:
        tell("Nothing is wrong.")
        return
    print_table(
        ("SEVERITY", "WHERE", "WHAT"),
        [
            (
                problem["severity"],
                "/".join(filter(None, (problem["context"], problem["reference"]))),
                problem["message"],
            )
            for problem in data["problems"]
        ],
        _COLOURS,
    )
