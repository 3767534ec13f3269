# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree token``: tokens for programs that use the API."""

from __future__ import annotations

from typing import Any, Final

import click

from rooftree.cli.invocation import Invocation, invocation_options, pass_invocation
from rooftree.cli.names import NAME

ROLES: Final = ("admin", "manager", "backup", "homeassistant", "default")
_TOKENS: Final = "/kernel/v1/tokens"


@click.group()
@invocation_options
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command()
@click.argument("name", type=NAME)
@click.option("--role", type=click.Choice(ROLES), default="default", show_default=True, help="What it may do.")
@invocation_options
@pass_invocation
def create(invocation: Invocation, /, name: str, role: str) -> None:
    """Make a token called NAME and print it; it is shown this once only."""
    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, tell

    made = ask(invocation.daemon_socket(), "POST", _TOKENS, {"name": name, "role": role})
    if invocation.as_json:
        print_json(made)
        return
    tell(f"Token {made['name']} with role {made['role']}. Keep it: it is not shown again.", err=True)
    tell(made["token"])


@token.command(name="list")
@invocation_options
@pass_invocation
def list_tokens(invocation: Invocation, /) -> None:
    """List the tokens that are valid."""
    from rooftree.cli.presentation import print_json, print_table

    tokens = _tokens(invocation)
    if invocation.as_json:
        print_json({"tokens": tokens})
        return
    print_table(
        ("NAME", "KIND", "ROLE", "CREATED", "ID"),
        [(item["name"], item["kind"], item["role"] or "", item["created"], item["id"]) for item in tokens],
    )


@token.command()
@click.argument("name", type=NAME)
@invocation_options
@pass_invocation
def revoke(invocation: Invocation, /, name: str) -> None:
    """Make the token NAME (or the one with this id) invalid, at once."""
    from urllib.parse import quote

    from rooftree.cli.connection import ask
    from rooftree.cli.presentation import print_json, tell

    chosen = _one_of(_tokens(invocation), name)
    ask(invocation.daemon_socket(), "DELETE", f"{_TOKENS}/{quote(chosen['id'], safe='')}")
    if invocation.as_json:
        print_json({"id": chosen["id"], "name": chosen["name"]})
    else:
        tell(f"Token {chosen['name']} is revoked.")


def _tokens(invocation: Invocation) -> list[dict[str, Any]]:
    from rooftree.cli.connection import ask

    tokens: list[dict[str, Any]] = ask(invocation.daemon_socket(), "GET", _TOKENS)["tokens"]
    return tokens


def _one_of(tokens: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The token that ``name`` means; raises where there is none, or more than one."""
    from rooftree.errors import Conflict, NotFound
    from rooftree.model import did_you_mean

    matching = [item for item in tokens if item["id"] == name] or [item for item in tokens if item["name"] == name]
    if len(matching) > 1:
        ids = ", ".join(item["id"] for item in matching)
        raise Conflict(f"{len(matching)} tokens are called {name}: say which one by its id ({ids})")
    if not matching:
        known = [item["name"] for item in tokens]
        hint = did_you_mean(name, known, "rooftree token list shows those that there are")
        raise NotFound(f"There is no token {name}; {hint}")
    return matching[0]
