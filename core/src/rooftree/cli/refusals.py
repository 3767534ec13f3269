# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""What can stop a command, and how it is told: a sentence for a person, an envelope for a program (``--json``)."""

from __future__ import annotations

import sys
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


def refusal(error: RooftreeError, *, as_json: bool) -> Refused:
    """``error`` as click shows it and exits with it."""
    kind = Unreached if isinstance(error, DaemonUnreachable) else Refused
    return kind(error, as_json=as_json)


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
