"""Background and scheduled work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rooftree import Clock, Kernel, Plugin, Task
from rooftree.events import tasks
from rooftree.events.tasks import BACKOFF_S, STEADY_S, TaskSupervisor
from rooftree.testing import FakeClock, running_system


async def test_failing_task_is_begun_again_with_growing_pauses() -> None:
    clock = FakeClock()
    supervisor, begun = TaskSupervisor(clock), list[float]()

    async def failing() -> None:
        begun.append(clock.monotonic())
        if len(begun) < 8:
            raise RuntimeError("again")

    supervisor.start(Task("failing", failing), "test")
    await clock.advance(timedelta(hours=1))
    await supervisor.stop("test")

    gaps = [after - before for before, after in pairwise(begun)]
    assert gaps == pytest.approx([*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]])


async def test_task_that_ran_long_before_it_failed_pauses_shortly() -> None:
    clock = FakeClock()
    supervisor, ended, begun = TaskSupervisor(clock), list[float](), list[float]()

    async def failing() -> None:
        begun.append(clock.monotonic())
        if len(begun) == 5:
            return
        if len(begun) == 4:
            await clock.sleep(STEADY_S + 1)
        ended.append(clock.monotonic())
        raise RuntimeError("again")

    supervisor.start(Task("failing", failing), "test")
    await clock.advance(timedelta(hours=1))
    await supervisor.stop("test")

    assert begun[4] - ended[3] == pytest.approx(BACKOFF_S[0])


async def test_task_without_schedule_that_returns_is_not_begun_again() -> None:
    clock = FakeClock()
    supervisor, times = TaskSupervisor(clock), 0

    async def once() -> None:
        nonlocal times
        times += 1

    supervisor.start(Task("once", once), "test")
    await clock.advance(timedelta(hours=1))
    await supervisor.stop("test")

    assert times == 1


async def test_interval_counts_from_the_end_of_the_run_before_and_first_comes_after_one() -> None:
    clock = FakeClock()
    supervisor, begun = TaskSupervisor(clock), list[float]()

    async def slow() -> None:
        begun.append(clock.monotonic())
        await clock.sleep(50)

    supervisor.start(Task("slow", slow, every=timedelta(seconds=100)), "test")
    await clock.advance(timedelta(seconds=1000))
    await supervisor.stop("test")

    assert begun == pytest.approx([100, 250, 400, 550, 700, 850, 1000])


def test_what_is_begun_together_does_not_stay_together() -> None:
    found = {Clock().spread(100) for _ in range(100)}

    assert all(95 <= seconds <= 105 for seconds in found)
    assert max(found) - min(found) > 5


async def test_failing_scheduled_task_keeps_its_interval() -> None:
    clock = FakeClock()
    supervisor, begun = TaskSupervisor(clock), list[float]()

    async def failing() -> None:
        begun.append(clock.monotonic())
        raise OSError("no network")

    supervisor.start(Task("failing", failing, every=timedelta(seconds=100)), "test")
    await clock.advance(timedelta(seconds=450))
    await supervisor.stop("test")

    assert begun == pytest.approx([100, 200, 300, 400])


@pytest.mark.parametrize("every", [None, timedelta(seconds=1)])
async def test_task_whose_own_child_was_cancelled_is_begun_again(every: timedelta | None) -> None:
    clock = FakeClock()
    supervisor, times = TaskSupervisor(clock), 0

    async def child_is_cancelled() -> None:
        nonlocal times
        times += 1
        child = asyncio.ensure_future(clock.sleep(1))
        child.cancel()
        await child

    supervisor.start(Task("parent", child_is_cancelled, every=every), "test")
    await clock.sleepers()
    await clock.advance(timedelta(seconds=10))
    await supervisor.stop("test")

    assert times > 1


HALF_PAST_ELEVEN = datetime(2024, 3, 1, 11, 30, tzinfo=UTC)


async def cron_runs(
    clock: FakeClock, cron: str, for_: timedelta, after_ten_minutes: Callable[[], None] | None = None
) -> list[datetime]:
    supervisor, runs = TaskSupervisor(clock), list[datetime]()

    async def note() -> None:
        runs.append(clock.now())

    supervisor.start(Task("cron", note, cron=cron), "test")
    if after_ten_minutes is not None:
        await clock.advance(timedelta(minutes=10))
        after_ten_minutes()
    await clock.advance(for_)
    await supervisor.stop("test")
    return runs


async def test_cron_runs_at_its_times_once_each() -> None:
    runs = await cron_runs(FakeClock(HALF_PAST_ELEVEN), "0 */6 * * *", timedelta(days=1))

    assert [(run.day, run.hour, run.minute) for run in runs] == [(1, 12, 0), (1, 18, 0), (2, 0, 0), (2, 6, 0)]


async def test_clock_put_forward_by_years_runs_once_not_once_for_each_missed_time() -> None:
    clock = FakeClock(HALF_PAST_ELEVEN)
    at_eleven_forty = HALF_PAST_ELEVEN + timedelta(days=3653, minutes=10)

    runs = await cron_runs(clock, "0 12 * * *", timedelta(hours=12), lambda: clock.put(at_eleven_forty))

    assert len(runs) == 1 + sum(1 for run in runs[1:] if (run.hour, run.minute) == (12, 0))
    assert len(runs) <= 2


async def test_clock_put_back_by_years_does_not_starve_the_task() -> None:
    clock = FakeClock(HALF_PAST_ELEVEN)

    runs = await cron_runs(
        clock, "0 12 * * *", timedelta(days=2), lambda: clock.put(HALF_PAST_ELEVEN - timedelta(days=3653, minutes=-10))
    )

    assert [(run.year, run.hour, run.minute) for run in runs] == [(2014, 12, 0), (2014, 12, 0)]


async def test_interval_does_not_look_at_the_wall_clock() -> None:
    clock = FakeClock()
    supervisor, times = TaskSupervisor(clock), 0

    async def count() -> None:
        nonlocal times
        times += 1
        clock.put(clock.now() + timedelta(days=-400 if times % 2 else 400))

    supervisor.start(Task("count", count, every=timedelta(hours=1)), "test")
    await clock.advance(timedelta(hours=10, minutes=30))
    await supervisor.stop("test")

    assert times == 10


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


async def test_task_that_ignores_cancellation_is_named_and_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "STOP_S", 0.05)
    supervisor, begun, go_on = TaskSupervisor(), asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    supervisor.start(Task("stubborn", stubborn), "test")
    await begun.wait()
    await supervisor.stop("test")
    go_on.set()

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


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"every": 5}, "every must be a timedelta"),
        ({"every": timedelta(0)}, "every must be longer than nothing"),
        ({"every": timedelta(seconds=-1)}, "every must be longer than nothing"),
        ({"cron": "0 3 * *"}, "cron must be five fields"),
        ({"cron": "61 3 * * *"}, "cron must be five fields"),
        ({"cron": "never"}, "cron must be five fields"),
        ({"cron": 5}, "cron must be five fields"),
        ({"every": timedelta(hours=1), "cron": "0 3 * * *"}, "every or cron, not both"),
    ],
)
def test_task_with_times_that_cannot_be_is_refused_where_it_is_made(times: dict[str, Any], said: str) -> None:
    async def run() -> None: ...

    with pytest.raises((TypeError, ValueError), match=said):
        Task("wrong", run, **times)


class Failing(Plugin):
    """A plugin with a task that fails while it is told to."""

    name = "failing"
    fails = True

    def tasks(self) -> list[Task]:
        return [Task("look", self.look, every=timedelta(minutes=1))]

    async def look(self) -> None:
        if self.fails:
            raise KeyError("token")


async def test_task_that_fails_three_times_in_a_row_is_a_problem_until_it_succeeds(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, plugins=[Failing], clock=clock, allow={"task_failed"}) as system:
        plugin = system.plugins.find("failing").plugin  # type: ignore[union-attr]
        await clock.advance(timedelta(minutes=2, seconds=30))
        early = [problem.type for problem in system.problems], system.plugins.info("failing").state
        await clock.advance(timedelta(minutes=1))
        told = next(problem for problem in system.problems if problem.type == "task_failing")
        degraded = system.plugins.info("failing")
        plugin.fails = False  # type: ignore[union-attr]
        await clock.advance(timedelta(minutes=2))
        late = [problem.type for problem in system.problems], system.plugins.info("failing").state

    assert early == ([], "ok")
    assert "The task 'look' of failing has failed 3 times in a row, last with KeyError: 'token'" in told.message
    assert (degraded.state, degraded.reason) == ("degraded", "its task 'look' fails: KeyError: 'token'")
    assert late == ([], "ok")


async def test_failing_task_is_no_problem_any_more_when_its_plugin_stops_or_the_process_begins_anew(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, plugins=[Failing], clock=clock, allow={"task_failed"}) as system:
        await clock.advance(timedelta(minutes=4))
        assert any(problem.type == "task_failing" for problem in system.problems)
        await system.plugins.disable("failing")
        assert not any(problem.type == "task_failing" for problem in system.problems)
        await system.plugins.enable("failing")
        await clock.advance(timedelta(minutes=4))
        assert any(problem.type == "task_failing" for problem in system.problems)
        await system.problems.written()
        for entry in system.tasks._entries["failing"].values():
            entry.is_failing = False  # as a kill leaves it: nobody takes it back
    async with running_system(tmp_path, plugins=[Failing], clock=FakeClock()) as system:
        assert not any(problem.type == "task_failing" for problem in system.problems)
