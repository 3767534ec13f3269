"""The clock that tests are masters of: ours, and those of plugin authors."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve, frozen

from rooftree import Kernel, Plugin, Rate, RateLimited, Steps, Task, document, job
from rooftree.clock import MACHINE
from rooftree.testing import FakeClock, running_system


async def test_who_sleeps_wakes_at_the_time_and_in_order() -> None:
    clock, woke = FakeClock(), list[tuple[str, datetime]]()

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woke.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("late", 20))
        group.create_task(sleep("early", 10))
        await clock.advance(timedelta(seconds=9))
        assert woke == []
        await clock.advance(timedelta(seconds=11))

    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert woke == [("early", start + timedelta(seconds=10)), ("late", start + timedelta(seconds=20))]


async def test_advance_returns_when_what_was_due_is_on_the_disk(tmp_path: Path) -> None:
    @document("test_fake_clock.count")
    @frozen
    class Count:
        runs: int

    class Counting(Plugin):
        name = "counting"

        async def setup(self, kernel: Kernel) -> None:
            self.kernel, self.counts = kernel, await kernel.collection(Count)
            await kernel.commit(self.counts.put("all", Count(0)))

        def tasks(self) -> list[Task]:
            return [Task("count", self.count, every=timedelta(hours=3)), Task("noon", self.count, cron="0 12 * * *")]

        async def count(self) -> None:
            await self.kernel.commit(self.counts.update("all", lambda count: evolve(count, runs=count.runs + 1)))

    clock = FakeClock(datetime(2026, 5, 1, 0, 30, tzinfo=UTC))
    async with running_system(tmp_path, plugins=[Counting], clock=clock) as system:
        counts = await system.state.collection(Count)
        await clock.advance(timedelta(hours=9))
        after_nine_hours = counts["all"]
        await clock.advance(timedelta(hours=15))
        after_a_day = counts["all"]

    assert (after_nine_hours, after_a_day) == (Count(3), Count(9))


async def test_rates_of_jobs_follow_it(tmp_path: Path) -> None:
    @job("rarely", at_most=Rate(1, timedelta(hours=1)))
    async def rarely() -> Steps:
        return []

    clock = FakeClock()
    async with running_system(tmp_path, clock=clock) as system:
        await system.jobs.run(rarely())
        with pytest.raises(RateLimited):
            await system.jobs.run(rarely())
        await clock.advance(timedelta(hours=1))
        await system.jobs.run(rarely())


async def test_who_woke_and_does_not_come_to_an_end_is_named() -> None:
    clock = FakeClock()

    async def stuck() -> None:
        await clock.sleep(1)
        await asyncio.Event().wait()

    task = asyncio.create_task(stuck(), name="stuck task")
    with pytest.raises(AssertionError, match="stuck task woke at 2026-01-01 12:00:01"):
        await clock.advance(timedelta(seconds=5), patience_s=0.05)
    task.cancel()


async def test_putting_the_wall_clock_lets_no_time_pass() -> None:
    clock = FakeClock()

    clock.put(datetime(2030, 1, 1, tzinfo=UTC))

    assert (clock.monotonic(), clock.now().year) == (0.0, 2030)


async def test_time_does_not_run_backwards_and_has_a_zone() -> None:
    with pytest.raises(ValueError, match="does not run backwards"):
        await FakeClock().advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="tzinfo=UTC"):
        FakeClock(datetime(2026, 1, 1))


async def test_sleeper_that_is_cancelled_is_forgotten() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.sleepers()

    task.cancel()
    await asyncio.wait({task})

    await clock.advance(timedelta(seconds=2))


async def test_who_waits_for_an_event_wakes_by_it_or_when_the_time_is_over() -> None:
    clock, event = FakeClock(), asyncio.Event()
    waiting = [asyncio.create_task(clock.wait(event, seconds)) for seconds in (1, 100)]
    await clock.sleepers(2)

    await clock.advance(timedelta(seconds=2))
    event.set()

    assert [await task for task in waiting] == [False, True]
    assert clock.monotonic() == 2.0
    assert [task.get_name() for task in asyncio.all_tasks() if "waits for" in task.get_name()] == []


async def test_the_machines_clock_waits_for_an_event_no_longer_than_it_is_told() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)

    assert await MACHINE.wait(event, 10)
    assert not await MACHINE.wait(asyncio.Event(), 0.01)
