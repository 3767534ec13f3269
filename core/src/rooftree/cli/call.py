# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree call``: any path of the API, over the unix socket, as the user who types it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation

if TYPE_CHECKING:
    from pathlib import Path

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
INTERRUPTED: Final = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


@click.command()
@click.argument("method", metavar="METHOD", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.argument("body", metavar="[JSON]", required=False)
@invocation_options
@pass_invocation
def call(invocation: Invocation, /, method: str, path: str, body: str | None) -> None:
    """Call a path of the API, and print the answer.

    JSON is the body; - reads it from standard input. What is printed is the answer's data, or with --json the whole
    answer. Text is printed for as long as more comes:
    as it is, but on a terminal without what would drive it (colours stay).

    \b
    rooftree call GET /supervisor/info
    rooftree call POST /addons/local_clock/options '{"options": {"zone": "UTC"}}'
    rooftree call GET /supervisor/logs/follow
    """
    import asyncio

    _check_path(path)
    encoded = _checked_body(body)
    try:
        asyncio.run(_call(invocation.daemon_socket(), method.upper(), path, encoded, as_json=invocation.as_json))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


async def _call(socket: Path, method: str, path: str, body: bytes | None, *, as_json: bool) -> None:
    from rooftree.cli.connection import data_of, request
    from rooftree.cli.presentation import print_json, print_stream

    async with request(socket, method, path, body) as response:
        is_json = response.content_type == "application/json"
        if not is_json and response.status < 400:
            _refuse_binary_on_terminal(response.content_type)
            await print_stream(response.content.iter_any())
            return
        text = await response.read()
        if is_json and not text:  # the answer to HEAD
            return
        data = data_of(response.status, text)
        if as_json:
            import json

            print_json(json.loads(text))
        else:
            print_json(data)


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise click.UsageError(f"a path begins with a slash: did you mean /{path}?")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise click.UsageError("a path is ASCII and has no spaces: write a space as %20, an ä as %C3%A4")


def _checked_body(body: str | None) -> bytes | None:
    """The body as it is sent; what is not JSON is refused here, where the place in it can be shown."""
    import json

    if body is None:
        return None
    encoded = sys.stdin.buffer.read() if body == "-" else body.encode()
    try:
        json.loads(encoded)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}: {error.msg}"
        raise click.UsageError(f"the body is not JSON ({where}); quote it for the shell: '{{…}}'") from None
    except UnicodeDecodeError:
        raise click.UsageError("the body is not JSON: it is not UTF-8 text") from None
    return encoded


def _refuse_binary_on_terminal(content_type: str) -> None:
    if sys.stdout.isatty() and not content_type.startswith("text/"):
        raise click.UsageError(f"the answer is {content_type}, nothing for a terminal: send it to a file with > FILE")
