"""How the lines of a log become the text that is sent.

Lines are handed on with :func:`log_answer`, and text that needs nothing done to it with :func:`text_answer`. Both send
what comes as it comes, lines in one piece where several wait; however long a log is, memory stays flat. The first line
is waited for a little, because the head of the answer names its place in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC
from typing import Final

from attrs import field, frozen

from rooftree import Stream
from rooftree.interfaces.containers import LogLine
from rooftree_containers.log_place import Place
from rooftree_containers.log_query import LogQuery

BATCH_BYTES: Final = 64 * 1024
"""About how much is read ahead while the client takes what it was sent."""
FIRST_LINE_S: Final = 0.3
"""Seconds that a followed log's first line is waited for, so that its cursor can be told."""
FIRST_CURSOR: Final = "X-First-Cursor"
"""The header that names the place of an answer's first line."""


@frozen(kw_only=True)
class LogSource:
    """Who wrote a log, for the verbose format."""

    identifier: str
    """As in the system journal: a container's name, a program's name."""
    pid: int | None = None
    """``None`` where it is not known: then it is left out."""
    host: str = field(factory=socket.gethostname)


HEADERS: Final = {"X-Accel-Buffering": "no"}
"""What every answer of a logs route says: no proxy is to hold it back."""


async def log_answer(
    lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource, *, follow: bool = False
) -> Stream:
    """The answer of a logs route.

    :param lines: those that are wanted, which are written as ``query`` says; closed when the client goes
    :param follow: whether they may be long in coming
    """
    headers = dict(HEADERS)
    text = BegunText(_batched(_rendered(lines, query, source, headers)))
    await text.begin(FIRST_LINE_S if follow else None)
    return Stream(text, headers=headers)


def text_answer(text: AsyncIterator[bytes], query: LogQuery, first: LogLine | None) -> Stream:
    """The answer of a logs route whose lines are wanted as they are, that is, plain.

    :param text: whole lines. Closed when the client goes.
    :param first: the first of them, if there is one yet
    """

    async def pieces() -> AsyncGenerator[bytes]:
        async with closing(text):
            async for piece in text:
                yield readable(piece, colors=not query.no_colors)

    cursor = {} if first is None else {FIRST_CURSOR: str(Place.of(first.time, first.text))}
    return Stream(pieces(), headers=HEADERS | cursor)


class BegunText:
    """Pieces of a text, of which the first is waited for before the head of the answer is sent. Whoever gets one
    iterates or closes it."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        self._first: asyncio.Task[bytes | None] | None = None

    async def begin(self, patience_s: float | None) -> None:
        """Wait for the first piece, for so long at most; raises what there is in its place."""

        async def first() -> bytes | None:
            return await anext(self._pieces, None)

        self._first = asyncio.create_task(first(), name="read the beginning of a log")
        try:
            await asyncio.wait({self._first}, timeout=patience_s)
            if self._first.done():
                self._first.result()
        except BaseException:
            await self.aclose()
            raise

    def __aiter__(self) -> BegunText:
        return self

    async def __anext__(self) -> bytes:
        if self._first is None:
            return await anext(self._pieces)
        piece = await self._first
        self._first = None
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Read no more."""
        first, self._first = self._first, None
        if first is not None:
            first.cancel()
            await asyncio.wait({first})
            if not first.cancelled():
                first.exception()  # of no interest any more
        await self._pieces.aclose()


def readable(text: bytes, *, colors: bool) -> bytes:
    """Whole lines as they may be sent: UTF-8, and without escape sequences unless they are wanted."""
    if not colors:
        text = strip_colors(text)
    return text if text.isascii() else text.decode("utf-8", "replace").encode()


async def _rendered(
    lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource, headers: dict[str, str]
) -> AsyncGenerator[bytes]:
    """Each line as the bytes that are sent; the place of the first one goes into the headers."""
    process = f"[{source.pid}]" if source.pid is not None else ""
    author = f" {source.host} {source.identifier}{process}: ".encode() if query.format == "verbose" else b" "
    with_time = query.format != "plain"
    async with closing(lines):
        async for line in lines:
            if FIRST_CURSOR not in headers:
                headers[FIRST_CURSOR] = str(Place.of(line.time, line.text))
            text = readable(line.text, colors=not query.no_colors)
            yield b"%b%b%b\n" % (_time(line), author, text) if with_time else text + b"\n"


def _time(line: LogLine) -> bytes:
    """``2026-01-31 09:00:00.123``, in UTC."""
    return line.time.astimezone(UTC).isoformat(" ", "milliseconds")[:23].encode()


_ESCAPES: Final = re.compile(
    rb"""\x1b(?:
        \[ [0-?]* [ -/]* [@-~]                  # control sequences: colours, cursor
      | [\]PX^_] [^\x07\x1b\n]* (?:\x07|\x1b\\)?  # operating system commands and other strings: titles, links
      | [ -/]* [0-Z\\^-~]                       # everything else: character sets, save and restore
    )""",
    re.VERBOSE,
)


def strip_colors(text: bytes) -> bytes:
    """``text`` without the escape sequences of terminals (ECMA-48); none of them reaches beyond its line."""
    return _ESCAPES.sub(b"", text) if b"\x1b" in text else text


async def _batched(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Join the pieces that are there already, wait for none, and read at most :data:`BATCH_BYTES` ahead."""
    waiting = bytearray()
    news, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for piece in pieces:
            waiting.extend(piece)
            news.set()
            if len(waiting) >= BATCH_BYTES:
                room.clear()
                await room.wait()

    reader = asyncio.create_task(read(), name="read a log")
    reader.add_done_callback(lambda _: news.set())
    try:
        while waiting or not reader.done():
            await news.wait()
            news.clear()
            if waiting:
                batch = bytes(waiting)
                waiting.clear()
                room.set()
                yield batch
        reader.result()  # raises what ended it
    finally:
        reader.cancel()
        await asyncio.wait({reader})
        if not reader.cancelled():
            reader.exception()  # raised above, or of no interest to a client that has gone
        await pieces.aclose()


@contextlib.asynccontextmanager
async def closing[T](items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close ``items`` in the end, if it is something that can be closed."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
