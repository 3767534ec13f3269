"""Background and scheduled work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from rooftree import Kernel, Plugin, Task, tasks
from rooftree.tasks import BACKOFF_S, STEADY_S, TaskSupervisor
from rooftree.testing import running_system
from tests.kernel.virtual_time import run


def test_failing_task_is_begun_again_with_growing_pauses() -> None:
    async def main() -> list[float]:
        supervisor, begun, enough = TaskSupervisor(), list[float](), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def failing() -> None:
            begun.append(loop.time())
            if len(begun) == 8:
                enough.set()
                return
            raise RuntimeError("again")

        supervisor.start(Task("failing", failing), "test")
        await enough.wait()
        await supervisor.stop("test")
        return [after - before for before, after in pairwise(begun)]

    assert run(main()) == pytest.approx([*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]])


def test_task_that_ran_long_before_it_failed_pauses_shortly() -> None:
    async def main() -> float:
        supervisor, ended, begun = TaskSupervisor(), list[float](), list[float]()
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def failing() -> None:
            begun.append(loop.time())
            if len(begun) == 5:
                enough.set()
                return
            if len(begun) == 4:
                await asyncio.sleep(STEADY_S + 1)
            ended.append(loop.time())
            raise RuntimeError("again")

        supervisor.start(Task("failing", failing), "test")
        await enough.wait()
        await supervisor.stop("test")
        return begun[4] - ended[3]

    assert run(main()) == pytest.approx(BACKOFF_S[0])


def test_task_without_schedule_that_returns_is_not_begun_again() -> None:
    async def main() -> int:
        supervisor, times = TaskSupervisor(), 0

        async def once() -> None:
            nonlocal times
            times += 1

        supervisor.start(Task("once", once), "test")
        await asyncio.sleep(1000)
        return times

    assert run(main()) == 1


def test_interval_counts_from_the_end_of_the_run_before_and_first_comes_after_one() -> None:
    async def main() -> tuple[float, list[float]]:
        supervisor, begun, loop = TaskSupervisor(), list[float](), asyncio.get_running_loop()

        async def slow() -> None:
            begun.append(loop.time())
            await asyncio.sleep(50)

        start = loop.time()
        supervisor.start(Task("slow", slow, every=timedelta(seconds=100)), "test")
        await asyncio.sleep(1000)
        await supervisor.stop("test")
        return begun[0] - start, [after - before for before, after in pairwise(begun)]

    first, gaps = run(main())

    assert 95 <= first <= 105
    assert len(gaps) >= 5
    assert all(145 <= gap <= 155 for gap in gaps)


def test_failing_scheduled_task_keeps_its_interval() -> None:
    async def main() -> int:
        supervisor, times = TaskSupervisor(), 0

        async def failing() -> None:
            nonlocal times
            times += 1
            raise OSError("no network")

        supervisor.start(Task("failing", failing, every=timedelta(seconds=100)), "test")
        await asyncio.sleep(1060)
        await supervisor.stop("test")
        return times

    assert run(main()) == 10


@pytest.mark.parametrize("every", [None, timedelta(seconds=1)])
def test_task_whose_own_child_was_cancelled_is_begun_again(every: timedelta | None) -> None:
    async def main() -> int:
        supervisor, times = TaskSupervisor(), 0

        async def child_is_cancelled() -> None:
            nonlocal times
            times += 1
            child = asyncio.ensure_future(asyncio.sleep(1))
            child.cancel()
            await child

        supervisor.start(Task("parent", child_is_cancelled, every=every), "test")
        await asyncio.sleep(10)
        await supervisor.stop("test")
        return times

    assert run(main()) > 1


class Clock(datetime):
    """The wall clock, which a test may put forward and back."""

    shift = timedelta()
    start = datetime(2024, 3, 1, 11, 30, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        elapsed = asyncio.get_running_loop().time() - 1_000_000.0
        return cls.start + timedelta(seconds=elapsed) + cls.shift


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(tasks, "datetime", Clock)
    monkeypatch.setattr(Clock, "shift", timedelta())
    return Clock


def cron_runs(
    clock: type[Clock], cron: str, for_: timedelta, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> list[datetime]:
    async def main() -> list[datetime]:
        supervisor, runs = TaskSupervisor(), list[datetime]()

        async def note() -> None:
            runs.append(clock.now())

        supervisor.start(Task("cron", note, cron=cron), "test")
        if meanwhile is not None:
            await meanwhile()
        await asyncio.sleep(for_.total_seconds())
        await supervisor.stop("test")
        return runs

    return run(main())


def test_cron_runs_at_its_times_once_each(clock: type[Clock]) -> None:
    runs = cron_runs(clock, "0 */6 * * *", timedelta(days=1))

    assert [(run.day, run.hour, run.minute) for run in runs] == [(1, 12, 0), (1, 18, 0), (2, 0, 0), (2, 6, 0)]


def test_clock_put_forward_by_years_runs_once_not_once_for_each_missed_time(clock: type[Clock]) -> None:
    async def forward() -> None:
        await asyncio.sleep(600)
        clock.shift = timedelta(days=3653)

    runs = cron_runs(clock, "0 12 * * *", timedelta(hours=12), forward)

    assert len(runs) == 1 + sum(1 for run in runs[1:] if (run.hour, run.minute) == (12, 0))
    assert len(runs) <= 2


def test_clock_put_back_by_years_does_not_starve_the_task(clock: type[Clock]) -> None:
    async def back() -> None:
        await asyncio.sleep(600)
        clock.shift = -timedelta(days=3653)

    runs = cron_runs(clock, "0 12 * * *", timedelta(days=2), back)

    assert [(run.year, run.hour, run.minute) for run in runs] == [(2014, 12, 0), (2014, 12, 0)]


def test_interval_does_not_look_at_the_wall_clock(clock: type[Clock]) -> None:
    async def main() -> int:
        supervisor, times = TaskSupervisor(), 0

        async def count() -> None:
            nonlocal times
            times += 1
            clock.shift = timedelta(days=-400 if times % 2 else 400)

        supervisor.start(Task("count", count, every=timedelta(hours=1)), "test")
        await asyncio.sleep(10.6 * 3600)
        await supervisor.stop("test")
        return times

    assert run(main()) == 10


async def test_two_tasks_of_one_name_are_refused() -> None:
    supervisor = TaskSupervisor()

    async def nothing() -> None: ...

    supervisor.start(Task("same", nothing), "test")
    supervisor.start(Task("same", nothing), "other")
    with pytest.raises(ValueError, match="two tasks called same"):
        supervisor.start(Task("same", nothing), "test")

    await supervisor.stop("test")
    await supervisor.stop("other")


@pytest.mark.parametrize("cron", ["often", "61 * * * *", "* * * *", ""])
async def test_times_that_cannot_be_read_are_refused_at_the_start(cron: str) -> None:
    async def nothing() -> None: ...

    with pytest.raises(ValueError, match=r".+"):
        TaskSupervisor().start(Task("odd", nothing, cron=cron), "test")


async def test_stop_cancels_the_last_begun_first_and_waits_for_each() -> None:
    supervisor, ended = TaskSupervisor(), list[str]()

    def named(name: str) -> Task:
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(name)

        return Task(name, forever)

    for name in ("one", "two", "three"):
        supervisor.start(named(name), "test")
    await asyncio.sleep(0)

    await supervisor.stop("test")

    assert ended == ["three", "two", "one"]


def test_task_that_ignores_cancellation_is_named_and_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        supervisor, go_on = TaskSupervisor(), asyncio.Event()

        async def stubborn() -> None:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue

        supervisor.start(Task("stubborn", stubborn), "test")
        await asyncio.sleep(1)
        await supervisor.stop("test")
        go_on.set()

    run(main())

    assert "task_does_not_end" in caplog.text
    assert "stubborn" in caplog.text


async def test_tasks_of_a_plugin_begin_after_setup_and_end_before_its_stop(tmp_path: Path) -> None:
    happened = list[str]()
    running = asyncio.Event()

    class Working(Plugin):
        name = "working"

        async def setup(self, kernel: Kernel) -> None:
            happened.append("setup")

        def tasks(self) -> tuple[Task, ...]:
            return (Task("work", self.work),)

        async def work(self) -> None:
            happened.append("work")
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                happened.append("work ended")

        async def stop(self) -> None:
            happened.append("stop")

    async with running_system(tmp_path, plugins=[Working]):
        await running.wait()

    assert happened == ["setup", "work", "work ended", "stop"]
