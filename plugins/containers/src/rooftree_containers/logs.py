"""What the logs of all domains share: what a client may ask, and how lines become the text that is sent.

:mod:`rooftree_containers.log_routes` makes the routes. What answers them hands lines on with :func:`log_answer`, or
text that needs nothing done to it with :func:`text_answer`. Both send what comes as it comes, lines in one piece where
several wait; however long a log is, memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC
from typing import Annotated, Final

from attrs import field, frozen

from rooftree import From, Header, Invalid, Stream
from rooftree.interfaces.containers import LogLine
from rooftree.interfaces.journal import JournalRange, TextFormat

DEFAULT_LINES: Final = 100
"""How many lines a client gets that does not say how many it wants."""
BATCH_BYTES: Final = 64 * 1024
"""About how much is read ahead while the client takes what it was sent."""


LogFormat = TextFormat
"""How a line is shown: as it was written, with its time, or with its time and who wrote it."""
DEFAULT_FORMAT: Final[LogFormat] = "plain"
"""How add-ons' lines and ours are shown to who asks for nothing else."""


@frozen(kw_only=True)
class LogQuery:
    """Which lines a client wants, and how they are to look."""

    tail: int | None = None
    """Begin so many lines before the end; ``None`` begins with the first line there is."""
    cursor: str = ""
    """Begin with the line at this place of the system journal, before anything else is counted."""
    skip: int = 0
    """Pass over so many lines from there; negative, which it is only with a cursor, goes back."""
    count: int | None = None
    """End after so many lines; ``None`` sends all there are (or, when following, come)."""
    format: LogFormat = DEFAULT_FORMAT
    """How each line looks."""
    no_colors: bool = False
    """Without the escape sequences that colour a terminal."""

    @property
    def journal_range(self) -> JournalRange:
        """The same for the system journal; a ``tail`` of 1 has no range there and is read as 2."""
        if self.cursor or self.tail is None:
            return JournalRange(cursor=self.cursor, skip=self.skip, count=self.count)
        return JournalRange(skip=min(1 - self.tail, -1), count=self.count)

    def without_cursor(self) -> LogQuery:
        """The query, for a log that does not come from the system journal; raises :class:`Invalid` for a cursor."""
        if self.cursor:
            raise Invalid(
                "The header Range names a cursor of the system journal, and this log does not come from there: "
                "leave the cursor empty, as in entries=:-99:100"
            )
        return self


@frozen(kw_only=True)
class LogSource:
    """Who wrote a log, for the verbose format."""

    identifier: str
    """As in the system journal: a container's name, a program's name."""
    pid: int | None = None
    """``None`` where it is not known: then it is left out."""
    host: str = field(factory=socket.gethostname)


# --- what is asked ------------------------------------------------------------------------------------------------


def asked_in(default: LogFormat) -> Callable[..., LogQuery]:
    """Reads what a client asks for of a log whose lines look like ``default`` where it does not say."""

    def asked(
        lines: int | None = None,
        verbose: bool = False,
        no_colors: bool = False,
        format: LogFormat | None = None,
        accept: Annotated[str | None, Header("Accept")] = None,
        range: Annotated[str | None, Header("Range")] = None,
    ) -> LogQuery:
        look = _format(format, accept, verbose, default)
        if lines is not None or range is None:
            tail = DEFAULT_LINES if lines is None else max(lines, 1)
            return LogQuery(tail=tail, format=look, no_colors=no_colors)
        parts = _parsed_range(range)
        cursor, skip, count = parts["cursor"], int(parts["skip"] or 0), int(parts["count"]) if parts["count"] else None
        if skip < 0 and not cursor:
            return LogQuery(tail=1 - skip, count=count, format=look, no_colors=no_colors)
        return LogQuery(cursor=cursor, skip=skip, count=count, format=look, no_colors=no_colors)

    return asked


asked_query = asked_in(DEFAULT_FORMAT)
"""What a client of a logs route asks for; raises :class:`Invalid` for a header that can't be met.

``lines`` (at least 1 is sent) is stronger than ``Range``, as with the existing supervisor.
"""


def asked_latest(
    lines: int | None = None,
    verbose: bool = False,
    format: LogFormat | None = None,
    accept: Annotated[str | None, Header("Accept")] = None,
) -> LogQuery:
    """The same for what was written since the last start: all of it unless ``lines`` says less, without colours."""
    tail = None if lines is None else max(lines, 1)
    return LogQuery(tail=tail, format=_format(format, accept, verbose, DEFAULT_FORMAT), no_colors=True)


AskedLog = Annotated[LogQuery, From(asked_query)]
"""The type of a logs route's parameter."""
AskedLatestLog = Annotated[LogQuery, From(asked_latest)]
"""The type of the parameter of a route that shows what was written since the last start."""


def _format(format: LogFormat | None, accept: str | None, verbose: bool, default: LogFormat) -> LogFormat:
    """How lines are to look: as ``format`` says, which newer clients send, or as the older ways of saying it do."""
    older = "verbose" if _wants_verbose(accept) or verbose else default
    return format or older


def _wants_verbose(accept: str | None) -> bool:
    """Whether ``Accept`` names the verbose format; the first type in it that we have decides."""
    if accept is None or not accept.strip():
        return False
    for choice in accept.split(","):
        kind = choice.partition(";")[0].strip().lower()
        if kind == "text/x-log":
            return True
        if kind in {"text/plain", "text/*", "*/*"}:
            return False
    raise Invalid(f"Logs are sent as text/plain or text/x-log, not as {accept!r}: say so in the header Accept")


_RANGE: Final = re.compile(
    r"entries=(?P<cursor>[0-9a-z=;]*)(?::(?P<skip>[+-]?\d{0,19}))??(?::(?P<count>\d{0,20}))?", re.ASCII
)


def _parsed_range(text: str) -> re.Match[str]:
    """``entries=cursor[[:skip]:count]``, the header of systemd-journal-gatewayd(8), in its parts.

    A negative skip without a cursor counts from the end: -99 begins with the hundredth line from there.
    """
    parts = _RANGE.fullmatch(text.replace(" ", ""))
    if parts is None or parts["skip"] in {"+", "-"} or (parts["count"] or "1").strip("0") == "":
        raise Invalid(f"The header Range must look like entries=:-99:100 (entries=cursor:skip:count), not {text!r}")
    return parts


# --- what is sent -------------------------------------------------------------------------------------------------


HEADERS: Final = {"X-Accel-Buffering": "no"}
"""What every answer of a logs route says: no proxy is to hold it back."""


def log_answer(lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource) -> Stream:
    """The answer of a logs route.

    :param lines: from where ``query.tail`` says; what else the query says is done here. Closed when the client goes.
    """
    return Stream(_batched(_rendered(lines, query, source)), headers=dict(HEADERS))


def text_answer(text: AsyncIterator[bytes], query: LogQuery) -> Stream:
    """The answer of a logs route whose lines are wanted as they are: plain, and all from where ``query.tail`` says.

    :param text: whole lines. Closed when the client goes.
    """

    async def pieces() -> AsyncGenerator[bytes]:
        async with closing(text):
            async for piece in text:
                yield readable(piece, colors=not query.no_colors)

    return Stream(pieces(), headers=dict(HEADERS))


def readable(text: bytes, *, colors: bool) -> bytes:
    """Whole lines as they may be sent: UTF-8, and without escape sequences unless they are wanted."""
    if not colors:
        text = strip_colors(text)
    return text if text.isascii() else text.decode("utf-8", "replace").encode()


async def _rendered(lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource) -> AsyncGenerator[bytes]:
    """The lines that are wanted, each as the bytes that are sent."""
    process = f"[{source.pid}]" if source.pid is not None else ""
    author = f" {source.host} {source.identifier}{process}: ".encode() if query.format == "verbose" else b" "
    with_time = query.format != "plain"
    number = 0
    async with closing(lines):
        async for line in lines:
            number += 1
            if number <= query.skip:
                continue
            text = readable(line.text, colors=not query.no_colors)
            yield b"%b%b%b\n" % (_time(line), author, text) if with_time else text + b"\n"
            if query.count is not None and number - query.skip >= query.count:
                return


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
