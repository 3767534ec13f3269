"""Events over HTTP: as server-sent events, and as a WebSocket, from one route.

Server-sent events (WHATWG HTML, 9.2) carry an event each, with its place as id, so that a browser resumes by itself.
On a WebSocket each message is a JSON list of events; its place is in each. Both begin with ``hello``, which tells where
one is before anything has happened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from typing import Annotated, Final

import orjson
import structlog
from aiohttp import web

from rooftree import EventStream, From, Header, Invalid, Socket, Stream
from rooftree.event_stream import Position, Recorded

log = structlog.get_logger(__name__)

KEEP_ALIVE_S: Final = 15.0
"""Seconds of silence after which a comment says that we are still here."""
WRITE_S: Final = 20.0
"""Seconds that a client may take to take a message in; then it is dropped."""

type Batch = tuple[Recorded, ...]


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
    return frozenset(word.strip() for word in (types or "").split(",") if word.strip())


AskedPosition = Annotated[Position | None, From(_position)]
AskedTypes = Annotated[frozenset[str], From(_types)]


def event_feed(
    stream: EventStream, since: Position | None, types: Collection[str], *, as_socket: bool
) -> Stream | Socket:
    """The answer of ``/kernel/v1/events``."""
    if as_socket:
        return Socket(lambda socket: _serve(socket, stream, since, types))
    return Stream(
        _lines(stream, since, types), "text/event-stream", {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


# --- server-sent events -----------------------------------------------------------------------------------------------


async def _lines(stream: EventStream, since: Position | None, types: Collection[str]) -> AsyncGenerator[bytes]:
    yield _sse(_hello(stream, since))
    async with aclosing(_with_silences(stream.follow(since, types))) as batches:
        async for batch in batches:
            yield b"".join(map(_sse, batch)) if batch else b": still here\n\n"


def _sse(event: Recorded) -> bytes:
    place = event.place.encode()
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place, event.type.encode(), event.body)


async def _with_silences(batches: AsyncGenerator[Batch]) -> AsyncGenerator[Batch]:
    """The batches, and an empty one after each :data:`KEEP_ALIVE_S` seconds without any."""
    async with aclosing(batches):
        following: asyncio.Future[Batch | None] | None = None
        try:
            while True:
                following = following or asyncio.ensure_future(_next(batches))
                done, _ = await asyncio.wait({following}, timeout=KEEP_ALIVE_S)
                if not done:
                    yield ()
                    continue
                batch, following = following.result(), None
                if batch is None:
                    return
                yield batch
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait({following})


async def _next(batches: AsyncIterator[Batch]) -> Batch | None:
    return await anext(batches, None)


# --- WebSocket --------------------------------------------------------------------------------------------------------


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
    await socket.send_str(_list((_hello(stream, since),)))
    async with aclosing(stream.follow(since, types)) as batches:
        async for batch in batches:
            try:
                async with asyncio.timeout(WRITE_S):
                    await socket.send_str(_list(batch))
            except TimeoutError:
                log.warning("event_reader_dropped", reason=f"it took nothing in for {WRITE_S:.0f} s")
                stream.dropped += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await socket.close(code=1013, message=b"too slow: nothing was taken in")
                return


def _list(batch: Batch) -> str:
    return (b"[" + b",".join(event.body for event in batch) + b"]").decode()


def _hello(stream: EventStream, since: Position | None) -> Recorded:
    place = since if since is not None and since.boot == stream.boot else stream.now
    facts = {"type": "hello", "boot": place.boot, "sequence": place.sequence}
    return Recorded(str(place), place.sequence, "hello", orjson.dumps(facts))
