"""A client's connection: what it sends that is no HTTP is answered in our envelope, and a client that is too slow is
let go, so that slow ones cost the others nothing.

aiohttp closes a connection on which nothing is asked for. Here three more limits are kept: a request's head comes in
whole, a body flows, and an answer is taken in. One task looks at all connections every few seconds, because a timer for
each would cost every request. What a connection may hold in memory is bounded too: little is read before a handler asks
for the body, an answer goes out in pieces, and the next request on the connection is begun when its answer has left.
It reads aiohttp's own fields (``_waiter``, ``_current_request`` …), which have no public
names; ``tests/kernel/test_slow_clients.py`` fails where they change their meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import select
import socket
from collections import Counter, defaultdict
from hmac import compare_digest
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any, Literal, Protocol, cast

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_websocket import WebSocketReader
from aiohttp.web_protocol import RequestHandler

from rooftree.access import digest, source_name
from rooftree.errors import Invalid
from rooftree.http.answers import error_response
from rooftree.http.call_ends import CallEnds
from rooftree.http.in_flight import Holding, InFlight
from rooftree.http.turns import Account, Turns
from rooftree.principal import Principal

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
AHEAD_BYTES = 16 * 1024
"""Bytes that are read at a time, and kept twice over, before a handler has asked for the body."""
BODY_AHEAD_BYTES = 128 * 1024
"""The same for a body that is being read."""
UNSENT_BYTES = 128 * 1024
"""Bytes of answers that lie in the kernel for a client that does not take them (tcp(7) has no word for it: the socket
option ``TCP_NOTSENT_LOWAT``)."""
LINGER_S = 10.0
"""Seconds in which the rest of a body is taken in that nobody wanted, so that its sender sees the answer."""
LINGER_BYTES = 16 * 1024 * 1024
"""How much of it."""
FILES_PER_CONNECTION = 3
"""Open files for each connection that is taken: one is its own, one may be the engine's, and some are for all else."""
SILENT_S = 60
"""Seconds without a packet after which the kernel asks a client whether it is there."""
ASKED_EVERY_S = 15
ASKED_TIMES = 4
"""How often it asks, and how many times, before the connection counts as lost."""
ACCEPTED_PER_TURN = 16
"""Connections that are taken in one turn of the loop."""
BACKLOG = 1024
"""Connections that wait in the kernel to be taken."""
_HEAD_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

type Slowness = Literal["head", "body", "answer", "gone"]


class Switched(Protocol):
    """What takes a connection over whose two sides have switched to another protocol."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """These came from the client."""

    def feed_eof(self) -> None:
        """The client has gone."""

    def client_waits(self) -> None:
        """The client does not take in what it is sent."""

    def client_goes_on(self) -> None:
        """It does again."""


class Connection(RequestHandler):
    """One connection, with what tells a slow client from one that has nothing to say."""

    __slots__ = (
        "_body_bytes",
        "_body_since",
        "_digest",
        "_head_bytes",
        "_head_since",
        "_holding",
        "_in_flight",
        "_line",
        "_open",
        "_source",
        "_token",
        "_tunnel",
        "_unsent",
        "_unsent_since",
        "address",
        "caller",
        "turns",
    )

    def __init__(
        self, server: web.Server, turns: Turns, in_flight: InFlight, open_ones: OpenConnections, **options: Any
    ) -> None:
        super().__init__(server, read_bufsize=AHEAD_BYTES, **options)
        self._open = open_ones
        self.turns = turns
        self._in_flight = in_flight
        self.caller: Principal | None = None
        """Who sent the request that is being answered, if somebody vouches for it."""
        self._source: str | None = None
        self._holding: Holding | None = None
        """What the request under way holds in memory; made when it is more than a little."""
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
        self._tunnel: Switched | None = None
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
        transport.max_size = AHEAD_BYTES  # type: ignore[attr-defined]  # asyncio's own name for what it reads at a time
        transport.set_write_buffer_limits(0)  # an answer is sent when nothing of it is left
        super().connection_made(transport)
        self._open.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is held for it any more."""
        self._open.discard(self)
        self._let_go_of_all()
        super().connection_lost(exc)

    @property
    def ends(self) -> CallEnds:
        """Both ends of it."""
        own = self._line.get_extra_info("sockname") if self._line is not None else None
        port = own[1] if isinstance(own, tuple) else None
        return CallEnds(ours=peer_address(own), port=port, theirs=self.address)

    @property
    def account(self) -> Account:
        """To whom is counted what is done here."""
        if self.caller is not None:
            return Account(str(self.caller), is_known=True)
        if self._source is None:
            peer = self._line.get_extra_info("peername") if self._line is not None else None
            self._source = source_name(peer) or "local"
        return Account(self._source, is_known=False)

    async def wait_for_turn(self) -> None:
        """Wait where too many have something to do in this turn of the loop."""
        if not self.turns.is_free:
            await self.turns.wait(self.account)

    def hold(self, size: int) -> None:
        """The request under way holds so many bytes more, until it is answered; raises
        :class:`~rooftree.http.in_flight.TooMuchInFlight`."""
        if self._holding is None:
            self._holding = Holding(self.account)
        self._in_flight.take(self._holding, size)

    def let_go_of(self, size: int) -> None:
        """So many of them are gone already."""
        if self._holding is not None:
            self._in_flight.give_back(self._holding, size)

    def _let_go_of_all(self) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            self._in_flight.give_back(holding)

    @property
    def unsent(self) -> int:
        """Bytes of the answer that the client has not taken, beside what the kernel holds for it."""
        return self._line.get_write_buffer_size() if self._line is not None else 0

    async def all_sent(self) -> None:
        """Wait until nothing is unsent; raises ``ConnectionError`` when the client has gone."""
        if self._paused:
            await self._drain_helper()

    async def _drain_helper(self) -> None:
        """Wait until the client has taken in what waits. In aiohttp all who do wait for one future itself: the first
        of them that gives up cancels it, and everybody who waits, or will, is told that he was cancelled."""
        if self.transport is None or not self._paused:
            await super()._drain_helper()
            return
        if self._drain_waiter is None:
            self._drain_waiter = self._loop.create_future()
        await asyncio.shield(self._drain_waiter)

    def begin_tunnel(self, tunnel: Switched) -> None:
        """Both sides have switched to another protocol: what comes from the client is ``tunnel``'s."""
        self._tunnel = tunnel
        self.set_parser(cast(WebSocketReader, tunnel))  # aiohttp asks no more of it than we do

    def send_raw(self, data: bytes) -> None:
        """Send bytes of another protocol; none when the client has gone."""
        if self._line is not None and not self._line.is_closing():
            self._line.write(data)

    def expect_body(self, request: web.BaseRequest) -> None:
        """A handler reads a body that is not small: let it flow. Raises as :meth:`hold` does."""
        self.hold(BODY_AHEAD_BYTES)
        request.content.set_read_chunk_size(BODY_AHEAD_BYTES // 2)
        if self._line is not None:
            self._line.max_size = BODY_AHEAD_BYTES  # type: ignore[attr-defined]  # as above

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what is left of an answer. When this ends it has left, and nothing is held for it."""
        finished = await super().finish_response(request, resp, start_time)
        if not request.content.is_eof():
            await self._throw_away(request.content)
        if self._holding is not None:
            self._let_go_of_all()
            if self._line is not None:
                self._line.max_size = AHEAD_BYTES  # type: ignore[attr-defined]  # as above
        return finished

    async def _throw_away(self, body: StreamReader) -> None:
        """Take in for a moment what is left of a body that nobody wanted: its sender would not see the answer if the
        connection were closed amid it. aiohttp does that too, but not in turn with others."""
        self._lingering_time = 0.0
        size = 0
        with contextlib.suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(LINGER_S):
                while size < LINGER_BYTES and not body.at_eof():
                    await self.wait_for_turn()
                    size += len(await body.readany())

    def data_received(self, data: bytes) -> None:
        """Note what is needed to tell later whether the client is slow, and no more: this is called for each packet."""
        if self._tunnel is not None:
            self._tunnel.feed_data(data)
            return
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

    def pause_writing(self) -> None:
        """The client does not take in all that it is sent."""
        super().pause_writing()
        if self._tunnel is not None:
            self._tunnel.client_waits()

    def resume_writing(self) -> None:
        """The client has taken in what was waiting."""
        self._unsent_since = 0.0
        super().resume_writing()
        if self._tunnel is not None:
            self._tunnel.client_goes_on()

    def slowness(self, now: float) -> Slowness | None:
        """In what the client is too slow, if it is; asked every few seconds, at ``now`` on the loop's clock."""
        if self._head_since and now - self._head_since > HEAD_S:
            return "head"
        if not self._body_flows(now):
            return "body"
        if not self._answer_flows(now):
            return "answer"
        if self.has_gone():
            return "gone"
        return None

    def let_go(self) -> None:
        """Close at once, without sending what is left; whoever works on a request from here is cancelled."""
        if self._line is not None:
            self._line.abort()

    def has_gone(self) -> bool:
        """Whether the client hung up while nothing is read from it, as when it sent more than its turn is for: then
        nobody else hears of that, and an answer that says nothing for days would keep the connection for as long."""
        line = self._line
        if line is None or line.is_reading() or line.is_closing():
            return False
        looked_at = select.poll()
        looked_at.register(line.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(looked_at.poll(0))

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
        if isinstance(exc, ConnectionError):  # there is nobody to be answered, and nothing to be told
            self.force_close()
            return web.Response(status=status)
        if status >= 500 and exc is not None:
            return super().handle_error(request, status, exc, message)
        sentence = (message or HTTPStatus(status).phrase).strip().splitlines()[0]
        refused = Invalid(f"This is not a request we can read: {sentence}")
        response = error_response(refused)
        response.set_status(status)
        return response


class OpenConnections:
    """What is open by where it comes from: there is only so much room, and when it is full, whoever has most of it
    makes place, so that one alone can't keep the others out. The unix socket, which is for the host's own, always has
    room.

    :param most: how many may be open
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self.sent_away = 0
        """How many had to make place since this was last looked at."""

    def add(self, connection: Connection) -> None:
        """One was opened; the newest of whoever has most open is let go where there is no room for it."""
        if connection.address is None:
            return
        self._of[connection.address][connection] = None
        self._count += 1
        if self._count > self._most:
            most = max(self._of.values(), key=len)
            newest = next(reversed(most))
            self.discard(newest)
            self.sent_away += 1
            newest.let_go()

    def discard(self, connection: Connection) -> None:
        """One is closed."""
        of_address = self._of.get(connection.address or "", {})
        if connection not in of_address:
            return
        del of_address[connection]
        self._count -= 1
        if not of_address:
            del self._of[connection.address or ""]


def peer_address(peer: object) -> str | None:
    """The address in what a socket calls its peer: IPv4 as it is, also where it came to an IPv6 socket."""
    if not isinstance(peer, tuple):
        return None
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def bound_unsent(listening: socket.socket) -> None:
    """Let little lie in the kernel for clients who do not read; the connections that are taken inherit it."""
    if listening.family in {socket.AF_INET, socket.AF_INET6}:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def miss_the_lost(listening: socket.socket) -> None:
    """Ask clients of whom nothing is heard whether they are there; the connections that are taken inherit it. One that
    left while it had more to send than is read says goodbye behind that, which so never comes."""
    if listening.family in {socket.AF_INET, socket.AF_INET6}:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, SILENT_S),
            (socket.TCP_KEEPINTVL, ASKED_EVERY_S),
            (socket.TCP_KEEPCNT, ASKED_TIMES),
        ):
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


class Connections(web.Server):
    """Every open connection.

    :param in_flight: how many bytes they may hold together
    """

    def __init__(self, handler: Any, in_flight: InFlight, **options: Any) -> None:
        super().__init__(handler, **options)
        self._turns = Turns()
        self._in_flight = in_flight
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._open = OpenConnections(files // FILES_PER_CONNECTION)

    def __call__(self) -> RequestHandler:
        """A new one."""
        return Connection(self, self._turns, self._in_flight, self._open, loop=self._loop, **self._kwargs)

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
            if self._open.sent_away:
                log.warning("too_many_connections", sent_away=self._open.sent_away)
                self._open.sent_away = 0
            if self._in_flight.refused:
                log.warning("too_much_in_flight", refused=self._in_flight.refused, kib=self._in_flight.total // 1024)
                self._in_flight.refused = 0
