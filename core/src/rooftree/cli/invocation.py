# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""What every command is told: which settings, which daemon, and for whom to print.

The options may stand before or after the command's name: ``rooftree --json plugins`` is ``rooftree plugins --json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rooftree.settings import Settings


class Invocation:
    """The options that all commands share."""

    def __init__(self) -> None:
        self.config: Path | None = None
        self.data_dir: Path | None = None
        self.socket: Path | None = None
        self.as_json = False

    def settings(self, **flags: object) -> Settings:
        """The settings as the daemon would read them; raises :class:`~rooftree.settings.SettingsInvalid`."""
        from rooftree.settings import load

        return load(config=self.config, environ=os.environ, flags=self._places | flags)

    def read_settings(self) -> tuple[Settings, list[str]]:
        """The settings as far as they can be used, and all that is wrong with them, but for what plugins know."""
        from rooftree.settings import read

        return read(config=self.config, environ=os.environ, flags=self._places)

    @property
    def _places(self) -> dict[str, object]:
        return {"data_dir": self.data_dir, "socket": self.socket}

    def daemon_socket(self) -> Path:
        """Where the daemon listens; settings are only read where ``--socket`` does not say it already."""
        return self.socket if self.socket is not None else self.settings().kernel.socket

    def ask(self, method: str, path: str, body: object = None, *, patience_s: float = 60) -> Any:
        """The ``data`` of the daemon's answer.

        :param patience_s: how long to wait for it
        :raises RooftreeError: the daemon can't be reached, or answers with an error; ``rooftree`` shows either
        """
        from rooftree.cli.connection import ask

        return ask(self.daemon_socket(), method, path, body, patience_s=patience_s)


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)
"""Gives a command the :class:`Invocation` as its first argument."""


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    invocation = context.ensure_object(Invocation)
    if value and parameter.name:
        setattr(invocation, parameter.name, value)


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The settings, instead of rooftree.toml at its default place.",
        expose_value=False,
        callback=_remember,
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where Rooftree keeps everything.",
        expose_value=False,
        callback=_remember,
    ),
    click.option(
        "--socket",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="The daemon's unix socket; by default rooftree.sock in the data folder.",
        expose_value=False,
        callback=_remember,
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print JSON, errors too.",
        expose_value=False,
        callback=_remember,
    ),
)


plugin_option = click.option(
    "--plugin",
    "plugins_in",
    type=click.Path(path_type=Path, resolve_path=True),
    multiple=True,
    metavar="FILE",
    help="A plugin in a file, beside those that are installed.",
)
"""For the commands that take files with plugins."""


def invocation_options[F: Callable[..., Any]](command: F) -> F:
    """Add the shared options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
