"""What is begun for a request without a task, how it ends, and what its connection knows of it; see
:mod:`rooftree.http.brief`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol


class Begun(Protocol):
    """What a proxy has begun for an exchange."""

    def abort(self) -> None:
        """Nobody waits for it any more."""


class Ending(Protocol):
    """How what a proxy has begun without a task goes on."""

    def answer(
        self, status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]], length: int | None, body: bytes
    ) -> None:
        """With the whole answer; see :meth:`Exchange.begin`, whose errors are raised before anything has left."""

    def take_long_way(self) -> None:
        """With ``serve``."""

    def handle(self, work: Callable[[], object]) -> None:
        """Do something about it, soon: together with what is to be done for other requests, which is cheaper."""

    def send(self, work: Callable[[], object]) -> None:
        """Send something for it, soon: when what is to be handled now was handled."""


class UnderWay(Protocol):
    """A request that is answered without a task."""

    def take_long_way(self) -> None:
        """Let it be answered as others are."""

    def abort(self) -> None:
        """Its client has gone."""
