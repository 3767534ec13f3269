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
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, Literal, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_websocket import WebSocketReader
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from rooftree.access import digest, source_name
from rooftree.errors import Invalid
from rooftree.http.answers import error_response
from rooftree.http.begun import Begun, UnderWay
from rooftree.http.handler_inputs import CallEnds
from rooftree.http.in_flight import Holding, InFlight, TooMuchInFlight
from rooftree.http.open_connections import OpenConnections
from rooftree.http.sockets import has_hung_up, peer_address
from rooftree.http.turns import Account, Turns
from rooftree.principal import Principal

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
LINGER_S = 10.0
"""Seconds in which the rest of a body is taken in that nobody wanted, so that its sender sees the answer."""
LINGER_BYTES = 16 * 1024 * 1024
"""How much of it."""
FILES_PER_CONNECTION = 3
"""Open files for each connection that is taken: one is its own, one may be the engine's, and some are for all else."""
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


type BeginBrief = Callable[[Connection, RawRequestMessage], UnderWay | None]
"""Begins to answer a request without a task, or lets it go the long way."""


class Connection(RequestHandler):
    """One connection, with what tells a slow client from one that has nothing to say."""

    __slots__ = (
        "_begin_brief",
        "_begun",
        "_body_bytes",
        "_body_since",
        "_brief",
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
        "_was_brief",
        "address",
        "caller",
        "kept",
        "turns",
    )

    def __init__(
        self,
        server: web.Server,
        turns: Turns,
        in_flight: InFlight,
        open_ones: OpenConnections,
        begin_brief: BeginBrief,
        **options: Any,
    ) -> None:
        super().__init__(server, read_bufsize=AHEAD_BYTES, **options)
        self._open = open_ones
        self.turns = turns
        self._in_flight = in_flight
        self._begin_brief = begin_brief
        self._brief: UnderWay | None = None
        """The request that is answered without a task."""
        self._was_brief = False
        """Whether the last request was answered so."""
        self._begun: Begun | None = None
        """What was begun for the request that is answered next, or now, until its handler takes it."""
        self.kept: Any = None
        """What a proxy has kept of the requests that came here."""
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
        self._abort_begun()
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
            self._source = source_name(self.address) or "local"
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
        self._abort_begun()
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
        """Take in what came; a request that is likely to be brief may be so together with others."""
        if self._tunnel is not None:
            self._tunnel.feed_data(data)
        elif self._was_brief and self._waiter is not None and self._brief is None and self.turns.is_crowded:
            self.turns.put_off(partial(self._take_in_request, data))
        else:
            self._take_in(data)

    def _take_in_request(self, data: bytes) -> None:
        if self.transport is None:  # it has gone meanwhile
            return
        try:
            self._take_in(data)
        except BaseException:
            self.let_go()
            raise

    def _take_in(self, data: bytes) -> None:
        """Note what is needed to tell later whether the client is slow, and no more: this is called for each packet."""
        if self._brief is not None:  # its client sends more already
            self._brief.take_long_way()
        waiter, self._waiter = self._waiter, None  # it is ours to wake who waits for a request
        if waiter is None:
            self._body_bytes += len(data)
        super().data_received(data)
        self._waiter = waiter
        if self._messages:
            self._head_since = 0.0
            if waiter is not None and not waiter.done() and not self._answers_briefly():
                waiter.set_result(None)
        elif self._head_since or (data and waiter is not None):
            self._head_goes_on(len(data))

    def _answers_briefly(self) -> bool:
        """Whether the request that came is answered without the task that waits for one."""
        self._was_brief = False
        message, body = self._messages[0]
        if (
            len(self._messages) > 1
            or body is not EMPTY_PAYLOAD
            or not isinstance(message, RawRequestMessage)  # what could not be read is told otherwise
            or self._paused
            or self._force_close
            or self._close
        ):
            return False
        self._brief = self._begin_brief(self, message)
        if self._brief is None:
            return False
        self._was_brief = True
        self._messages.popleft()
        self._next_keepalive_close_time = self._loop.time() + IDLE_S
        return True

    def request_of(self, message: RawRequestMessage) -> web.BaseRequest:
        """A request without a body that came here."""
        assert self._request_factory is not None
        return self._request_factory(message, EMPTY_PAYLOAD, self, None, None)  # type: ignore[arg-type]  # nobody asks

    def brief_has_ended(self) -> None:
        """The request that was answered without a task has its answer, of which its client may not have taken all."""
        self._brief = None
        if self._parser is not None:
            self._parser.message_consumed()
        if self._paused:
            try:
                self.hold(self.unsent)
            except TooMuchInFlight:
                self.let_go()

    def take_long_way(self, request: web.BaseRequest, begun: Begun | None) -> None:
        """A request that was to be answered without a task is answered by who waits for one."""
        self._brief = None
        self._begun = begun
        if self._waiter is None or self._waiter.done():  # the connection is being closed
            self._abort_begun()
            return
        self._messages.appendleft((request._message, EMPTY_PAYLOAD))
        self._waiter.set_result(None)

    def take_begun(self) -> Begun | None:
        """What was begun for the request under way, if it was; it is the caller's from now on."""
        begun, self._begun = self._begun, None
        return begun

    def _abort_begun(self) -> None:
        for begun in (self._brief, self._begun):
            if begun is not None:
                begun.abort()
        self._brief = self._begun = None

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
        if self._waiter is not None:  # nothing is under way
            self._let_go_of_all()
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
        return self._line is not None and has_hung_up(self._line)

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
