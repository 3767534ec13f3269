# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""What can stop a command, and how it is told: a sentence for a person, an envelope for a program (``--json``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, ClassVar, override

import click

from rooftree.errors import RooftreeError, Unavailable


class DaemonUnreachable(Unavailable):
    """The daemon can't be asked."""


class DaemonNotRunning(DaemonUnreachable):
    """Nobody listens at the socket."""

    error_key = "daemon_not_running"


class ErrorAnswer(RooftreeError):
    """The daemon answered with an error; ``envelope`` is its answer as it came."""

    def __init__(self, status: int, envelope: dict[str, Any]) -> None:
        message = envelope.get("message") or f"The daemon answered with status {status} and no message"
        super().__init__(str(message))
        self.envelope = envelope
        job_id = envelope.get("job_id")
        self.job_id = job_id if isinstance(job_id, str) else None


class Refused(click.ClickException):
    """A :class:`~rooftree.errors.RooftreeError` on its way to whoever typed the command."""

    def __init__(self, error: RooftreeError, *, as_json: bool) -> None:
        super().__init__(error.message)
        self._error = error
        self._as_json = as_json

    @override
    def show(self, file: IO[Any] | None = None) -> None:
        from rooftree.cli.presentation import print_json, tell

        if self._as_json:
            print_json(_envelope(self._error), file=file or sys.stdout)
            return
        for line in self.message.splitlines():
            tell(f"Error: {line}", word="Error:", colour="red", err=True, file=file)
        if self._error.job_id:
            tell(f"More about it: rooftree call GET /jobs/{self._error.job_id}", err=True, file=file)


class Unreached(Refused):
    """The same, where the daemon never answered."""

    exit_code: ClassVar[int] = 3


class Misused(Refused):
    """What was typed can't be meant so, told to a program."""

    exit_code: ClassVar[int] = 2


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether JSON is asked for; also where the words can't be understood otherwise."""
    return "--json" in words[: words.index("--") if "--" in words else None]


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """Have what stops a command in this block shown as it was asked for, and its exit code as it is."""
    try:
        yield
    except RooftreeError as error:
        kind = Unreached if isinstance(error, DaemonUnreachable) else Refused
        raise kind(error, as_json=as_json) from None
    except click.Abort:
        raise Refused(RooftreeError("Aborted"), as_json=True) if as_json else click.Abort from None
    except click.ClickException as error:
        if not as_json or isinstance(error, Refused):
            raise
        kind = Misused if isinstance(error, click.UsageError) else Refused
        raise kind(RooftreeError(_sentence(error)), as_json=True) from None


def _sentence(error: click.ClickException) -> str:
    """What is wrong, of which a person is shown the help where nothing was typed."""
    context = error.ctx if isinstance(error, click.exceptions.NoArgsIsHelpError) else None
    if context is None:
        return " ".join(error.format_message().split())  # choices are listed in lines
    group = context.command
    commands = group.list_commands(context) if isinstance(group, click.Group) else ()
    return f"Missing command: {context.command_path} has {', '.join(commands)}"


def _envelope(error: RooftreeError) -> dict[str, Any]:
    if isinstance(error, ErrorAnswer):
        return error.envelope
    envelope: dict[str, Any] = {"result": "error", "message": error.message}
    if error.error_key:
        envelope["error_key"] = error.error_key
    problems = getattr(error, "problems", None)
    if problems is not None:
        envelope["problems"] = list(problems)
    return envelope
