"""The escape hatch for proxies: a request as its client sent it, and an answer written as somebody else has told it.

Any method, the target and the header fields as they came, bodies that stream both ways and wait for who is slow,
interim answers, trailers, and what comes after a switch of protocols. What the kernel keeps for itself is where a
message ends (``Content-Length``, ``Transfer-Encoding``, ``Connection``), so that nobody can be made to take the end of
one for the middle of another; and what a slow client may cost, as for every other answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, cast

import structlog
from aiohttp import web
from attrs import mutable

from rooftree.errors import Invalid, RooftreeError
from rooftree.http.begun import Begun, Ending
from rooftree.http.bodies import connection_of
from rooftree.http.in_flight import SMALL_BYTES, TooMuchInFlight
from rooftree.http.pieces import PIECE_BYTES
from rooftree.http.tunnels import Tunnel

log = structlog.get_logger(__name__)

type Field = tuple[bytes, bytes]
"""A header field: its name and its value."""

_JOINED_BYTES: Final = 64 * 1024
"""Up to this, what is sent together is copied together: one call of the system is dearer."""
_RESET: Final = struct.pack("ii", 1, 0)
"""``struct linger`` (socket(7)): close with a reset rather than with an end that looks like any other."""
_BODILESS: Final = frozenset({204, 304})
OURS: Final = frozenset({b"connection", b"content-length", b"transfer-encoding"})
"""The fields of an answer, in lower case, that the kernel writes."""


@mutable(eq=False)  # one is made for each request, and a frozen one costs three times as much
class Proxied:
    """An answer that a proxy writes itself: ``serve`` gets the exchange, and the answer is whole when it returns.

    An error that it raises before anything of its answer has left is answered like any other; afterwards the connection
    is cut, so that nobody takes for whole what is not. It is cancelled when the client goes.
    """

    serve: Callable[[Exchange], Awaitable[None]]
    begin: Callable[[Exchange, Ending], Begun | None] | None = None
    """Begins to do the same without waiting for anything, where it can: ``None`` where it can't, before anything was
    done. It ends as :class:`Ending` says, within the call or later; where it takes the long way, ``serve`` goes on with
    what was begun, which it gets by :meth:`Exchange.take_begun`."""


class Exchange:
    """A request as it came, and the answer to be written: :meth:`begin`, :meth:`write` …, :meth:`end`; or, where the
    client :attr:`offers_upgrade`, :meth:`switch`."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_line",
        "_missing",
        "_work",
        "ends_with_connection",
        "has_ended",
        "has_left",
        "keep_alive",
        "request",
        "status",
    )

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self._connection = connection_of(request)
        assert request.transport is not None
        self._line = request.transport
        self._head = b""
        """What was begun, until it leaves with the first bytes behind it."""
        self._missing: int | None = None
        """Bytes of the body that are to come, where that was announced."""
        self._chunked = False
        self._work = 0
        self.status = 0
        """That of the answer; 0 before it is begun."""
        self.has_left = False
        """Whether the client has been sent anything of the answer."""
        self.has_ended = False
        """Whether the answer is whole."""
        self.ends_with_connection = False
        """Whether nothing but the connection's end tells where the answer ends."""
        self.keep_alive = bool(request.keep_alive)
        """Whether another request may come on the connection."""

    # --- the request --------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """In the client's own spelling."""
        return self.request.method

    @property
    def query(self) -> str:
        """What follows the path, with its ``?`` and as it was sent; empty where there is nothing."""
        _, mark, query = self.request.raw_path.partition("?")
        return mark + query

    @property
    def fields(self) -> Sequence[Field]:
        """The header fields in order and as they were sent; no value has a line break or NUL in it."""
        return self.request.raw_headers

    def has_field(self, name: str) -> bool:
        """Whether there is a header field of that name, in any case."""
        return name in self.request.headers

    def take_begun(self) -> Begun | None:
        """What :attr:`Proxied.begin` has begun for this request, if it has: it is the caller's from now on."""
        return self._connection.take_begun()

    @property
    def kept(self) -> Any:
        """What the proxy keeps for the next request on the connection, such as what it made of this one's fields;
        ``None`` to begin with."""
        return self._connection.kept

    @kept.setter
    def kept(self, kept: Any) -> None:
        self._connection.kept = kept

    @property
    def address(self) -> str | None:
        """The peer's address in its shortest form; ``None`` on the unix socket."""
        return self._connection.address

    @property
    def length(self) -> int | None:
        """Bytes of the body, where its sender has announced them."""
        return self.request.content_length

    @property
    def has_body(self) -> bool:
        """Whether a body comes."""
        return self.request.body_exists

    @property
    def offers_upgrade(self) -> bool:
        """Whether the client asks to switch to the WebSocket protocol; what it sends further is kept until that is
        decided. Raises :class:`~rooftree.errors.Invalid` where it sends a body along."""
        if not self.request._message.upgrade:  # aiohttp tells it nowhere else
            return False
        if self.request.headers.get("Upgrade", "").strip().lower() != "websocket":
            return False
        if self.has_body:
            raise Invalid("A request that asks for another protocol must have no body")
        return True

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes, in any coding, without a limit; no more is taken in than is asked for. Chunks and their
        extensions and trailers are gone. Raises where the client broke it off or sent what is no HTTP."""
        content, connection = self.request.content, self._connection
        if self.length is None or self.length > SMALL_BYTES:
            connection.expect_body(self.request)
        while chunk := await content.readany():
            yield chunk
            await connection.wait_for_turn()

    # --- the answer ---------------------------------------------------------------------------------------------------

    def inform(self, status: int, reason: bytes, fields: Iterable[Field]) -> None:
        """Send an interim answer (1xx, but 101), where the client knows those."""
        if self.request.version >= (1, 1):
            self._write(_head_of(status, reason, fields) + b"\r\n")

    def begin(self, status: int, reason: bytes, fields: Iterable[Field], length: int | None = None) -> None:
        """Begin the answer. It leaves with the first bytes of its body.

        :param fields: but :data:`OURS`; raises ``ValueError`` for one that is more than one
        :param length: bytes that the body has, or would have if it came (``HEAD``, 304); ``None`` where nobody knows
        """
        assert not self.status, "an answer is begun once"
        head = _head_of(status, reason, fields)
        self.status = status
        is_new = self.request.version >= (1, 1)
        if length is not None and status != 204:
            head += b"Content-Length: %d\r\n" % length
        if status in _BODILESS or self.request.method == "HEAD":
            self._missing = 0
        elif length is not None:
            self._missing = length
        elif is_new:
            self._chunked = True
            head += b"Transfer-Encoding: chunked\r\n"
        else:
            self.ends_with_connection = True
            self.keep_alive = False
        if not self.keep_alive:
            head += b"Connection: close\r\n"
        elif not is_new:
            head += b"Connection: keep-alive\r\n"
        self._head = head + b"\r\n"

    async def write(self, chunk: bytes) -> None:
        """Send more of the body; returns when the client, or the kernel for it, has taken it.

        Raises ``ConnectionError`` when the client has gone, ``ValueError`` for more than was announced.
        """
        if not chunk:
            return
        size = len(chunk)
        if self._missing is not None:
            if size > self._missing:
                raise ValueError(f"{size - self._missing} bytes more than were announced")
            self._missing -= size
        head, self._head = self._head, b""
        if self._chunked:
            head += b"%x\r\n" % size
        if size > _JOINED_BYTES:
            if head:
                self._write(head)
            self._write(chunk)
            if self._chunked:
                self._write(b"\r\n")
        else:
            self._write(b"".join((head, chunk, b"\r\n")) if self._chunked else head + chunk)
        await self._pace(size)

    async def end(self, trailers: Iterable[Field] = ()) -> None:
        """The body is whole; returns when all has left.

        :param trailers: fields behind the body, where it has no announced length; else they are left out

        Raises ``ValueError`` where less came than was announced.
        """
        if self._missing:
            raise ValueError(f"{self._missing} bytes less than were announced")
        if self._chunked:
            self._head += b"0\r\n" + _lines(trailers) + b"\r\n"
        if self._head:
            self._write(self._head)
            self._head = b""
        await self._connection.all_sent()
        self.has_ended = True

    def send_whole(self, body: bytes) -> None:
        """Send the whole body of what was begun, with its head and without waiting for who is slow."""
        head, self._head = self._head, b""
        self._write(head + body if body else head)
        self.has_ended = True

    def switch(self, reason: bytes, fields: Iterable[Field], far: asyncio.Transport) -> Tunnel:
        """Answer 101, and let what comes from now on flow between the client and ``far``, byte by byte.

        :param fields: but :data:`OURS`, with ``Upgrade`` among them
        """
        self.status = 101
        self._write(_head_of(101, reason, fields) + b"Connection: Upgrade\r\n\r\n")
        self.keep_alive = False
        self.has_ended = True
        return Tunnel(self._connection, far)

    def _write(self, data: bytes) -> None:
        if self._connection.transport is None or self._line.is_closing():
            raise ConnectionResetError("the client has gone")
        self.has_left = bool(self.status)
        self._line.write(data)

    async def _pace(self, size: int) -> None:
        """Wait for who is slow, and let others have their turn."""
        connection = self._connection
        if connection.unsent:
            held = connection.unsent
            connection.hold(held)
            await connection.all_sent()
            connection.let_go_of(held)
        self._work += size
        if self._work >= PIECE_BYTES:
            self._work = 0
            await connection.wait_for_turn()


class _Sent:
    """What aiohttp is told of an answer that has left already."""

    __slots__ = ("keep_alive", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.keep_alive = exchange.keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is to be sent."""

    async def write_eof(self) -> None:
        """Nothing is to be sent."""


async def answer_proxied(answer: Proxied, request: web.BaseRequest) -> web.StreamResponse:
    """Let a proxy write its answer."""
    exchange = Exchange(request)
    try:
        await answer.serve(exchange)
        if not exchange.has_ended:
            raise RuntimeError("the proxy has not ended its answer")
    except ConnectionError:
        if exchange.has_left:
            _cut(exchange, request)
        raise
    except Exception as error:
        if not exchange.has_left:
            raise
        if not isinstance(error, TooMuchInFlight):  # its reader does not read; of these a count is logged
            log.warning("answer_broke_off", path=request.path, error=str(error),
                        exc_info=not isinstance(error, RooftreeError))  # fmt: skip
        _cut(exchange, request)
        raise ConnectionAbortedError(str(error)) from None
    return cast(web.StreamResponse, _Sent(exchange))


def _cut(exchange: Exchange, request: web.BaseRequest) -> None:
    """End a connection in the middle of an answer: its client must see that it is not whole."""
    if exchange.has_ended:
        return
    if exchange.ends_with_connection and request.transport is not None:
        line = request.transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection_of(request).let_go()


def _head_of(status: int, reason: bytes, fields: Iterable[Field]) -> bytes:
    return b"HTTP/1.1 %d %b\r\n%b" % (status, reason, _lines(fields))


def _lines(fields: Iterable[Field]) -> bytes:
    """Fields as they are sent; raises ``ValueError`` where one would become several, or ends the head."""
    lines = (*map(b": ".join, fields), b"")
    text = b"\r\n".join(lines)
    if text.count(b"\n") != len(lines) - 1 or text.count(b"\r") != len(lines) - 1 or b"\0" in text:
        raise ValueError("a header field has a line break or NUL in it")
    return text
