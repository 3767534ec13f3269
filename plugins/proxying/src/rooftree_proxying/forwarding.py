"""One exchange passed on to an upstream: its request written anew, its answer as it comes.

What the upstream reads is made of what was understood of the client's request, so that the two can't disagree on where
it ends: one request in, one request out. Nothing is kept: bodies stream both ways, and who is slow makes the other side
wait. When the client goes, whoever waits here is cancelled, and the request at the upstream ends with its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiohttp.web import RequestPayloadError
from attrs import field, frozen

from rooftree import Exchange, Field, Invalid
from rooftree_proxying.chunked_coding import Unchunker
from rooftree_proxying.header_fields import canonical, end_to_end, options
from rooftree_proxying.response_heads import NoResponse, ResponseHead, end_of_head, parse_head
from rooftree_proxying.upstreams import AHEAD_BYTES, Address, BadGateway, UpstreamConnection, Upstreams

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose request may be sent again where nobody knows what became of it."""
_TARGET = re.compile(rb"/[\x21\x22\x24-\x7e\x80-\xff]*")


def _as_they_are(fields: Sequence[Field]) -> Iterable[Field]:
    return fields


@frozen
class ForwardedRequest:
    """What the upstream is sent."""

    address: Address
    target: str
    """Path and query, as they are to be on the wire; made of a :class:`~rooftree.Tail` and :attr:`Exchange.query`."""
    fields: Sequence[Field] = field(repr=False)
    """The header fields, :func:`~rooftree_proxying.end_to_end` ones: what frames the message is added."""
    answer_fields: Callable[[Sequence[Field]], Iterable[Field]] = field(default=_as_they_are, repr=False)
    """What becomes of the fields of the answer, and of those behind its body; it gets the end-to-end ones."""


async def forward(exchange: Exchange, upstreams: Upstreams, request: ForwardedRequest) -> None:
    """Pass an exchange on, and answer it with what comes; a WebSocket that the upstream accepts as well.

    Raises :class:`BadGateway` where the upstream can't be reached or answers what is no answer, and
    :class:`~rooftree.Invalid` for a request that is none.
    """
    head = _request_head(exchange, request)
    may_repeat = exchange.method in _REPEATABLE and not (exchange.has_body or exchange.offers_upgrade)
    connection = await upstreams.connect(request.address, anew=not may_repeat)
    if connection.is_reused:
        try:
            if await _forward_on(connection, exchange, request, head):
                upstreams.keep(request.address, connection)
            return
        except _Stale:
            connection = await upstreams.connect(request.address, anew=True)
    try:
        is_reusable = await _forward_on(connection, exchange, request, head)
    except _Stale:
        raise BadGateway(f"{request.address} hung up without an answer") from None
    if is_reusable:
        upstreams.keep(request.address, connection)


class _Stale(Exception):
    """The upstream has hung up before it answered anything."""


async def _forward_on(
    connection: UpstreamConnection, exchange: Exchange, request: ForwardedRequest, head: bytes
) -> bool:
    """Pass an exchange on over a connection; whether another one may follow on it, else it is closed."""
    is_reusable = False
    sending: asyncio.Task[None] | None = None
    try:
        connection.transport.write(head)
        if exchange.has_body:
            sending = asyncio.create_task(_send_body(exchange, connection), name="send body upstream")
        response = await _received_head(connection, exchange, request)
        if response.status == 101:
            await _switch(connection, exchange, request, response)
            return False
        is_reusable = await _relay(connection, exchange, request, response)
        is_reusable = is_reusable and (sending is None or sending.done()) and connection.is_quiet
    except NoResponse as error:
        raise BadGateway(f"What {request.address} answers is no answer: {error}") from None
    finally:
        if sending is not None:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        if not is_reusable:
            connection.transport.abort()
    return is_reusable


# --- the request ------------------------------------------------------------------------------------------------------


def _request_head(exchange: Exchange, request: ForwardedRequest) -> bytes:
    target = request.target.encode("utf-8", "surrogateescape")
    if not _TARGET.fullmatch(target):
        raise Invalid("The request target has a character that must be percent-encoded")
    lines = [b"%b %b HTTP/1.1\r\n" % (exchange.method.encode(), target)]
    hosts = 0
    for name, value in request.fields:
        lines.append(b"%b: %b\r\n" % (name, value))
        hosts += canonical(name) == b"host"
    if hosts > 1:
        raise Invalid("The header Host was sent more than once")
    if not hosts:
        address = request.address
        lines.append(f"Host: {address.host or 'localhost'}:{address.port or 80}\r\n".encode())
    if exchange.length is not None:
        lines.append(b"Content-Length: %d\r\n" % exchange.length)
    elif exchange.has_body:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if exchange.offers_upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif exchange.has_field("TE") and b"trailers" in options(exchange.fields, b"te"):
        lines.append(b"Connection: TE\r\nTE: trailers\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


async def _send_body(exchange: Exchange, connection: UpstreamConnection) -> None:
    """Send the body as it comes. What goes wrong is told to who waits for the answer; but an upstream that does not
    want the rest may have answered already."""
    is_chunked = exchange.length is None
    try:
        async for chunk in exchange.body():
            await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
        if is_chunked:
            await connection.send(b"0\r\n\r\n")
    except ConnectionError:
        return
    except RequestPayloadError as error:
        connection.fail(Invalid(f"The body is not one that we can read: {error}"))
    except Exception as error:
        connection.fail(error)


# --- the answer -------------------------------------------------------------------------------------------------------


async def _received_head(connection: UpstreamConnection, exchange: Exchange, request: ForwardedRequest) -> ResponseHead:
    """The head of the answer; interim ones are passed on."""
    data = b""
    while True:
        end = end_of_head(data) if data else 0
        if not end:
            received = await connection.receive()
            if not received:
                if data:
                    raise NoResponse("it hung up in the middle of its head")
                raise _Stale
            data += received
            continue
        head = parse_head(data[:end], exchange.method)
        if head.status >= 200 or head.status == 101:
            if head.status == 101 and not exchange.offers_upgrade:
                raise NoResponse("it switches to another protocol, which nobody has asked for")
            connection.give_back(data[end:])
            return head
        exchange.inform(head.status, head.reason, _answer_fields(request, head))
        data = data[end:]


def _answer_fields(request: ForwardedRequest, head: ResponseHead) -> Iterable[Field]:
    return request.answer_fields(end_to_end(head.fields))


async def _relay(
    connection: UpstreamConnection, exchange: Exchange, request: ForwardedRequest, head: ResponseHead
) -> bool:
    """Pass the answer on; whether the connection may be used again."""
    exchange.begin(head.status, head.reason, _answer_fields(request, head), head.length)
    trailers: Iterable[Field] = ()
    if not head.has_body:
        pass
    elif head.is_chunked:
        trailers = request.answer_fields(await _relay_chunks(connection, exchange))
    elif head.length is not None:
        await _relay_length(connection, exchange, head.length)
    else:
        connection.read_more_at_a_time()
        while data := await connection.receive():
            await exchange.write(data)
    await exchange.end(trailers)
    return head.keeps_connection


async def _relay_length(connection: UpstreamConnection, exchange: Exchange, length: int) -> None:
    if length > AHEAD_BYTES:
        connection.read_more_at_a_time()
    missing = length
    while missing:
        data = await connection.receive()
        if not data:
            raise NoResponse(f"it hung up when {missing} bytes of {length} were missing")
        if len(data) > missing:
            connection.give_back(data[missing:])
            data = data[:missing]
        missing -= len(data)
        await exchange.write(data)


async def _relay_chunks(connection: UpstreamConnection, exchange: Exchange) -> Sequence[Field]:
    """Pass chunks on, and return the trailers."""
    unchunker = Unchunker()
    size = 0
    while not unchunker.has_ended:
        data = await connection.receive()
        if not data:
            raise NoResponse("it hung up between two chunks")
        size += len(data)
        if size > AHEAD_BYTES:
            connection.read_more_at_a_time()
        await exchange.write(unchunker.feed(data))
    connection.give_back(unchunker.rest)
    return end_to_end(unchunker.trailers)


async def _switch(
    connection: UpstreamConnection, exchange: Exchange, request: ForwardedRequest, head: ResponseHead
) -> None:
    """Both sides have agreed on WebSockets: let the bytes flow until one of them ends."""
    fields = [*_answer_fields(request, head), (b"Upgrade", b"websocket")]
    tunnel = exchange.switch(head.reason, fields, connection.transport)
    connection.join(tunnel)
    await tunnel.closed()
