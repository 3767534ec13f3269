"""What a handler may be given besides services, path parts, query values and a body: marks and types of parameters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from attrs import field, frozen

from rooftree.http.in_flight import SMALL_BYTES
from rooftree.principal import Principal


@frozen
class Header:
    """Marks a parameter that is filled from a request header: ``Annotated[str | None, Header("Range")]``."""

    name: str


@frozen
class From:
    """Marks a parameter that several values of the request make together: ``Annotated[LogQuery, From(log_query)]``.

    ``make`` is a plain function; its own parameters are services, query values, headers or path parts, filled like a
    handler's.
    """

    make: Callable[..., Any]


@frozen
class RawBody:
    """A request body as it comes, for routes that pass it on. Iterate it; it ends with the body.

    More than the route's ``max_body`` bytes raise :class:`~rooftree.errors.TooLarge` while streaming.
    """

    chunks: AsyncIterator[bytes] = field(repr=False)
    content_type: str = ""
    _hold: Callable[[int], None] = field(default=lambda size: None, repr=False, eq=False)
    _announced: int = 0
    """Bytes that the body will have, where its sender says so."""

    async def read(self) -> bytes:
        """The whole body at once. Raises :class:`~rooftree.errors.Unavailable` where the bodies and answers under way
        take as much memory as they may, this caller's or all."""
        return await whole(self.chunks, self._hold, self._announced)


async def whole(chunks: AsyncIterator[bytes], hold: Callable[[int], None], announced: int = 0) -> bytes:
    """All of a body that is read piece by piece; ``hold`` is told what it takes, beyond a little.

    What is announced is held from the beginning: of many large bodies at once those come through that there is room
    for, rather than all a part of the way.
    """
    pieces: list[bytes] = []
    size, held = 0, announced if announced > SMALL_BYTES else 0
    if held:
        hold(held)
    async for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size - held > SMALL_BYTES:
            hold(size - held)
            held = size
    return b"".join(pieces)


@frozen
class Introduction:
    """For a route that asks nobody for a token because its callers send it later: a parameter of this type."""

    _introduce: Callable[[str], Awaitable[Principal]] = field(repr=False)

    async def caller(self, token: str) -> Principal:
        """Whom the token stands for. From now on the call is theirs: it counts for them, and ends with the token.

        Raises :class:`~rooftree.errors.Forbidden` for a token that is nobody's, or not where its holder is,
        :class:`~rooftree.errors.RateLimited` where too many such came from there, and
        :class:`~rooftree.errors.Unavailable` while it can't be told.
        """
        return await self._introduce(token)


@frozen(kw_only=True)
class CallEnds:
    """For a route that has to know them: a parameter of this type. Who calls is never told by an address; see
    :class:`~rooftree.principal.Principal`. On a unix socket, which leads through no network, all is ``None``."""

    ours: str | None = None
    """Our address on the connection."""
    port: int | None = None
    """Ours."""
    theirs: str | None = None
    """The caller's address, or that of who passes the call on."""
