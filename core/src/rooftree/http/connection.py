"""A client's connection: what it sends that is no HTTP is answered in our envelope, and a client that is too slow is
let go, so that slow ones cost the others nothing.

aiohttp closes a connection on which nothing is asked for. Here three more limits are kept: a request's head comes in
whole, a body flows, and an answer is taken in. One task looks at all connections every few seconds, because a timer for
each would cost every request. It reads aiohttp's own fields (``_waiter``, ``_current_request`` …), which have no public
names; ``tests/kernel/test_slow_clients.py`` fails where they change their meaning.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from hmac import compare_digest
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any, Literal

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from rooftree.access import digest
from rooftree.errors import Invalid
from rooftree.http.answers import error_response

log = structlog.get_logger(__name__)

IDLE_S = 75.0
"""Seconds that a connection may stay open between requests."""
HEAD_S = 30.0
"""Seconds from a request's first byte to the end of its head."""
HEAD_BYTES = 128 * 1024
"""Bytes of a head that is not whole yet; each line and field has a limit of aiohttp's besides."""
FLOW_S = 30.0
"""Seconds over which it is measured whether a body, or an answer, flows."""
SLOWEST = 256
"""Bytes a second that a client sends of a body, or takes of an answer, as long as we do not hold it up ourselves."""
LOOK_S = 3.0
"""Seconds between looks at all connections."""
AT_A_TIME = 250
"""Connections that are looked at before others have their turn."""
_HEAD_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

type Slowness = Literal["head", "body", "answer"]


class Connection(RequestHandler):
    """One connection, with what tells a slow client from one that has nothing to say."""

    __slots__ = (
        "_body_bytes",
        "_body_since",
        "_digest",
        "_head_bytes",
        "_head_since",
        "_line",
        "_token",
        "_unsent",
        "_unsent_since",
        "address",
    )

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._line: asyncio.Transport | None = None
        self._head_since = 0.0
        """When the head that is not whole yet began; 0 for none."""
        self._head_bytes = 0
        self._body_since = 0.0
        """When it was last looked whether the body flows; 0 while none is waited for."""
        self._body_bytes = 0
        self._unsent_since = 0.0
        """When it was last looked whether the answer flows; 0 while the client keeps up."""
        self._unsent = 0
        self._token = b""
        self._digest = ""
        """Of the token that came last."""
        self.address: str | None = None
        """The peer's, without its port and in its shortest form; ``None`` on a unix socket."""

    def digest_of(self, token: str) -> str:
        """The digest of a token that came on this connection. A client that keeps its connection sends the same one
        each time, and to compare the two is quicker than the digest, which is a tenth of a small request's cost."""
        sent = token.encode("utf-8", "surrogateescape")
        if not compare_digest(sent, self._token):
            self._token, self._digest = sent, digest(token)
        return self._digest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport: aiohttp forgets it when it begins to close, which can take for ever."""
        assert isinstance(transport, asyncio.Transport)
        self._line = transport
        self.address = peer_address(transport.get_extra_info("peername"))
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Note what is needed to tell later whether the client is slow, and no more: this is called for each packet."""
        answering = self._waiter is None
        if answering:
            self._body_bytes += len(data)
        super().data_received(data)
        if self._messages:
            self._head_since = 0.0
        elif self._head_since or (data and not answering):
            self._head_goes_on(len(data))

    def _head_goes_on(self, received: int) -> None:
        if not self._head_since:
            self._head_since = self._loop.time()
            self._head_bytes = 0
        self._head_bytes += received
        if self._head_bytes > HEAD_BYTES and self._line is not None:
            self._line.write(_HEAD_TOO_LONG)
            self.force_close()

    def resume_writing(self) -> None:
        """The client has taken in what was waiting."""
        self._unsent_since = 0.0
        super().resume_writing()

    def slowness(self, now: float) -> Slowness | None:
        """In what the client is too slow, if it is; asked every few seconds, at ``now`` on the loop's clock."""
        if self._head_since and now - self._head_since > HEAD_S:
            return "head"
        if not self._body_flows(now):
            return "body"
        if not self._answer_flows(now):
            return "answer"
        return None

    def let_go(self) -> None:
        """Close at once, without sending what is left; whoever works on a request from here is cancelled."""
        if self._line is not None:
            self._line.abort()

    def _body_flows(self, now: float) -> bool:
        request = self._current_request
        if request is None or request.content.is_eof() or self._reading_paused:
            self._body_since = 0.0
        elif not self._body_since or self._body_bytes >= SLOWEST * FLOW_S:
            self._body_since, self._body_bytes = now, 0
        else:
            return now - self._body_since <= FLOW_S
        return True

    def _answer_flows(self, now: float) -> bool:
        line = self._line
        if line is None or not (self._paused or line.is_closing()):
            self._unsent_since = 0.0
            return True
        unsent = line.get_write_buffer_size()
        if not self._unsent_since or self._unsent - unsent >= SLOWEST * FLOW_S:
            self._unsent_since, self._unsent = now, unsent
        return now - self._unsent_since <= FLOW_S or not unsent

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp cannot parse is answered in our envelope; it closes the connection then."""
        if status >= 500 and exc is not None:
            return super().handle_error(request, status, exc, message)
        sentence = (message or HTTPStatus(status).phrase).strip().splitlines()[0]
        refused = Invalid(f"This is not a request we can read: {sentence}")
        response = error_response(refused)
        response.set_status(status)
        return response


def peer_address(peer: object) -> str | None:
    """The address in what a socket calls its peer: IPv4 as it is, also where it came to an IPv6 socket."""
    if not isinstance(peer, tuple):
        return None
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


class Connections(web.Server):
    """Every open connection."""

    def __call__(self) -> RequestHandler:
        """A new one."""
        return Connection(self, loop=self._loop, **self._kwargs)

    async def let_slow_ones_go(self) -> None:
        """Look after the connections, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            gone: Counter[str] = Counter()
            for number, connection in enumerate(self.connections, 1):
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)
                assert isinstance(connection, Connection)
                slowness = connection.slowness(self._loop.time())
                if slowness is not None:
                    gone[slowness] += 1
                    connection.let_go()
            if gone:
                log.warning("slow_clients_let_go", **gone)
