"""The machine's clock jumps by years, or by a second, while everything runs: timers go on by the monotonic clock,
nothing lives longer or shorter, and what is newest is told by number, not by time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from rooftree import Event, Task
from rooftree.access.wrong_tokens import ALLOWED
from rooftree.http import connection
from rooftree.model.rates import Meter, Rate
from rooftree.principal import Role
from rooftree.state.folder import DataFolder
from rooftree.testing import Client, running_system
from rooftree_supervisor.event_stream import EventStream, Position
from tests.kernel.notebook import Notebook, make_room, notes_of, write_notes

YEARS = timedelta(days=3653)
JUMPS = {
    "ten years forward": YEARS,
    "ten years back": -YEARS,
    "an hour forward": timedelta(hours=1),
    "an hour back": timedelta(hours=-1),
    "a step of a second back": timedelta(seconds=-1),
}
each_jump = pytest.mark.parametrize("by", JUMPS.values(), ids=JUMPS.keys())
DEADLINE_S = 10.0

type Jump = Callable[[timedelta], None]


@pytest.fixture
def jump() -> Iterator[Jump]:
    """Let the clock of the whole process jump; the monotonic one goes on."""
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        yield clock.shift


@each_jump
async def test_job_under_way_goes_on_and_is_told_as_it_was(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    async with running_system(tmp_path, plugins=[Notebook]) as system:
        before = datetime.now(UTC)
        running = asyncio.create_task(system.jobs.run(write_notes(key="x")))
        while not await system.audit.page():  # until it is accepted
            await asyncio.sleep(0)
        jump(by)
        await running
        began = await system.jobs.run(make_room(key="y").in_background())
        assert began is not None

        assert notes_of(system) >= {"x-one", "x-two"}
        entries = await system.audit.page()
        assert [entry.sequence for entry in entries] == sorted((entry.sequence for entry in entries), reverse=True)
        assert before - timedelta(minutes=1) <= entries[-1].time <= before + timedelta(minutes=1)

    async with running_system(tmp_path, plugins=[Notebook]) as system:
        assert notes_of(system) == {"x-one", "x-two", "y"}
        assert [info for info in system.jobs.listing() if not info.done] == []


@each_jump
async def test_interval_of_a_task_is_neither_starved_nor_flooded(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    runs = 0
    ran = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        ran.set()

    async with running_system(tmp_path) as system:
        system.tasks.start(Task("often", run, every=timedelta(seconds=0.1)), "test")
        await asyncio.wait_for(ran.wait(), DEADLINE_S)
        jump(by)
        loop = asyncio.get_running_loop()
        runs, began = 0, loop.time()
        while runs < 3:
            ran.clear()
            await asyncio.wait_for(ran.wait(), DEADLINE_S)

        assert loop.time() - began > 0.1
        await system.tasks.stop("test")


@each_jump
async def test_token_lives_neither_longer_nor_shorter(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    async with running_system(tmp_path) as system:
        kept, ended = (system.tokens.new("token", name, Role.ADMIN) for name in ("kept", "ended"))
        await system.state.commit(kept.change, ended.change)
        await system.state.commit(system.tokens.revocation(ended.digest))

        jump(by)

        assert system.tokens.principal(kept.text) is not None
        assert system.tokens.principal(ended.text) is None


@each_jump
async def test_limit_of_wrong_tokens_is_not_lifted(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    async with running_system(tmp_path) as system, Client.over_tcp(system, "f" * 112) as client:
        statuses = [(await client.get("/x")).status for _ in range(ALLOWED.times + 1)]
        assert statuses[-2:] == [403, 429]

        jump(by)

        refused = await client.get("/x")
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= ALLOWED.per.total_seconds()


@each_jump
def test_meter_waits_as_long_as_before(jump: Jump, by: timedelta) -> None:
    meter = Meter(Rate(1, timedelta(minutes=5)))
    meter.note()
    jump(by)

    assert 299 < meter.wait_s() <= 300


@each_jump
async def test_events_are_resumed_by_their_place(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    stream = EventStream()
    async with running_system(tmp_path, plugins=[Notebook]) as system:
        system.bus.subscribe(Event, stream.take, "supervisor")
        await system.jobs.run(write_notes(key="before"))
        await system.bus.drained()
        place = stream.now

        jump(by)
        await system.jobs.run(write_notes(key="after"))
        await system.bus.drained()

        async with asyncio.timeout(DEADLINE_S):
            async with aclosing(stream.follow(Position(place.boot, place.sequence))) as following:
                hello, batch = await anext(following), await anext(following)
        assert [event.type for event in hello.events] == ["hello"]
        numbers = [event.sequence for event in batch.events]
        await stream.close()
        assert numbers == [*range(place.sequence + 1, place.sequence + 1 + len(numbers))] != []


@each_jump
async def test_slow_and_idle_clients_are_judged_by_the_monotonic_clock(
    tmp_path: Path, jump: Jump, by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    async with running_system(tmp_path) as system:
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        writer.write(b"GET /x HTTP/1.1\r\n")
        await writer.drain()
        jump(by)
        await asyncio.sleep(0.2)  # several looks

        writer.write(b"Host: x\r\n\r\n")

        assert (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 401")
        writer.close()


@each_jump
async def test_newest_copy_is_the_one_made_last(tmp_path: Path, jump: Jump, by: timedelta) -> None:
    async with running_system(tmp_path, plugins=[Notebook]) as system:
        await system.jobs.run(make_room(key="before"))
        await system.database.copy()
        jump(by)
        for number in range(3):
            await system.jobs.run(make_room(key=f"after-{number}"))
            await system.database.copy()
    (tmp_path / "data" / "rooftree.db").write_bytes(b"damaged")

    async with running_system(tmp_path, plugins=[Notebook]) as system:
        assert notes_of(system) == {"before", "after-0", "after-1", "after-2"}
        assert {problem.type for problem in system.problems} == {"state_damaged"}


def test_damaged_files_set_aside_last_are_kept_over_older_ones_of_a_later_time(tmp_path: Path, jump: Jump) -> None:
    with closing(DataFolder.open(tmp_path)) as folder:
        made = []
        for number in range(9):
            (tmp_path / "file").write_text(str(number))
            made.append(folder.new_set_aside())
            folder.set_aside(made[-1], tmp_path / "file")
            jump(-YEARS / 10)

        assert {path for path in made if path.exists()} == set(made[-5:])
