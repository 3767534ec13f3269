"""Where a token may be used: a bearer token that was overheard or copied opens nothing elsewhere.

The plugin that owns a kind of token says where its holders call from, by giving their :class:`Whereabouts` together
with the kind. A request costs one look into memory. Where that does not know the caller's address, the holder may have
moved a moment ago: the plugin looks anew, once for all who wait and at most once in :data:`LOOK_EVERY_S` for each
holder, however often it is asked. What is elsewhere then is refused like a wrong token, logged, and told as
:class:`TokenUsedElsewhere`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from attrs import frozen

from rooftree.errors import Unavailable
from rooftree.events import Event

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""Seconds between the beginnings of two looks for the same holder; who comes in between waits for the next."""
LOOK_S = 5.0
"""Seconds that a look may take."""
TELL_EVERY_S = 60.0
"""Seconds between two events, and two log lines, about one token."""


class Whereabouts(Protocol):
    """Where the holders of one kind of token call from."""

    def admits(self, subject: str, address: str | None) -> bool:
        """Whether a request from ``address`` can come from ``subject``. Answer from memory: it is asked each time.

        :param address: the peer's, without its port; ``None`` on a unix socket, whose peers have none
        """
        ...

    async def look(self, subject: str) -> None:
        """Learn anew where ``subject`` is. Raise :class:`~rooftree.errors.Unavailable` where that can't be told now:
        the caller is answered with it, and may ask again."""
        ...


@frozen
class TokenUsedElsewhere(Event):
    """Somebody used a valid token from where its holder is not: it was copied, or overheard."""

    kind: str
    subject: str
    address: str | None
    """Where it was used; ``None``: on a unix socket."""


@frozen
class Misplaced:
    """A request with a token whose holder is not known to be at the request's address."""

    key: str
    """The token's digest."""
    kind: str
    subject: str
    address: str | None


class Looks:
    """Looks for holders, as few as there can be."""

    def __init__(self) -> None:
        self._coming: dict[tuple[str, str], asyncio.Task[None]] = {}
        """Those that have not begun: what they will see is new to everybody who waits."""
        self._begun: dict[tuple[str, str], float] = {}

    async def look(self, kind: str, subject: str, whereabouts: Whereabouts) -> None:
        """Let ``whereabouts`` look for ``subject``, beginning after now; raises what that raises."""
        holder = (kind, subject)
        coming = self._coming.get(holder)
        if coming is None:
            coming = asyncio.get_running_loop().create_task(self._look(holder, whereabouts), name=f"look for {subject}")
            coming.add_done_callback(_heard)
            self._coming[holder] = coming
        await asyncio.shield(coming)

    async def _look(self, holder: tuple[str, str], whereabouts: Whereabouts) -> None:
        clock = asyncio.get_running_loop().time
        try:
            if holder in self._begun:
                await asyncio.sleep(max(0.0, self._begun[holder] + LOOK_EVERY_S - clock()))
        finally:
            del self._coming[holder]
        self._begun = {known: begun for known, begun in self._begun.items() if clock() - begun < LOOK_EVERY_S}
        self._begun[holder] = clock()
        try:
            async with asyncio.timeout(LOOK_S):
                await whereabouts.look(holder[1])
        except TimeoutError:
            raise Unavailable(f"It can't be told now where {':'.join(holder)} is. Ask again") from None


def _heard(look: asyncio.Task[None]) -> None:
    """Its waiters may all have gone before it failed."""
    if not look.cancelled():
        look.exception()


class Alarm:
    """Says that a token is used elsewhere: not each time, and the first time at once."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._told: dict[str, float] = {}

    def tell(self, misplaced: Misplaced) -> None:
        """It was."""
        now = asyncio.get_running_loop().time()
        self._told = {key: told for key, told in self._told.items() if now - told < TELL_EVERY_S}
        if misplaced.key in self._told:
            return
        self._told[misplaced.key] = now
        holder, address = f"{misplaced.kind}:{misplaced.subject}", misplaced.address or "a unix socket"
        log.warning("token_used_elsewhere", holder=holder, address=address)
        self._publish(TokenUsedElsewhere(misplaced.kind, misplaced.subject, misplaced.address))
