"""The logs family: what a client may ask, and the text that it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from rooftree import PUBLIC, Invalid, Plugin, Routes, Stream, Unavailable
from rooftree.interfaces.containers import LogLine
from rooftree.interfaces.journal import JournalRange
from rooftree.testing import Client, running_system
from rooftree_containers.logs import (
    BATCH_BYTES,
    AskedLatestLog,
    AskedLog,
    LogQuery,
    LogSource,
    asked_query,
    log_answer,
    strip_colors,
    text_answer,
)

NINE = datetime(2026, 1, 31, 9, 0, 0, 123_456, UTC)
CURSOR = "s=0a1b;i=4f;b=2c;m=3d;t=60a2;x=9e"
SOURCE = LogSource(identifier="app_local_hello", host="homebox")


def line(text: bytes, time: datetime = NINE) -> LogLine:
    return LogLine(time=time, stream="stdout", text=text)


async def written(texts: Iterable[bytes]) -> AsyncIterator[LogLine]:
    for text in texts:
        yield line(text)


async def written_text(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def text_of(answer: Stream) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks])


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, LogQuery(tail=100)),
        ({"lines": 7}, LogQuery(tail=7)),
        ({"lines": 1}, LogQuery(tail=1)),
        ({"lines": 0}, LogQuery(tail=1)),
        ({"lines": -5}, LogQuery(tail=1)),
        ({"lines": 7, "range": "entries=:-9:10"}, LogQuery(tail=7)),
        ({"verbose": True}, LogQuery(tail=100, format="verbose")),
        ({"no_colors": True}, LogQuery(tail=100, no_colors=True)),
        ({"accept": "text/x-log"}, LogQuery(tail=100, format="verbose")),
        ({"accept": "text/x-log; charset=utf-8, text/plain"}, LogQuery(tail=100, format="verbose")),
        ({"accept": "text/plain"}, LogQuery(tail=100)),
        ({"accept": "text/html, */*;q=0.8"}, LogQuery(tail=100)),
        ({"accept": ""}, LogQuery(tail=100)),
        ({"accept": "text/plain", "verbose": True}, LogQuery(tail=100, format="verbose")),
        ({"range": "entries=:-99:100"}, LogQuery(tail=100, count=100)),
        ({"range": "entries=:-99:"}, LogQuery(tail=100)),
        ({"range": "entries=:-99:18446744073709551615"}, LogQuery(tail=100, count=2**64 - 1)),
        ({"range": "entries=:-9:3"}, LogQuery(tail=10, count=3)),
        ({"range": "entries=:0:3"}, LogQuery(count=3)),
        ({"range": "entries=:5:3"}, LogQuery(skip=5, count=3)),
        ({"range": "entries=:+5:3"}, LogQuery(skip=5, count=3)),
        ({"range": "entries=::3"}, LogQuery(count=3)),
        ({"range": "entries=:3"}, LogQuery(count=3)),
        ({"range": "entries="}, LogQuery()),
        ({"range": f"entries={CURSOR}"}, LogQuery(cursor=CURSOR)),
        ({"range": f"entries={CURSOR}:1:9"}, LogQuery(cursor=CURSOR, skip=1, count=9)),
        ({"range": f"entries={CURSOR}:-9:"}, LogQuery(cursor=CURSOR, skip=-9)),
    ],
)
def test_query_is_read_from_what_the_client_says(asked: dict[str, Any], query: LogQuery) -> None:
    assert asked_query(**asked) == query


@pytest.mark.parametrize(
    "range",
    ["", "bytes=0-99", "entries", "entries=:a:3", "entries=:-:3", "entries=:0:0", "entries=:-9:-3", "entries=:1:2:3",
     "entries=:1:٣", "entries=:1:" + "9" * 30, "entries=s=1&x:0:3", "entries=s=1/2:0:3"],
)  # fmt: skip
def test_range_of_another_form_is_refused_with_the_right_form(range: str) -> None:
    with pytest.raises(Invalid, match="must look like entries=:-99:100"):
        asked_query(range=range)


def test_cursor_is_refused_where_there_is_no_journal() -> None:
    with pytest.raises(Invalid, match="cursor of the system journal"):
        asked_query(range=f"entries={CURSOR}:-9:10").without_cursor()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(tail=100), JournalRange(skip=-99)),
        (LogQuery(tail=10, count=3), JournalRange(skip=-9, count=3)),
        (LogQuery(skip=5, count=3), JournalRange(skip=5, count=3)),
        (LogQuery(), JournalRange()),
        (LogQuery(cursor=CURSOR, skip=-9, count=3), JournalRange(cursor=CURSOR, skip=-9, count=3)),
    ],
)
def test_query_is_a_range_of_the_journal(query: LogQuery, expected: JournalRange) -> None:
    assert query.journal_range == expected


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/*"])
def test_accept_of_nothing_that_logs_are_sent_as_is_refused(accept: str) -> None:
    with pytest.raises(Invalid, match=r"text/plain or text/x-log"):
        asked_query(accept=accept)


# --- what is sent -------------------------------------------------------------------------------------------------


async def test_plain_log_is_the_messages_one_to_a_line() -> None:
    answer = log_answer(written([b"one", b"", b"three"]), LogQuery(), SOURCE)

    assert await text_of(answer) == b"one\n\nthree\n"
    assert answer.content_type == "text/plain"
    assert answer.headers == {"X-Accel-Buffering": "no"}


async def test_verbose_log_has_time_in_utc_host_and_author() -> None:
    east = timezone(timedelta(hours=2))

    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        yield line(b"two", datetime(2026, 1, 31, 11, 0, 1, 0, east))

    answer = log_answer(lines(), LogQuery(format="verbose"), LogSource(identifier="rooftree", pid=42, host="homebox"))

    assert await text_of(answer) == (
        b"2026-01-31 09:00:00.123 homebox rooftree[42]: one\n2026-01-31 09:00:01.000 homebox rooftree[42]: two\n"
    )


async def test_process_id_that_nobody_knows_is_left_out() -> None:
    answer = log_answer(written([b"one"]), LogQuery(format="verbose"), SOURCE)

    assert await text_of(answer) == b"2026-01-31 09:00:00.123 homebox app_local_hello: one\n"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (LogQuery(skip=1, count=2), b"2\n3\n"),
        (LogQuery(skip=3), b"4\n"),
        (LogQuery(count=1), b"1\n"),
        (LogQuery(count=99), b"1\n2\n3\n4\n"),
        (LogQuery(skip=99), b""),
    ],
)
async def test_skip_and_count_are_kept(query: LogQuery, text: bytes) -> None:
    assert await text_of(log_answer(written([b"1", b"2", b"3", b"4"]), query, SOURCE)) == text


async def test_bytes_that_are_no_text_are_replaced() -> None:
    answer = log_answer(written([b"caf\xc3\xa9 \xff!"]), LogQuery(), SOURCE)

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
    assert await text_of(log_answer(written([text]), LogQuery(no_colors=True), SOURCE)) == plain + b"\n"
    assert await text_of(log_answer(written([text]), LogQuery(), SOURCE)) == text + b"\n"


async def test_escape_sequence_without_an_end_takes_no_other_line_with_it() -> None:
    text = written_text([b"\x1b]0;no end\nnext\nlast\n"])

    assert await text_of(text_answer(text, LogQuery(no_colors=True))) == b"\nnext\nlast\n"


async def test_text_is_made_readable_and_sent_as_it_comes() -> None:
    answer = text_answer(written_text([b"caf\xc3\xa9 \xff!\n", b"\x1b[31mred\x1b[0m\n"]), LogQuery(no_colors=True))

    chunks = [chunk async for chunk in answer.chunks]

    assert [chunk.decode() for chunk in chunks] == ["café \ufffd!\n", "red\n"]
    assert answer.headers == {"X-Accel-Buffering": "no"}


# --- as it comes --------------------------------------------------------------------------------------------------


async def test_lines_that_wait_together_are_sent_in_one_piece() -> None:
    answer = log_answer(written([b"x" * 9] * 1000), LogQuery(), SOURCE)

    chunks = [chunk async for chunk in answer.chunks]

    assert [len(chunk) for chunk in chunks] == [10_000]


async def test_what_is_there_is_sent_before_the_next_line_comes() -> None:
    more = asyncio.Event()

    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        yield line(b"two")
        await more.wait()
        yield line(b"three")

    chunks = log_answer(lines(), LogQuery(), SOURCE).chunks

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

    chunks = cast("Any", log_answer(endless(), LogQuery(), SOURCE).chunks)

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

    chunks = cast("Any", log_answer(lines(), LogQuery(), SOURCE).chunks)
    await anext(chunks)

    await chunks.aclose()

    assert closed.is_set()


async def test_source_is_closed_when_the_wanted_number_of_lines_is_sent() -> None:
    closed = asyncio.Event()

    async def lines() -> AsyncIterator[LogLine]:
        try:
            while True:
                yield line(b"again")
        finally:
            closed.set()

    assert await text_of(log_answer(lines(), LogQuery(count=2), SOURCE)) == b"again\nagain\n"
    assert closed.is_set()


async def test_failure_of_the_source_is_raised_after_what_came_before_it() -> None:
    async def lines() -> AsyncIterator[LogLine]:
        yield line(b"one")
        raise Unavailable("the engine has gone")

    chunks = log_answer(lines(), LogQuery(), SOURCE).chunks

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
    return log_answer(written([name.encode()]), query, SOURCE)


@routes.get("/log/{name}/latest", access=PUBLIC)
def latest(name: str, query: AskedLatestLog) -> Stream:
    """The same without waiting."""
    asked.append(query)
    return log_answer(written([name.encode()]), query, SOURCE)


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
