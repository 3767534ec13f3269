"""Events over HTTP: as server-sent events, and as a WebSocket, from one route.

As server-sent events (WHATWG HTML, 9.2) each has its place as id, so that a browser resumes by itself. On a WebSocket
each message is a JSON list of events; its place is in each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Annotated, Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from rooftree import From, Header, Invalid, Socket, Stream, Unavailable
from rooftree_supervisor.event_stream import HELLO, LOST, EventStream, Position, event_types

log = structlog.get_logger(__name__)

KEEP_ALIVE_S: Final = 15.0
"""Seconds of silence after which a comment says that we are still here."""
WRITE_S: Final = 20.0
"""Seconds that a client may take to take a message in; then it is dropped."""
GOODBYE_S: Final = 1.0
"""Seconds in which a client that is dropped may take in why."""


def _position(
    since: str | None = None, last_event_id: Annotated[str | None, Header("Last-Event-ID")] = None
) -> Position | None:
    """The place to resume at: what a browser sends by itself when it reconnects goes before the address."""
    text = last_event_id or since
    if not text:
        return None
    try:
        return Position.parse(text)
    except ValueError as error:
        raise Invalid(f"{'Last-Event-ID' if last_event_id else 'since'}: {error}") from None


def _types(types: str | None = None) -> frozenset[str]:
    """The types to be told of. A word that no event has would never come: that is a typing error, and said."""
    words = frozenset(word.strip() for word in (types or "").split(",") if word.strip())
    known = event_types()
    if unknown := sorted(words - known):
        allowed = ", ".join(sorted(known - {HELLO, LOST}))
        raise Invalid(f"types: there is no event {', '.join(unknown)}; the plugins that are loaded have {allowed}")
    return words


AskedPosition = Annotated[Position | None, From(_position)]
AskedTypes = Annotated[frozenset[str], From(_types)]


def event_feed(
    stream: EventStream, since: Position | None, types: Collection[str], *, as_socket: bool
) -> Stream | Socket:
    """The answer of ``/kernel/v1/events``; raises ``Unavailable`` when too many follow."""
    stream.refuse_more()
    if as_socket:
        return Socket(lambda socket: _serve(socket, stream, since, types))
    return Stream(
        _lines(stream, since, types), "text/event-stream", {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _lines(stream: EventStream, since: Position | None, types: Collection[str]) -> AsyncGenerator[bytes]:
    async with aclosing(stream.follow(since, types, silence_s=KEEP_ALIVE_S)) as batches:
        async for batch in batches:
            yield batch.as_lines


async def _serve(
    socket: web.WebSocketResponse, stream: EventStream, since: Position | None, types: Collection[str]
) -> None:
    """Send until the client goes, or is too slow."""
    sending = asyncio.create_task(_send(socket, stream, since, types), name="send events")
    listening = asyncio.create_task(_listen(socket), name="listen for the end")
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.wait({sending, listening})


async def _listen(socket: web.WebSocketResponse) -> None:
    """Take in what the client sends, which is nothing but pongs and its goodbye."""
    async for _ in socket:
        pass


async def _send(
    socket: web.WebSocketResponse, stream: EventStream, since: Position | None, types: Collection[str]
) -> None:
    reason = "too slow"
    try:
        async with aclosing(stream.follow(since, types)) as batches:
            async for batch in batches:
                async with asyncio.timeout(WRITE_S):
                    await socket.send_frame(batch.as_list, WSMsgType.TEXT)
    except TimeoutError:
        stream.dropped += 1
        log.warning("event_reader_dropped", reason=f"it did not take a message in within {WRITE_S:.0f} s")
        reason = f"too slow: a message was not taken in within {WRITE_S:.0f} s"
    except Unavailable as error:  # others came between the look and the answer
        reason = error.message
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason.encode())
