"""What the routes of the logs family share: what a client may ask, and how lines become the text that is sent.

A route takes an :data:`AskedLog` beside its services, and hands the lines on with :func:`log_answer` (or, for a
container, :func:`container_log`). Lines are sent as they come and in one piece where
several wait; however long a log is, memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, timedelta
from typing import Annotated, Final, Literal

from attrs import field, frozen

from rooftree import From, Header, Invalid, Stream
from rooftree.interfaces.containers import ContainerEngine, ContainerNotFound, LogLine

DEFAULT_LINES: Final = 100
"""How many lines a client gets that does not say how many it wants."""
BATCH_BYTES: Final = 64 * 1024
"""About how much is read ahead while the client takes what it was sent."""
START_SLACK: Final = timedelta(seconds=1)
"""How long before the start that the engine states a container's first lines may be: Docker looks at the clock when the
program runs already, up to some tenths of a second late on a busy machine."""


LogFormat = Literal["plain", "timestamp", "verbose"]
"""How a line is shown: as it was written, with its time, or with its time and who wrote it."""
DEFAULT_FORMAT: Final[LogFormat] = "plain"
"""How add-ons' lines and ours are shown to who asks for nothing else."""


@frozen(kw_only=True)
class LogQuery:
    """Which lines a client wants, and how they are to look."""

    tail: int | None = None
    """Begin so many lines before the end; ``None`` begins with the first line there is."""
    skip: int = 0
    """Pass over so many lines from there."""
    count: int | None = None
    """End after so many lines; ``None`` sends all there are (or, when following, come)."""
    verbose: bool = False
    """Each line with its time and who wrote it."""
    timestamp: bool = False
    """Each line with its time; ``verbose`` is stronger."""
    no_colors: bool = False
    """Without the escape sequences that colour a terminal."""


@frozen(kw_only=True)
class LogSource:
    """Who wrote a log, for the verbose format."""

    identifier: str
    """As in the system journal: a container's name, a program's name."""
    pid: int | None = None
    """``None`` where it is not known: then it is left out."""
    host: str = field(factory=socket.gethostname)


# --- what is asked ------------------------------------------------------------------------------------------------


def asked_query(
    lines: int | None = None,
    verbose: bool = False,
    no_colors: bool = False,
    format: LogFormat | None = None,
    accept: Annotated[str | None, Header("Accept")] = None,
    range: Annotated[str | None, Header("Range")] = None,
) -> LogQuery:
    """What a client of a logs route asks for; raises :class:`Invalid` for a header that can't be met.

    ``lines`` (at least 1 is sent) is stronger than ``Range``, as with the existing supervisor.
    """
    look = _look(format, accept, verbose)
    if lines is not None or range is None:
        tail = DEFAULT_LINES if lines is None else max(lines, 1)
        return LogQuery(tail=tail, no_colors=no_colors, **look)
    begin, skip, count = _parse_range(range)
    return LogQuery(tail=begin, skip=skip, count=count, no_colors=no_colors, **look)


def asked_latest(
    lines: int | None = None,
    verbose: bool = False,
    format: LogFormat | None = None,
    accept: Annotated[str | None, Header("Accept")] = None,
) -> LogQuery:
    """The same for what was written since the last start: all of it unless ``lines`` says less, without colours."""
    tail = None if lines is None else max(lines, 1)
    return LogQuery(tail=tail, no_colors=True, **_look(format, accept, verbose))


AskedLog = Annotated[LogQuery, From(asked_query)]
"""The type of a logs route's parameter."""
AskedLatestLog = Annotated[LogQuery, From(asked_latest)]
"""The type of the parameter of a route that shows what was written since the last start."""


def _look(format: LogFormat | None, accept: str | None, verbose: bool) -> dict[str, bool]:
    """How lines are to look: as ``format`` says, which newer clients send, or as the older ways of saying it do."""
    older: LogFormat = "verbose" if _wants_verbose(accept) or verbose else DEFAULT_FORMAT
    chosen = format or older
    return {"verbose": chosen == "verbose", "timestamp": chosen == "timestamp"}


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
    r"entries=(?P<cursor>[^:]*)(?::(?P<skip>[+-]?\d{0,19}))??(?::(?P<count>\d{0,20}))?", re.ASCII
)


def _parse_range(text: str) -> tuple[int | None, int, int | None]:
    """Tail, skip and count from ``entries=cursor[[:skip]:count]``, the header of systemd-journal-gatewayd(8).

    A negative skip counts from the end: -99 begins with the hundredth line from there. A cursor is a place in the
    system journal, which these logs do not come from.
    """
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or found["skip"] in {"+", "-"} or (found["count"] or "1").strip("0") == "":
        raise Invalid(f"The header Range must look like entries=:-99:100 (entries=:skip:count), not {text!r}")
    if found["cursor"]:
        raise Invalid(
            "The header Range names a cursor of the system journal, and this log does not come from there: "
            "leave the cursor empty, as in entries=:-99:100"
        )
    skip = int(found["skip"] or 0)
    count = int(found["count"]) if found["count"] else None
    return (1 - skip, 0, count) if skip < 0 else (None, skip, count)


# --- what is sent -------------------------------------------------------------------------------------------------


def log_answer(lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource) -> Stream:
    """The answer of a logs route.

    :param lines: from where ``query.tail`` says; what else the query says is done here. Closed when the client goes.
    """
    return Stream(_batched(_rendered(lines, query, source)), headers={"X-Accel-Buffering": "no"})


def container_log(
    engine: ContainerEngine, name: str, query: LogQuery, *, follow: bool = False, latest: bool = False
) -> Stream:
    """The answer of a logs route of the container with that logical name.

    :param follow: go on with what it writes from now on
    :param latest: only what it wrote since it was last started
    """
    lines = _container_lines(engine, name, query.tail, follow=follow, latest=latest)
    return log_answer(lines, query, LogSource(identifier=name))


async def _container_lines(
    engine: ContainerEngine, name: str, tail: int | None, *, follow: bool, latest: bool
) -> AsyncGenerator[LogLine]:
    since = None
    if latest:
        container = await engine.container(name)
        if container is None:
            raise ContainerNotFound(f"There is no container {name}, so it has no log")
        since = container.started_at - START_SLACK if container.started_at else None
    async with _closing(engine.logs(name, follow=follow, tail=tail, since=since)) as lines:
        async for line in lines:
            yield line


async def _rendered(lines: AsyncIterator[LogLine], query: LogQuery, source: LogSource) -> AsyncGenerator[bytes]:
    """The lines that are wanted, each as the bytes that are sent."""
    process = f"[{source.pid}]" if source.pid is not None else ""
    author = f" {source.host} {source.identifier}{process}: ".encode() if query.verbose else b" "
    with_time = query.verbose or query.timestamp
    number = 0
    async with _closing(lines):
        async for line in lines:
            number += 1
            if number <= query.skip:
                continue
            text = strip_colors(line.text) if query.no_colors else line.text
            if not text.isascii():
                text = text.decode("utf-8", "replace").encode()
            yield b"%b%b%b\n" % (_time(line), author, text) if with_time else text + b"\n"
            if query.count is not None and number - query.skip >= query.count:
                return


def _time(line: LogLine) -> bytes:
    """``2026-01-31 09:00:00.123``, in UTC."""
    return line.time.astimezone(UTC).isoformat(" ", "milliseconds")[:23].encode()


_ESCAPES: Final = re.compile(
    rb"""\x1b(?:
        \[ [0-?]* [ -/]* [@-~]                  # control sequences: colours, cursor
      | [\]PX^_] [^\x07\x1b]* (?:\x07|\x1b\\)?  # operating system commands and other strings: titles, links
      | [ -/]* [0-Z\\^-~]                       # everything else: character sets, save and restore
    )""",
    re.VERBOSE,
)


def strip_colors(text: bytes) -> bytes:
    """``text`` without the escape sequences of terminals (ECMA-48)."""
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
async def _closing[T](items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close ``items`` in the end, if it is something that can be closed."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
