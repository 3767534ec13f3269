"""The errors a client can see.

One small hierarchy: what the client did wrong, what is not there, what conflicts, what is unavailable just now. Each
class has the HTTP status its answer carries. Plugins subclass where a client must tell cases apart, and set
``error_key``; the message always says what happened and what to do about it, and never carries a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

type ExtraFields = dict[str, Any]
"""What a client needs to word an error's message itself, by name; the `error_key` says which there are."""


class RooftreeError(Exception):
    """Base of every error that is an answer rather than a bug.

    :param message: one sentence for people; it becomes the envelope's ``message``
    :param extra_fields: what a client needs to word the message itself, by name
    """

    status: ClassVar[int] = 500
    error_key: ClassVar[str | None] = None

    def __init__(self, message: str, **extra_fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.extra_fields: Mapping[str, object] = extra_fields
        self.job_id: str | None = None


class Invalid(RooftreeError):
    """The request does not say something that can be done: wrong type, unknown key, refused value."""

    status = 400


class Unauthenticated(RooftreeError):
    """Nobody vouches for the caller."""

    status = 401
    challenge: ClassVar[str | None] = None
    """For the header ``WWW-Authenticate``: how a caller's own user may vouch for them (RFC 9110, 11.6.1)."""


class Forbidden(RooftreeError):
    """The caller is known and may not do this."""

    status = 403


class NotFound(RooftreeError):
    """There is no such thing."""

    status = 404


class MethodNotAllowed(RooftreeError):
    """The path exists, this verb on it does not."""

    status = 405


class Conflict(RooftreeError):
    """It contradicts something that is already so: a name that is taken, a job that holds the object, a setting."""

    status = 409


class TooLarge(RooftreeError):
    """The body is longer than the route accepts."""

    status = 413


class CodingUnsupported(RooftreeError):
    """The body comes in a content coding; bodies are taken as they are."""

    status = 415


class RateLimited(RooftreeError):
    """Too many requests, here or at a registry we depend on."""

    status = 429


class Failed(RooftreeError):
    """It was tried and did not work, for a reason outside (a build that breaks, a command that exits with an error)."""

    status = 500


class Unavailable(RooftreeError):
    """Not now: something this needs is missing, starting, stopped or unreachable. The same call may work later."""

    status = 503


class NotReady(Unavailable):
    """The system, or the domain asked, is still starting or already stopping."""

    error_key = "system_not_ready_error"


class Stopping(NotReady):
    """What was asked stops, or has stopped, because it was told to: Rooftree, or a plugin. What is interrupted by it,
    such as a task that waits for another plugin's job, has not failed."""


def is_interruption(error: BaseException) -> bool:
    """Whether nothing is wrong but that something stops (:class:`Stopping`), however many were interrupted by it."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Stopping)[1] is None
    return isinstance(error, Stopping)
