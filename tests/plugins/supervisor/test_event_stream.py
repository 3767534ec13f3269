"""The record of events: all in order, nothing twice, nothing lost unsaid, and no more memory than it may take."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import frozen

from rooftree import Event, Unavailable
from rooftree_supervisor import event_stream
from rooftree_supervisor.event_stream import HELLO, LOST, Batch, EventStream, Position, event_type, event_types


@frozen
class Numbered(Event):
    number: int


@frozen
class Other(Event):
    pass


@frozen
class Long(Event):
    text: str


@frozen
class Opaque(Event):
    thing: Any


@pytest.fixture
async def stream() -> AsyncIterator[EventStream]:
    stream = EventStream()
    yield stream
    await stream.close()


class Following:
    """A reader, asked for one event after another."""

    def __init__(self, batches: AsyncIterator[Batch]) -> None:
        self._batches = batches
        self._left: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        while not self._left:
            self._left += orjson.loads((await anext(self._batches)).as_list)
        return self._left.pop(0)

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def ended(self) -> bool:
        return not self._left and await anext(self._batches, None) is None


@asynccontextmanager
async def following(
    stream: EventStream, since: Position | None = None, kinds: Sequence[str] = (), **options: Any
) -> AsyncIterator[Following]:
    async with aclosing(stream.follow(since, kinds, **options)) as batches:
        yield Following(batches)


def publish(stream: EventStream, numbers: range) -> None:
    for number in numbers:
        stream.take(Numbered(number))


def numbers(events: Sequence[dict[str, Any]]) -> list[int]:
    return [event["data"]["number"] for event in events]


def place(event: dict[str, Any]) -> Position:
    return Position(event["boot"], event["sequence"])


# --- what a reader gets -----------------------------------------------------------------------------------------------


async def test_reader_is_told_its_place_first_and_then_every_event_in_order(stream: EventStream) -> None:
    publish(stream, range(3))

    async with following(stream) as reader:
        hello = await reader.next()
        publish(stream, range(3, 2003))
        events = await reader.take(2000)

    assert (hello["type"], place(hello)) == (HELLO, Position(stream.boot, 3))
    assert numbers(events) == list(range(3, 2003))
    assert [event["sequence"] for event in events] == list(range(4, 2004))
    assert {event["type"] for event in events} == {"numbered"}
    assert set(events[0]) == {"type", "boot", "sequence", "time", "data"}


async def test_nothing_is_lost_between_the_hello_and_the_first_event(stream: EventStream) -> None:
    async with following(stream) as reader:
        hello = await reader.next()
        stream.take(Numbered(1))  # while the hello is on its way to the client

        assert (await reader.next())["sequence"] == hello["sequence"] + 1


async def test_reader_gets_only_the_types_that_it_asked_for(stream: EventStream) -> None:
    async with following(stream, kinds=["other", "numbered"]) as both, following(stream, kinds=["other"]) as one:
        await both.next()
        await one.next()
        for event in (Long("x"), Numbered(1), Other(), Numbered(2), Other()):
            stream.take(event)

        assert [event["type"] for event in await both.take(4)] == ["numbered", "other", "numbered", "other"]
        assert [event["sequence"] for event in await one.take(2)] == [3, 5]


async def test_readers_who_want_the_same_share_the_bytes(stream: EventStream) -> None:
    readers = [stream.follow() for _ in range(25)]
    for reader in readers:
        await anext(reader)
    waiting = asyncio.gather(*(anext(reader) for reader in readers))
    await asyncio.sleep(0)
    publish(stream, range(10))

    batches = await waiting

    assert len(batches[0].events) == 10
    assert {id(batch.as_lines) for batch in batches} == {id(batches[0].as_lines)}
    for reader in readers:
        await reader.aclose()


async def test_readers_share_also_while_more_comes_between_their_turns(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "PAUSE_S", 0.01)
    readers = [stream.follow() for _ in range(event_stream.PER_GROUP * 3)]
    for reader in readers:
        await anext(reader)
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await asyncio.sleep(0)
    stream.take(Numbered(1))
    await waiting[0]

    stream.take(Numbered(2))  # while the others still wait for their turn
    batches = await asyncio.gather(*waiting)

    assert {id(batch) for batch in batches} == {id(batches[0])}
    assert [event.sequence for event in (await anext(readers[-1])).events] == [2]
    for reader in readers:
        await reader.aclose()


async def test_readers_who_began_apart_share_from_the_next_round_on(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "PER_GROUP", 1)
    monkeypatch.setattr(event_stream, "PAUSE_S", 0.02)
    publish(stream, range(2))
    readers = [stream.follow(Position(stream.boot, place)) for place in (0, 1)]
    for reader in readers:
        await anext(reader)
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await waiting[0]
    publish(stream, range(2, 4))  # while the second still waits for its turn
    await waiting[1]

    first, second = await asyncio.gather(*(anext(reader) for reader in readers))

    assert [event.sequence for event in first.events] == [3, 4]
    assert second is first
    for reader in readers:
        await reader.aclose()


async def test_reader_gets_little_at_a_time(stream: EventStream) -> None:
    for _ in range(300):
        stream.take(Long("x" * 1000))
    async with aclosing(stream.follow(Position(stream.boot, 0))) as batches:
        await anext(batches)

        sizes = [len((await anext(batches)).as_list) for _ in range(3)]

    assert max(sizes) < event_stream.BATCH_BYTES + 2000
    assert min(sizes) > event_stream.BATCH_BYTES / 2


async def test_silence_is_broken_by_an_empty_batch_also_while_events_of_other_types_come(stream: EventStream) -> None:
    async with aclosing(stream.follow(kinds=["other"], silence_s=0.2)) as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        async with asyncio.timeout(1):
            while not waiting.done():
                stream.take(Numbered(1))
                await asyncio.sleep(0.005)

        assert waiting.result().events == ()
        assert waiting.result().as_lines == b": still here\n\n"
        stream.take(Other())
        assert [event.type for event in (await anext(batches)).events] == ["other"]


async def test_event_that_is_no_data_travels_without_it(stream: EventStream, caplog: pytest.LogCaptureFixture) -> None:
    async with following(stream) as reader:
        await reader.next()
        stream.take(Opaque(object()))
        stream.take(Numbered(1))

        opaque, numbered = await reader.take(2)

    assert (opaque["type"], opaque["data"]) == ("opaque", None)
    assert numbered["data"] == {"number": 1}
    assert "event_not_encoded" in caplog.text


async def test_event_that_is_too_long_travels_without_its_data(stream: EventStream) -> None:
    async with following(stream) as reader:
        await reader.next()
        stream.take(Long("x" * event_stream.LARGEST_BYTES))

        assert (await reader.next())["data"] is None


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_reader_resumes_after_the_last_event_that_it_saw(stream: EventStream) -> None:
    publish(stream, range(10))

    async with following(stream, Position(stream.boot, 4)) as reader:
        hello, *events = await reader.take(7)

    assert hello["sequence"] == 4
    assert numbers(events) == [4, 5, 6, 7, 8, 9]


async def test_resuming_goes_as_far_back_as_the_record_and_no_further(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEPT", 5)
    publish(stream, range(20))

    async with following(stream, Position(stream.boot, 15)) as oldest:
        whole = await oldest.take(6)
    async with following(stream, Position(stream.boot, 14)) as too_old:
        hello, lost = await too_old.take(2)
        stream.take(Numbered(20))
        following_event = await too_old.next()

    assert numbers(whole[1:]) == [15, 16, 17, 18, 19]
    assert (hello["type"], hello["sequence"]) == (HELLO, 20)
    assert (lost["type"], lost["sequence"]) == (LOST, 20)
    assert lost["data"] == {
        "reason": "what came after the place to resume at is not kept any more; ask anew for all that you show"
    }
    assert following_event["sequence"] == 21


async def test_place_in_another_run_of_the_daemon_is_told_to_be_lost(stream: EventStream) -> None:
    publish(stream, range(20))
    other = "0a1b2c3d" if stream.boot != "0a1b2c3d" else "00000000"

    async with following(stream, Position(other, 5)) as reader:
        hello, lost = await reader.take(2)

    assert (place(hello), lost["type"]) == (Position(stream.boot, 20), LOST)


async def test_place_that_is_still_to_come_is_told_to_be_lost(stream: EventStream) -> None:
    async with following(stream, Position(stream.boot, 99)) as reader:
        hello, lost = await reader.take(2)

    assert (hello["sequence"], lost["type"]) == (0, LOST)


async def test_position_is_read_as_it_is_written_and_nothing_else() -> None:
    assert Position.parse(str(Position("0a1b2c3d", 17))) == Position("0a1b2c3d", 17)
    for text in (
        "17",
        "0a1b2c3d",
        "0a1b2c3d-",
        "0a1b2c3d--1",
        "0A1B2C3D-1",
        "0a1b2c3d-1 ",
        "x-1",
        "0a1b2c3d-" + "9" * 16,
    ):
        with pytest.raises(ValueError, match="must be a boot and a sequence number such as 0a1b2c3d-17, not"):
            Position.parse(text)


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_slow_reader_is_dropped_with_the_reason_and_the_others_get_all(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_stream, "KEPT", 10)
    async with following(stream) as slow, following(stream) as quick:
        await slow.next()
        await quick.next()
        taken = list[int]()
        for number in range(0, 50, 5):
            publish(stream, range(number, number + 5))
            taken += numbers(await quick.take(5))

        last = await slow.next()

        assert taken == list(range(50))
        assert (last["type"], last["sequence"]) == (LOST, 50)
        assert last["data"]["reason"] == "this reader was too slow; ask anew for all that you show"
        assert await slow.ended()
        assert (stream.dropped, stream.readers) == (1, 1)
    assert "event_reader_dropped" in caplog.text


async def test_record_is_bounded_in_events_and_in_bytes(stream: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEPT_BYTES", 100_000)
    for _ in range(1000):
        stream.take(Long("x" * 10_000))
    assert 90_000 < sum(len(one.body) for one in stream._record) <= 100_000

    publish(stream, range(event_stream.KEPT + 100))
    assert len(stream._record) <= event_stream.KEPT


async def test_whole_record_of_short_events_takes_little_memory(stream: EventStream) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    publish(stream, range(100))
    before = resident_bytes()

    publish(stream, range(event_stream.KEPT))

    assert resident_bytes() - before < 1000 * event_stream.KEPT


async def test_one_reader_too_many_is_refused_before_it_gets_anything(
    stream: EventStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "READERS", 1)
    async with following(stream) as first:
        await first.next()
        with pytest.raises(Unavailable, match="1 clients follow the events already"):
            await anext(stream.follow())
        stream.take(Numbered(1))
        assert (await first.next())["data"] == {"number": 1}

    async with following(stream) as second:
        assert (await second.next())["type"] == HELLO


async def test_reader_that_goes_leaves_nothing_behind(stream: EventStream) -> None:
    before = asyncio.all_tasks()
    readers = [stream.follow() for _ in range(50)]
    for reader in readers:
        await anext(reader)
    publish(stream, range(3))
    for reader in readers:
        await reader.aclose()
    while asyncio.all_tasks() != before:  # the round that was under way ends by itself
        await asyncio.sleep(0.001)

    assert stream.readers == 0


async def test_nothing_runs_while_nothing_happens_or_nobody_follows(stream: EventStream) -> None:
    before = asyncio.all_tasks()
    publish(stream, range(3))
    assert asyncio.all_tasks() == before

    async with following(stream) as reader:
        await reader.next()
        assert asyncio.all_tasks() == before
        publish(stream, range(3))
        await reader.take(3)
        waiting = asyncio.ensure_future(reader.next())
        while asyncio.all_tasks() != before | {waiting}:
            await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_reader_who_stands_still_keeps_nobody_busy(stream: EventStream) -> None:
    before = asyncio.all_tasks()
    async with following(stream) as still, following(stream) as other:
        await still.next()
        await other.next()
        publish(stream, range(3))
        await other.take(3)
        await still.take(1)  # has its turn, and does not come back from it
        publish(stream, range(3))
        await other.take(3)
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0.001)

        assert len(await still.take(5)) == 5


# --- types ------------------------------------------------------------------------------------------------------------


async def test_types_are_the_words_of_the_loaded_classes() -> None:
    class DiskIsNearlyFull(Event):
        """Said by a plugin that was just loaded."""

    class DiskIsFull(DiskIsNearlyFull):
        """A case of it."""

    assert event_type(DiskIsNearlyFull) == "disk_is_nearly_full"
    assert {"disk_is_nearly_full", "disk_is_full", "job_changed", HELLO, LOST} <= event_types()
    assert "event" not in event_types()
