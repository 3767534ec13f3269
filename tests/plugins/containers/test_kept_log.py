"""A log that is kept line by line: the lines that are meant, places in it, and what it costs to find them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Invalid, Stream, Unavailable
from rooftree.interfaces.containers import LogLine
from rooftree_containers import kept_log
from rooftree_containers.kept_log import KeptLog
from rooftree_containers.log_place import Place
from rooftree_containers.log_query import LogQuery, asked_query
from rooftree_containers.logs import LogSource, closing

NINE = datetime(2026, 1, 31, 9, tzinfo=UTC)
SOURCE = LogSource(identifier="app_x", host="homebox")
SECOND = timedelta(seconds=1)


def written(*texts: str, every: timedelta = SECOND) -> list[LogLine]:
    return [
        LogLine(time=NINE + number * every, stream="stdout", text=text.encode()) for number, text in enumerate(texts)
    ]


@define
class Keeper:
    """Keeps lines as an engine does, and counts what is read of them."""

    kept: list[LogLine]
    read: int = 0
    as_text: int = 0
    looks: int = 0
    open: int = 0
    writes: int = 0
    """Lines that are written after each time that somebody looks."""

    def log(self, **options: Any) -> KeptLog:
        return KeptLog(lines=self.lines, text=self.text, source=SOURCE, **options)

    async def lines(
        self, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        self.open += 1
        self.looks += 1
        try:
            first = 0 if tail is None else max(0, len(self.kept) - tail)
            number = first
            while number < len(self.kept):
                line = self.kept[number]
                number += 1
                if since is None or line.time >= since:
                    self.read += 1
                    yield line
            while follow:
                await asyncio.Event().wait()
        finally:
            self.open -= 1
            last = self.kept[-1].time if self.kept else NINE
            self.kept += [
                LogLine(time=last + number * SECOND, stream="stdout", text=b"later") for number in range(self.writes)
            ]

    async def text(self, **options: Any) -> AsyncIterator[bytes]:
        async with closing(self.lines(**options)) as lines:
            async for line in lines:
                self.as_text += 1
                yield line.text + b"\n"


async def read(answer: Stream) -> tuple[list[str], str]:
    """The lines of an answer, and the cursor of the first."""
    text = b"".join([chunk async for chunk in answer.chunks]).decode()
    return text.splitlines(), answer.headers.get("X-First-Cursor", "")


async def ask(keeper: Keeper, range: str, **options: Any) -> tuple[list[str], str]:
    answer = await read(await keeper.log(**options).answer(asked_query(range=range)))
    assert keeper.open == 0
    return answer


def us(seconds: float) -> int:
    return int((NINE + timedelta(seconds=seconds)).timestamp() * 1_000_000)


TEN = [str(number) for number in range(10)]


@pytest.mark.parametrize(
    ("range", "lines"),
    [
        ("entries=", TEN),
        ("entries=:-0:", TEN[-1:]),
        ("entries=:-2:", TEN[-3:]),
        ("entries=:-2:1", TEN[-3:-2]),
        ("entries=:-99:", TEN),
        ("entries=:3:", TEN[3:]),
        ("entries=:3:2", TEN[3:5]),
        ("entries=:99:2", []),
        (f"realtime={us(3)}:", TEN[3:]),
        (f"realtime={us(2.5)}:", TEN[3:]),
        (f"realtime={us(-99)}:", TEN),
        (f"realtime={us(99)}:", []),
        (f"realtime={us(3)}::2:3", TEN[5:8]),
        (f"realtime={us(3)}::-1:3", TEN[2:5]),
        (f"realtime={us(3.5)}::-1:3", TEN[2:5]),
        (f"realtime=:{us(3)}", TEN[:4]),
        (f"realtime=:{us(3.5)}", TEN[:4]),
        (f"realtime=:{us(3)}:-0:", TEN[3:4]),
        (f"realtime=:{us(3)}:-1:", TEN[2:4]),
        (f"realtime=:{us(3.5)}:-1:1", TEN[2:3]),
        (f"realtime=:{us(3)}:-99:", TEN[:4]),
        (f"realtime=:{us(99)}:-1:", TEN[-2:]),
        (f"realtime=:{us(-1)}:-3:", []),
        (f"realtime=:{us(3)}:1:", TEN[1:4]),
        (f"realtime={us(3)}:{us(5)}:2", TEN[3:5]),
        (f"realtime={us(3)}:{us(5)}:9", TEN[3:6]),
        (f"realtime={us(3)}:{us(3)}", TEN[3:4]),
        (f"realtime={us(0)}:{us(5) // 1_000_000}:1000", TEN[:6]),
    ],
)
@pytest.mark.parametrize("first_look", [1, 2, 3, 1024])
async def test_range_means_these_lines(
    monkeypatch: pytest.MonkeyPatch, first_look: int, range: str, lines: list[str]
) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", first_look)

    found, cursor = await ask(Keeper(written(*TEN)), range)

    assert found == lines
    assert (cursor == "") == (lines == [])


@pytest.mark.parametrize("lines", [None, 1, 3])
async def test_followed_log_names_the_place_of_its_first_line(lines: int | None) -> None:
    keeper = Keeper(written(*TEN))
    answer = await keeper.log().answer(asked_query(lines=lines), follow=True)

    first = await anext(aiter(answer.chunks))
    await answer.chunks.aclose()  # type: ignore[attr-defined]  # an answer's chunks can be closed

    begin = TEN[-(lines or 100) :]
    assert first.decode().splitlines()[0] == begin[0]
    back, _ = await ask(keeper, f"entries={answer.headers['X-First-Cursor']}:0:1")
    assert back == begin[:1]


async def test_followed_log_of_nothing_is_answered_at_once_and_waits() -> None:
    keeper = Keeper([])
    async with asyncio.timeout(10):
        answer = await keeper.log().answer(asked_query(), follow=True)

    assert "X-First-Cursor" not in answer.headers
    await answer.chunks.aclose()  # type: ignore[attr-defined]  # an answer's chunks can be closed
    assert keeper.open == 0


async def test_answer_that_nobody_reads_leaves_nothing_open() -> None:
    keeper = Keeper(written(*TEN))

    for follow in (False, True):
        answer = await keeper.log().answer(asked_query(lines=3), follow=follow)
        await answer.chunks.aclose()  # type: ignore[attr-defined]  # an answer's chunks can be closed
    await ask(keeper, "entries=:0:2")

    assert keeper.open == 0


async def test_cursor_goes_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", 4)
    keeper = Keeper(written(*TEN))
    _, cursor = await ask(keeper, "entries=:-3:2")

    assert await ask(keeper, f"entries={cursor}:0:2") == (TEN[6:8], cursor)
    assert (await ask(keeper, f"entries={cursor}"))[0] == TEN[6:]
    assert (await ask(keeper, f"entries={cursor}:1:"))[0] == TEN[7:]
    assert (await ask(keeper, f"entries={cursor}:-2:2"))[0] == TEN[4:6]
    assert (await ask(keeper, f"entries={cursor}:-2:4"))[0] == TEN[4:8]
    assert (await ask(keeper, f"entries={cursor}:-2:"))[0] == TEN[4:]
    assert (await ask(keeper, f"entries={cursor}:-99:"))[0] == TEN
    assert (await ask(keeper, f"entries={cursor}:9:"))[0] == []


async def pages(keeper: Keeper, size: int, **options: Any) -> list[str]:
    """The whole log, as the frontend comes to it: from its end, page by page."""
    lines, cursor = await ask(keeper, f"entries=:-{size - 1}:", **options)
    while True:
        page, before = await ask(keeper, f"entries={cursor}:-{size}:{size}", **options)
        if not page:
            return lines
        lines, cursor = page + lines, before


times = st.lists(st.sampled_from([0, 0, 1, 1, 7]), max_size=30)


@given(times, st.integers(1, 9), st.integers(1, 9))
async def test_pages_are_the_log_whole_and_once_however_many_lines_have_one_time(
    gaps: list[int], size: int, first_look: int
) -> None:
    time, lines = NINE, []
    for number, gap in enumerate(gaps):
        time += gap * kept_log.MICROSECOND
        lines.append(LogLine(time=time, stream="stderr" if number % 3 else "stdout", text=f"{number}".encode()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_log, "FIRST_LOOK", first_look)
        found = await pages(Keeper(lines), size)

    assert found == [line.text.decode() for line in lines]


async def test_lines_that_a_stream_wrote_a_little_out_of_order_are_on_one_page_only() -> None:
    lines = written(*TEN, every=timedelta(milliseconds=1))
    lines[4], lines[5] = lines[5], lines[4]

    for size in range(1, 9):
        assert await pages(Keeper(lines), size) == [line.text.decode() for line in lines]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("first_look", [1, 3, 1024])
async def test_clock_that_was_set_back_takes_no_line_away(
    monkeypatch: pytest.MonkeyPatch, size: int, first_look: int
) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", first_look)
    before, after = written(*TEN), written(*[f"again {number}" for number in range(10)])
    keeper = Keeper(before + [evolve(line, time=line.time - 4 * SECOND) for line in after])

    assert await pages(keeper, size) == [line.text.decode() for line in keeper.kept]


async def test_pages_are_whole_while_lines_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", 8)
    texts = [str(number) for number in range(200)]
    keeper = Keeper(written(*texts), writes=3)

    assert [line for line in await pages(keeper, 10) if line != "later"] == texts


async def test_lines_that_are_the_same_in_all_end_the_pages_and_do_not_repeat_them() -> None:
    keeper = Keeper(written(*["same"] * 20, every=timedelta(0)))

    assert await pages(keeper, 5) == ["same"] * 5


async def test_place_whose_line_is_no_longer_kept_has_nothing_before_it() -> None:
    keeper = Keeper(written(*TEN))
    _, cursor = await ask(keeper, "entries=:3:1")
    del keeper.kept[:6]

    assert await ask(keeper, f"entries={cursor}:-5:5") == ([], "")
    assert (await ask(keeper, f"entries={cursor}:0:2"))[0] == TEN[6:8]
    keeper.kept.clear()
    assert await ask(keeper, f"entries={cursor}:-5:5") == ([], "")
    assert await ask(keeper, f"entries={cursor}:0:5") == ([], "")


@pytest.mark.parametrize("cursor", ["s=12;i=3", "t=1", "t=zz;c=0", "t=fffffffffffffff;c=00000000", "c=00000000;t=1"])
async def test_cursor_of_something_else_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="none of this log's: take one that its header X-First-Cursor named"):
        await Keeper(written("one")).log().answer(LogQuery(cursor=cursor))


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)), st.binary(max_size=9))
def test_place_is_read_as_it_was_named(time: datetime, text: bytes) -> None:
    place = Place.of(time, text)

    assert Place.named(str(place)) == place
    assert asked_query(range=f"entries={place}:-9:9").cursor == str(place)


# --- parts of a log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("first_look", [1, 4, 1024])
async def test_pages_of_one_boot_do_not_leave_it(monkeypatch: pytest.MonkeyPatch, size: int, first_look: int) -> None:
    monkeypatch.setattr(kept_log, "FIRST_LOOK", first_look)
    keeper = Keeper(written(*TEN))

    assert await pages(keeper, size, begin=NINE + 3 * SECOND, end=NINE + 7 * SECOND) == TEN[3:7]
    assert await pages(keeper, size, begin=NINE + 3 * SECOND) == TEN[3:]
    assert await pages(keeper, size, end=NINE + 7 * SECOND) == TEN[:7]


@pytest.mark.parametrize(
    ("range", "lines"),
    [
        ("entries=", TEN[3:7]),
        ("entries=:1:2", TEN[4:6]),
        ("entries=:-0:", TEN[6:7]),
        (f"realtime={us(0)}:", TEN[3:7]),
        (f"realtime={us(5)}:", TEN[5:7]),
        (f"realtime={us(5)}:{us(99)}", TEN[5:7]),
        (f"realtime=:{us(5)}:-1:", TEN[4:6]),
        (f"realtime=:{us(99)}:-1:", TEN[5:7]),
        (f"realtime={us(8)}:", []),
        (f"realtime=:{us(1)}", []),
    ],
)
async def test_range_within_one_boot(range: str, lines: list[str]) -> None:
    found, _ = await ask(Keeper(written(*TEN)), range, begin=NINE + 3 * SECOND, end=NINE + 7 * SECOND)

    assert found == lines


async def test_latest_place_and_time_that_there_can_be_are_behind_every_line() -> None:
    last = Place.of(datetime.max.replace(tzinfo=UTC), b"")
    keeper = Keeper(written(*TEN))

    assert await ask(keeper, f"entries={last}:0:2") == ([], "")
    assert (await ask(keeper, f"entries={last}:-2:2"))[0] == TEN[-2:]
    assert await ask(keeper, "realtime=999999999999::2") == ([], "")


async def test_part_that_is_over_is_not_followed() -> None:
    keeper = Keeper(written(*TEN))
    async with asyncio.timeout(10):
        found, _ = await read(await keeper.log(end=NINE + 2 * SECOND).answer(asked_query(), follow=True))

    assert found == TEN[:2]


# --- what it costs --------------------------------------------------------------------------------------------------


async def test_place_near_the_end_of_a_long_log_is_found_without_reading_what_is_before() -> None:
    keeper = Keeper(written(*[str(number) for number in range(100_000)]))
    _, cursor = await ask(keeper, "entries=:-500:100")
    keeper.read = 0

    page, _ = await ask(keeper, f"entries={cursor}:-100:100")

    assert page == [str(number) for number in range(99_399, 99_499)]
    assert keeper.read <= 2 * kept_log.FIRST_LOOK


async def test_place_anywhere_costs_no_more_than_some_times_the_lines_behind_it() -> None:
    keeper = Keeper(written(*[str(number) for number in range(100_000)]))
    _, cursor = await ask(keeper, "entries=:90000:1")
    keeper.read = 0

    await ask(keeper, f"entries={cursor}:-100:100")

    assert keeper.read < 5 * 10_000 + 5 * kept_log.FIRST_LOOK


@pytest.mark.parametrize("range", ["entries={first}:-9:9", "realtime=:1:-9:", "entries=t=1;c=00000000:-9:9"])
async def test_log_that_does_not_go_back_so_far_is_known_to_end_there(range: str) -> None:
    keeper = Keeper(written(*TEN))
    _, first = await ask(keeper, "entries=:0:1")
    keeper.looks = 0

    await ask(keeper, range.format(first=first))

    assert keeper.looks <= 4


async def test_client_that_goes_before_the_first_line_comes_leaves_nothing_open() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def lines(**_: Any) -> AsyncIterator[LogLine]:
        try:
            asked.set()
            await asyncio.Event().wait()
            yield written("never")[0]
        finally:
            closed.set()

    answering = asyncio.create_task(KeptLog(lines=lines, source=SOURCE).answer(asked_query()))
    await asked.wait()
    answering.cancel()
    await asyncio.wait({answering})

    assert closed.is_set()


@pytest.mark.parametrize("query", [LogQuery(), LogQuery(no_colors=True)])
async def test_all_plain_lines_come_as_text_with_the_place_of_the_first(query: LogQuery) -> None:
    keeper = Keeper(written(*TEN))
    lines, cursor = await read(await keeper.log(begin=NINE + 2 * SECOND).answer(query))

    assert (lines, keeper.as_text, keeper.open) == (TEN[2:], 8, 0)
    assert (await ask(keeper, f"entries={cursor}:-2:4"))[0] == TEN[:4]


@pytest.mark.parametrize("query", [LogQuery(tail=3), LogQuery(format="timestamp"), LogQuery(skip=1), LogQuery(count=1)])
async def test_other_lines_come_one_by_one(query: LogQuery) -> None:
    keeper = Keeper(written(*TEN))
    await read(await keeper.log().answer(query))

    assert (keeper.as_text, keeper.open) == (0, 0)


async def test_failure_before_the_first_line_is_raised_before_anything_is_sent() -> None:
    async def lines(**_: Any) -> AsyncIterator[LogLine]:
        raise Unavailable("the engine has gone")
        yield

    log = KeptLog(lines=lines, source=SOURCE)

    for header in ("entries=", "entries=:-3:", f"realtime={us(0)}:", "entries=t=1;c=00000000:-1:1"):
        with pytest.raises(Unavailable, match="the engine has gone"):
            await log.answer(asked_query(range=header))
