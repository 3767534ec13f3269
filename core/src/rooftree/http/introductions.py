"""Callers who say who they are once their connection is open: in the first message of a WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import field, frozen

from rooftree.principal import Principal


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
