"""Lines of a log as the text that is sent, and routes as domains write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from rooftree import PUBLIC, Plugin, Routes, Stream, Unavailable
from rooftree.interfaces.containers import LogLine
from rooftree.testing import Client, running_system
from rooftree_containers.log_place import Place
from rooftree_containers.log_query import AskedLatestLog, AskedLog, LogQuery
from rooftree_containers.logs import BATCH_BYTES, LogSource, log_answer, strip_colors, text_answer

NINE = datetime(2026, 1, 31, 9, 0, 0, 123_456, UTC)
SOURCE = LogSource(identifier="app_local_hello", host="homebox")


def line(text: bytes, time: datetime = NINE) -> LogLine:
    return LogLine(time=time, stream="stdout", text=text)


async def written(texts: Iterable[bytes]) -> AsyncIterator[LogLine]:
    for text in texts:
        yield line(text)


async def written_text(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def cursor_of(text: bytes, time: datetime = NINE) -> str:
    return str(Place.of(time, text))


async def text_of(answer: Stream) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks])


# --- what is sent -------------------------------------------------------------------------------------------------


async def test_plain_log_is_the_messages_one_to_a_line() -> None:
    answer = await log_answer(written([b"one", b"", b"three"]), LogQuery(), SOURCE)

    assert await text_of(answer) == b"one\n\nthree\n"
    assert answer.content_type == "text/plain"
    assert answer.headers == {"X-Accel-Buffering": "no", "X-First-Cursor": cursor_of(b"one")}


async def test_verbose_log_has_time_in_utc_host_and_author() -> None:
    east = timezone(timedelta(hours=2))

    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        yield line(b"two", datetime(2026, 1, 31, 11, 0, 1, 0, east))

    answer = await log_answer(
        lines(), LogQuery(format="verbose"), LogSource(identifier="rooftree", pid=42, host="homebox")
    )

    assert await text_of(answer) == (
        b"2026-01-31 09:00:00.123 homebox rooftree[42]: one\n2026-01-31 09:00:01.000 homebox rooftree[42]: two\n"
    )


async def test_process_id_that_nobody_knows_is_left_out() -> None:
    answer = await log_answer(written([b"one"]), LogQuery(format="verbose"), SOURCE)

    assert await text_of(answer) == b"2026-01-31 09:00:00.123 homebox app_local_hello: one\n"


async def test_bytes_that_are_no_text_are_replaced() -> None:
    answer = await log_answer(written([b"caf\xc3\xa9 \xff!"]), LogQuery(), SOURCE)

    assert (await text_of(answer)).decode() == "café \ufffd!\n"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (b"plain", b"plain"),
        (b"\x1b[31mred\x1b[0m", b"red"),
        (b"\x1b[38;5;196mred\x1b[m and \x1b[1;32mgreen", b"red and green"),
        (b"\x1b[2K\x1b[1Gredrawn", b"redrawn"),
        (b"\x1b]0;title\x07text", b"text"),
        (b"\x1b]8;;http://host/\x1b\\link\x1b]8;;\x1b\\", b"link"),
        (b"\x1b(Bset", b"set"),
        (b"\x1b7saved\x1b8", b"saved"),
        (b"caf\xc3\xa9\x1b[0m", b"caf\xc3\xa9"),
        (b"[31m is no escape", b"[31m is no escape"),
    ],
)
async def test_no_colors_takes_escape_sequences_out_and_nothing_else(text: bytes, plain: bytes) -> None:
    assert strip_colors(text) == plain
    assert await text_of(await log_answer(written([text]), LogQuery(no_colors=True), SOURCE)) == plain + b"\n"
    assert await text_of(await log_answer(written([text]), LogQuery(), SOURCE)) == text + b"\n"


async def test_escape_sequence_without_an_end_takes_no_other_line_with_it() -> None:
    text = written_text([b"\x1b]0;no end\nnext\nlast\n"])

    assert await text_of(text_answer(text, LogQuery(no_colors=True), None)) == b"\nnext\nlast\n"


async def test_text_is_made_readable_and_sent_as_it_comes() -> None:
    text = written_text([b"caf\xc3\xa9 \xff!\n", b"\x1b[31mred\x1b[0m\n"])
    answer = text_answer(text, LogQuery(no_colors=True), line(b"caf\xc3\xa9 \xff!"))

    chunks = [chunk async for chunk in answer.chunks]

    assert [chunk.decode() for chunk in chunks] == ["café \ufffd!\n", "red\n"]
    assert answer.headers == {"X-Accel-Buffering": "no", "X-First-Cursor": cursor_of(b"caf\xc3\xa9 \xff!")}


# --- as it comes --------------------------------------------------------------------------------------------------


async def test_lines_that_wait_together_are_sent_in_one_piece() -> None:
    answer = await log_answer(written([b"x" * 9] * 1000), LogQuery(), SOURCE)

    chunks = [chunk async for chunk in answer.chunks]

    assert [len(chunk) for chunk in chunks] == [10_000]


async def test_what_is_there_is_sent_before_the_next_line_comes() -> None:
    more = asyncio.Event()

    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        yield line(b"two")
        await more.wait()
        yield line(b"three")

    chunks = (await log_answer(lines(), LogQuery(), SOURCE)).chunks

    assert await anext(chunks) == b"one\ntwo\n"
    more.set()
    assert await anext(chunks) == b"three\n"
    assert await anext(chunks, None) is None


async def test_no_more_is_read_ahead_than_a_batch_while_the_client_is_slow() -> None:
    read = 0

    async def endless() -> AsyncIterator[LogLine]:
        nonlocal read
        while True:
            read += 1
            yield line(b"x" * 1023)

    chunks = cast("Any", (await log_answer(endless(), LogQuery(), SOURCE)).chunks)

    sent = [len(await anext(chunks)) for _ in range(5)]
    for _ in range(100):  # the client does not read now: whoever could run ahead gets the chance
        await asyncio.sleep(0)

    assert sent == [BATCH_BYTES] * 5
    assert read * 1024 <= 6 * BATCH_BYTES
    await chunks.aclose()


async def test_source_is_closed_when_the_client_goes_while_it_waits_for_a_line() -> None:
    closed = asyncio.Event()

    async def lines() -> AsyncIterator[LogLine]:
        try:
            yield line(b"one")
            await asyncio.Event().wait()
        finally:
            closed.set()

    chunks = cast("Any", (await log_answer(lines(), LogQuery(), SOURCE)).chunks)
    await anext(chunks)

    await chunks.aclose()

    assert closed.is_set()


async def test_failure_of_the_source_is_raised_after_what_came_before_it() -> None:
    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        raise Unavailable("the engine has gone")

    chunks = (await log_answer(lines(), LogQuery(), SOURCE)).chunks

    assert await anext(chunks) == b"one\n"
    with pytest.raises(Unavailable, match="the engine has gone"):
        await anext(chunks)


# --- routes -------------------------------------------------------------------------------------------------------

routes = Routes()
asked: list[LogQuery] = []


@routes.get("/log/{name}", access=PUBLIC)
async def recent(name: str, query: AskedLog) -> Stream:
    """A logs route as a domain writes it."""
    asked.append(query)
    return await log_answer(written([name.encode()]), query, SOURCE)


@routes.get("/log/{name}/latest", access=PUBLIC)
async def latest(name: str, query: AskedLatestLog) -> Stream:
    """The same without waiting."""
    asked.append(query)
    return await log_answer(written([name.encode()]), query, SOURCE)


class LogPlugin(Plugin):
    """Has a log."""

    name = "log"

    def routes(self) -> Routes:
        """One of each."""
        return routes


@pytest.mark.parametrize(
    ("path", "headers", "query"),
    [
        ("/log/a", {}, LogQuery(tail=100)),
        ("/log/a?lines=5&verbose&no_colors", {}, LogQuery(tail=5, format="verbose", no_colors=True)),
        ("/log/a?verbose=false", {"Accept": "text/x-log"}, LogQuery(tail=100, format="verbose")),
        ("/log/a", {"Range": "entries=:2:3"}, LogQuery(skip=2, count=3)),
        ("/log/a/latest", {}, LogQuery(no_colors=True)),
        ("/log/a/latest?lines=5", {"Range": "entries=:2:3"}, LogQuery(tail=5, no_colors=True)),
        ("/log/a/latest", {"Range": "nonsense"}, LogQuery(no_colors=True)),
    ],
)
async def test_route_gets_the_query_that_the_request_says(
    tmp_path: Path, path: str, headers: dict[str, str], query: LogQuery
) -> None:
    asked.clear()

    async with running_system(tmp_path, plugins=[LogPlugin]) as system, Client.over_tcp(system) as client:
        answer = await client.get(path, headers=headers)

    assert (answer.status, asked) == (200, [query])


@pytest.mark.parametrize(
    ("path", "headers", "sentence"),
    [
        ("/log/a?lines=many", {}, "lines: must be a whole number, not 'many'"),
        ("/log/a", {"Range": "nonsense"}, "The header Range must look like"),
        ("/log/a", {"Accept": "application/json"}, "Logs are sent as text/plain or text/x-log"),
    ],
)
async def test_query_that_cannot_be_met_is_answered_400_in_plain_text(
    tmp_path: Path, path: str, headers: dict[str, str], sentence: str
) -> None:
    async with running_system(tmp_path, plugins=[LogPlugin]) as system, Client.over_tcp(system) as client:
        answer = await client.get(path, headers=headers)

    assert answer.status == 400
    assert answer.text.startswith(sentence)
    assert answer.headers["Content-Type"].startswith("text/plain")
