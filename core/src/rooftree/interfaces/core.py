"""Home Assistant Core, as other domains talk to it. It may be missing (not installed, starting, being replaced) at any
time; who has something to tell it keeps that, and tells it when :class:`CoreReached` says that it answers again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import field, frozen

from rooftree.errors import Failed, Unavailable
from rooftree.events import Event
from rooftree.services import Service


class CoreUnavailable(Unavailable):
    """Core does not answer: it does not run, or its API is not there (yet)."""

    error_key = "core_unavailable_error"


class CoreRefused(Failed):
    """Core answered that it would not. ``extra_fields``: ``code``, Core's own word for why."""

    error_key = "core_refused_error"


@frozen(kw_only=True)
class CoreAnswer:
    """What Core's HTTP API answered."""

    status: int
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status says that it did what was asked."""
        return 200 <= self.status < 300


@frozen(kw_only=True)
class CoreUser:
    """A user of Core that people are."""

    id: str
    """32 hex digits."""
    name: str | None
    username: str | None
    """``None`` for who does not log in with a password."""
    is_owner: bool
    is_active: bool
    local_only: bool
    group_ids: tuple[str, ...] = ()


class Core(Protocol):
    """Home Assistant Core's API. Every call raises :class:`CoreUnavailable` while Core does not answer."""

    @property
    def answers(self) -> bool:
        """Whether Core's API was there when it was last asked; from memory."""
        ...

    async def request(
        self, method: str, path: str, *, content: object | None = None, within_s: float = 30.0
    ) -> CoreAnswer:
        """Call Core's HTTP API with our own rights.

        :param path: below the root and canonical, such as ``api/hassio_push/panel/local_lamp``
        :param content: what is sent as JSON; ``None`` for nothing
        """
        ...

    async def command(self, kind: str, /, *, within_s: float = 30.0, **fields: Any) -> Any:
        """Send a command through Core's WebSocket and wait for its result; raises :class:`CoreRefused`.

        :param kind: its ``type``, such as ``config/auth/list``
        """
        ...

    async def users(self) -> Sequence[CoreUser]:
        """Core's users, those that Core made for itself left out; raises :class:`CoreRefused`."""
        ...


CORE = Service[Core]("core/1")


@frozen
class CoreReached(Event):
    """Core's API answers: for the first time, or again after it did not."""

    version: str


@frozen
class CoreLost(Event):
    """Core's API does not answer any more."""


@frozen
class UserLoggedOut(Event):
    """What a user of Core had open must end: they were removed, or may not log in any more."""

    user_id: str


__all__ = [
    "CORE",
    "Core",
    "CoreAnswer",
    "CoreLost",
    "CoreReached",
    "CoreRefused",
    "CoreUnavailable",
    "CoreUser",
    "UserLoggedOut",
]
