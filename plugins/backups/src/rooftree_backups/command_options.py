"""What several commands of ``rooftree backup`` can be told."""

from __future__ import annotations

import os
from typing import Final

import click

from rooftree.commands import NAME, ask_secret

PASSWORD_VARIABLE: Final = "BACKUP_PASSWORD"  # noqa: S105  # its name; ROOFTREE_… are settings
FOLDERS: Final = ("share", "addons/local", "ssl", "media")
LOCATION_HELP: Final = "A backup mount or a vault; .local for here."

ask_for_password = click.option("--ask-password", is_flag=True, help="Ask for the password.")
of_folders = click.option("--folder", "folders", multiple=True, type=click.Choice(FOLDERS), help="A folder.")
of_addons = click.option("--addon", "addons", type=NAME, multiple=True, metavar="SLUG", help="An add-on.")


def password_of(ask: bool, *, confirm: bool = False) -> str | None:
    """The password that somebody types, or that the environment has."""
    if ask:
        return ask_secret(
            "Password", otherwise=f"write it to the standard input, or into {PASSWORD_VARIABLE}", confirm=confirm
        )
    return os.environ.get(PASSWORD_VARIABLE) or None
