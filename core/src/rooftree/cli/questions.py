"""What a command asks of whoever types it."""

from __future__ import annotations

import sys

import click


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def ask_secret(label: str, *, otherwise: str, confirm: bool = False) -> str:
    """Ask for what nobody is to see; where nobody is there, it is the first line of the standard input.

    :param label: what is asked for, such as ``Password``
    :param otherwise: how else it can be given, for where nothing comes: ``write it to the standard input``
    :param confirm: whether it is asked for twice
    :raises click.UsageError: nobody is there, and nothing comes
    """
    if is_terminal():
        return str(click.prompt(label, hide_input=True, confirmation_prompt=confirm, err=True))
    answer = sys.stdin.readline().rstrip("\r\n")
    if not answer:
        raise click.UsageError(f"{label}: nobody is there to be asked; {otherwise}")
    return answer
