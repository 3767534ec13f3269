# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""The commands that plugins bring: entry points of the group ``rooftree.commands``.

Their names are found without importing anything of theirs, and without ``importlib.metadata``, which would double the
time of ``rooftree --help``: only the folders that installers leave beside the packages are looked into. What a command
is for is told by its distribution's summary. A command is imported when it is typed. One that can't be imported, or was
written for another kernel, is said so then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import click

from rooftree.errors import Failed, RooftreeError

GROUP: Final = "rooftree.commands"


class Home(NamedTuple):
    """The distribution that brings a command."""

    distribution: str
    summary: str
    """What it is for, in a line; may be empty."""


def brought_commands() -> Mapping[str, Home]:
    """The names of the commands that plugins bring, each with its distribution; the first of a name counts."""
    commands: dict[str, Home] = {}
    for folder, text in _entry_points():
        home: Home | None = None
        for name in _names(text):
            home = home or _home(folder)
            commands.setdefault(name, home)
    return dict(sorted(commands.items()))


def _entry_points() -> Iterator[tuple[str, str]]:
    """The entry points of every installed distribution that has some of ours, with the folder that they lie in."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or os.curdir)  # noqa: PTH208  # strings: a hundred paths cost more than the reading
        except OSError:
            continue
        for name in sorted(names):
            if not name.endswith(".dist-info"):
                continue
            information = f"{folder or os.curdir}/{name}"
            if f"[{GROUP}]" in (text := _text(f"{information}/entry_points.txt")):
                yield information, text


def _home(information: str) -> Home:
    """Whose folder it is, and what that is for, as the head of its metadata says it."""
    name, summary = information.rpartition("/")[2].partition("-")[0].replace("_", "-"), ""
    for line in _text(f"{information}/METADATA").splitlines():
        if not line:
            break
        if line.startswith("Summary:"):
            summary = line.partition(":")[2].strip()
    return Home(name, summary)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # as above
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _names(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            inside = stripped == f"[{GROUP}]"
        elif inside and "=" in stripped and not stripped.startswith(("#", ";")):
            yield stripped.partition("=")[0].strip()


def load(name: str) -> click.Command | None:
    """The command of that name, or ``None`` where no plugin brings one; raises :class:`BrokenCommand`."""
    from importlib.metadata import entry_points

    from rooftree.entry_points import import_compatible

    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        return None
    distribution = point.dist.name if point.dist is not None else point.value
    try:
        imported = import_compatible(point)
    except RooftreeError as error:
        raise BrokenCommand(name, distribution, error.message) from None
    except Exception as error:  # whatever a stranger's module does when it is imported
        raise BrokenCommand(name, distribution, f"{type(error).__name__}: {error}") from None
    if not isinstance(imported, click.Command):
        raise BrokenCommand(name, distribution, f"its entry point leads to {imported!r}, which is no click command")
    return imported


class BrokenCommand(Failed):
    """A command that a plugin brings, and that can't be used."""

    def __init__(self, name: str, distribution: str, reason: str) -> None:
        super().__init__(f"The command {name}, which {distribution} brings, can't be used: {reason}")
