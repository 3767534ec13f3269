"""One exchange passed on to an upstream: its request written anew, its answer as it comes.

What the upstream reads is made of what was understood of the client's request, so that the two can't disagree on where
it ends: one request in, one request out. Nothing is kept: bodies stream both ways, and who is slow makes the other side
wait. When the client goes, whoever waits here is cancelled, and the request at the upstream ends with its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp.web import RequestPayloadError

from rooftree import Exchange, Field, Invalid
from rooftree_proxying.brief_forwarding import BegunForward
from rooftree_proxying.chunked_coding import Unchunker
from rooftree_proxying.header_fields import end_to_end
from rooftree_proxying.requests import ForwardedRequest, request_head
from rooftree_proxying.response_heads import NoResponse, ResponseHead, end_of_head, parse_head
from rooftree_proxying.upstreams import AHEAD_BYTES, BadGateway, UpstreamConnection, Upstreams

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods whose request may be sent again where nobody knows what became of it."""


async def forward(exchange: Exchange, upstreams: Upstreams, request: ForwardedRequest) -> None:
    """Pass an exchange on, and answer it with what comes; a WebSocket that the upstream accepts as well.

    Raises :class:`BadGateway` where the upstream can't be reached or answers what is no answer, and
    :class:`~rooftree.Invalid` for a request that is none.
    """
    head = request_head(exchange, request)
    may_repeat = exchange.method in _REPEATABLE and not (exchange.has_body or exchange.offers_upgrade)
    connection = _begun_connection(exchange, request, head)
    unsent = b"" if connection is not None else head
    if connection is None:
        connection = await upstreams.connect(request.address, anew=not may_repeat)
    if connection.is_reused:
        try:
            if await _forward_on(connection, exchange, request, unsent):
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


def _begun_connection(exchange: Exchange, request: ForwardedRequest, head: bytes) -> UpstreamConnection | None:
    """The connection on which just this was sent already, before anybody waited for its answer."""
    begun = exchange.take_begun()
    if isinstance(begun, BegunForward) and begun.is_of(request.address, head):
        return begun.hand_over()
    if begun is not None:
        begun.abort()
    return None


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
    return request.answer_fields(head.fields)


async def _relay(
    connection: UpstreamConnection, exchange: Exchange, request: ForwardedRequest, head: ResponseHead
) -> bool:
    """Pass the answer on; whether the connection may be used again."""
    request.on_answer()
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
