"""Core's API for add-ons: what they ask of it is passed on, with our rights in the place of theirs.

Of a request only what Core's API needs goes on, and of the answer only what its client does: no token, no cookie and no
word by which Core would take the add-on for somebody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from aiohttp import web

from rooftree import Exchange, Field, Introduction, Invalid, Proxied, Service, Socket
from rooftree.interfaces.core import CoreUnavailable
from rooftree_homeassistant.api_proxy_sockets import bridge
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.core_session import CoreAccess
from rooftree_proxying import Address, BadGateway, ForwardedRequest, Places, Upstreams, forward

WITHIN_S: Final = 300.0
"""Seconds that Core may take to begin its answer."""
SMALL_BYTES: Final = 1024 * 1024
"""Bodies that are longer, or of which nobody knows how long they are, take what time they take."""
CONVERSATIONS: Final = 64
"""WebSockets that one add-on may have open to Core."""
TO_CORE: Final = frozenset(
    {b"accept", b"content-type", b"last-event-id", b"mcp-protocol-version", b"mcp-session-id", b"x-speech-content"}
)
"""The fields of a request that Core gets, in lower case."""
FROM_CORE: Final = frozenset({b"cache-control", b"content-encoding", b"content-type", b"mcp-session-id"})
"""The fields of an answer that its client gets."""
_NOT_THERE: Final = "Core does not answer: it does not run, or is still starting"


class ApiProxy:
    """Core's API, as add-ons see it."""

    def __init__(self, core_client: CoreClient) -> None:
        self._core_client = core_client
        self._upstreams = Upstreams()
        self._conversations = Places(CONVERSATIONS, "conversations with Core")

    def close(self) -> None:
        """End the connections that are kept."""
        self._upstreams.close()

    def request(self, path: str) -> Proxied:
        """Pass a request on to what is at ``path`` below Core's ``/api/``."""
        return Proxied(partial(self._pass_on, path))

    def socket(self, introduction: Introduction) -> Socket:
        """Core's WebSocket, for who introduces themselves in it. Raises :class:`BadGateway`."""
        self._refuse_without_core()

        async def serve(client: web.WebSocketResponse) -> None:
            await bridge(client, self._core_client, introduction, self._conversations)

        return Socket(serve)

    async def _pass_on(self, path: str, exchange: Exchange) -> None:
        if exchange.offers_upgrade:
            raise Invalid("Core's WebSocket is at /core/websocket")
        self._refuse_without_core()
        try:
            access = await self._core_client.access()
        except CoreUnavailable as error:
            raise BadGateway(error.message) from error
        is_small = not exchange.has_body or (exchange.length is not None and exchange.length <= SMALL_BYTES)
        try:
            async with asyncio.timeout(WITHIN_S if is_small else None) as patience:  # until it begins
                request = ForwardedRequest(
                    _address(access),
                    f"/api/{path}{exchange.query}",
                    _request_fields(exchange, access),
                    _answer_fields,
                    partial(patience.reschedule, None),
                )
                await forward(exchange, self._upstreams, request)
        except TimeoutError:
            raise BadGateway(f"Core has not answered within {WITHIN_S:g} s") from None

    def _refuse_without_core(self) -> None:
        if not self._core_client.answers:
            raise BadGateway(_NOT_THERE)


def _address(access: CoreAccess) -> Address:
    if access.socket is not None:
        return Address.unix(access.socket)
    return Address.tcp(access.url.host or "", access.url.port or 80, access.tls)


def _request_fields(exchange: Exchange, access: CoreAccess) -> Sequence[Field]:
    fields = [field for field in exchange.fields if field[0].lower() in TO_CORE]
    if access.access_token is not None:
        fields.append((b"Authorization", f"Bearer {access.access_token}".encode()))
    return fields


def _answer_fields(fields: Sequence[Field]) -> Iterable[Field]:
    """What the client gets of an answer's fields."""
    for name, value in fields:
        if name.lower() in FROM_CORE:
            yield name, value
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            yield b"X-Accel-Buffering", b"no"


API_PROXY = Service[ApiProxy]("homeassistant.api_proxy/1")
