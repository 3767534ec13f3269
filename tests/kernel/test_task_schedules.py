"""Tasks at times of day: in the installation's time zone, changed while they run, and what becomes of missed ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from rooftree import Clock, Kernel, Plugin, Task
from rooftree.events.tasks import TaskSupervisor
from rooftree.process.system import System
from rooftree.testing import Client, FakeClock, running_system
from rooftree_supervisor.plugin import SupervisorPlugin

EVENING = datetime(2026, 6, 1, 20, tzinfo=UTC)
BERLIN, AUCKLAND = "Europe/Berlin", "Pacific/Auckland"


class Nightly(Plugin):
    """Does something at the times that its user chose."""

    name = "nightly"
    kernel: Kernel
    runs: list[datetime]
    work: Callable[[], Any]

    async def setup(self, kernel: Kernel) -> None:
        self.kernel, self.runs = kernel, []
        self.work = lambda: asyncio.sleep(0)
        kernel.tasks.add(self.backup_at("0 3 * * *"))

    def backup_at(self, cron: str) -> Task:
        return Task("backup", self.run, cron=cron)

    async def run(self) -> None:
        self.runs.append(self.kernel.clock.now())
        await self.work()


def nightly(system: System) -> Nightly:
    life = system.plugins.find("nightly")
    assert life is not None and isinstance(life.plugin, Nightly)
    return life.plugin


async def test_schedule_that_is_changed_holds_at_once_and_is_shown(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        await clock.sleepers(3)
        assert plugin.kernel.tasks.next_runs() == {"backup": datetime(2026, 6, 2, 3, tzinfo=UTC)}

        plugin.kernel.tasks.change(plugin.backup_at("30 21 * * 1"))
        await clock.advance(timedelta(hours=2))
        assert plugin.runs == [datetime(2026, 6, 1, 21, 30, tzinfo=UTC)]
        assert plugin.kernel.tasks.next_runs() == {"backup": datetime(2026, 6, 8, 21, 30, tzinfo=UTC)}

        plugin.kernel.tasks.change(plugin.backup_at("30 22 * * *"))
        await plugin.kernel.tasks.remove("backup")
        await clock.advance(timedelta(hours=3))
        assert (len(plugin.runs), plugin.kernel.tasks.next_runs()) == (1, {})

        plugin.kernel.tasks.add(plugin.backup_at("0 5 * * *"))
        await clock.advance(timedelta(days=1))
        assert len(plugin.runs) == 2


async def test_run_under_way_ends_before_its_new_times_hold(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        ended = list[str]()

        async def slow() -> None:
            plugin.kernel.tasks.change(plugin.backup_at("0 4 * * *"))  # by itself, amid its run
            await clock.sleep(60)
            plugin.kernel.tasks.change(plugin.backup_at("0 5 * * *"))  # and again
            ended.append("well")

        plugin.work = slow
        await clock.advance(timedelta(hours=24))
        assert ended == ["well", "well"]
        assert [run.hour for run in plugin.runs] == [3, 5]


async def test_task_that_removes_itself_goes_on_to_its_end_and_is_not_begun_again(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        ended = list[str]()

        async def only_once() -> None:
            await plugin.kernel.tasks.remove("backup")
            await clock.sleep(1)
            ended.append("well")

        plugin.work = only_once
        await clock.advance(timedelta(days=3))

        assert ended == ["well"]


async def test_task_that_is_removed_amid_its_run_is_cancelled(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        ended = list[str]()

        async def for_ever() -> None:
            try:
                await clock.sleep(1e9)
            finally:
                ended.append("cancelled")

        plugin.work = for_ever
        await clock.advance(timedelta(hours=8))
        assert plugin.kernel.tasks.next_runs() == {"backup": None}
        await plugin.kernel.tasks.remove("backup")

        assert ended == ["cancelled"]


async def test_task_that_is_not_there_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Nightly]) as system:
        plugin = nightly(system)

        with pytest.raises(KeyError, match="nightly has no task called other"):
            plugin.kernel.tasks.change(Task("other", plugin.run))
        with pytest.raises(KeyError, match="nightly has no task called other"):
            await plugin.kernel.tasks.remove("other")
        with pytest.raises(ValueError, match="nightly has two tasks called backup"):
            plugin.kernel.tasks.add(plugin.backup_at("0 5 * * *"))


async def test_added_tasks_end_with_their_plugin(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        await system.plugins.disable("nightly")
        await clock.advance(timedelta(days=3))

        assert plugin.runs == []


async def test_failures_still_count_when_the_times_are_changed(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with running_system(tmp_path, plugins=[Nightly], clock=clock, allow={"task_failed"}) as system:
        plugin = nightly(system)

        async def fail() -> None:
            raise OSError("no disk")

        plugin.work = fail
        await clock.advance(timedelta(days=2))
        plugin.kernel.tasks.change(plugin.backup_at("0 4 * * *"))
        await clock.advance(timedelta(days=1))

        assert [problem.type for problem in system.problems] == ["task_failing"]


async def test_times_are_those_of_the_users_time_zone_from_when_it_is_changed_on(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    async with (
        running_system(tmp_path, plugins=[Nightly, SupervisorPlugin], clock=clock) as system,
        Client.over_unix(system) as client,
    ):
        plugin = nightly(system)

        async def hour_of_the_next_run_in(zone: str) -> int:
            assert (await client.post("/supervisor/options", json={"timezone": zone})).status == 200
            await clock.advance(timedelta(minutes=1))
            due = plugin.kernel.tasks.next_runs()["backup"]
            assert due is not None
            return due.hour

        assert [await hour_of_the_next_run_in(zone) for zone in (BERLIN, AUCKLAND)] == [1, 15]
        await clock.advance(timedelta(days=1))
        assert [run.hour for run in plugin.runs] == [15]


async def test_times_are_utc_when_the_plugin_of_the_preferences_has_stopped(tmp_path: Path) -> None:
    settings = {"plugins.supervisor.timezone": AUCKLAND}
    async with running_system(tmp_path, plugins=[SupervisorPlugin], settings=settings) as system:
        there = str(system.tasks.zone)
        await system.plugins.disable("supervisor")

        assert (there, system.tasks.zone) == (AUCKLAND, UTC)


async def test_jitter_is_on_top_of_the_time_and_shown(tmp_path: Path) -> None:
    clock = FakeClock(EVENING)
    supervisor, runs = TaskSupervisor(clock), list[datetime]()

    async def note() -> None:
        runs.append(clock.now())

    supervisor.start(Task("note", note, cron="0 3 * * *", jitter=timedelta(minutes=10)), "test")
    await clock.advance(timedelta(hours=1))
    assert supervisor.next_runs("test") == {"note": datetime(2026, 6, 2, 3, 10, tzinfo=UTC)}
    await clock.advance(timedelta(days=2))
    await supervisor.stop("test")

    assert [(run.hour, run.minute) for run in runs] == [(3, 10), (3, 10)]


def test_jitter_is_any_part_of_what_it_may_be() -> None:
    parts = [Clock().part_of(100) for _ in range(200)]

    assert 0 <= min(parts) < 20 and 80 < max(parts) <= 100


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"cron": "0 3 * * *", "jitter": 5}, "jitter must be a timedelta"),
        ({"cron": "0 3 * * *", "jitter": timedelta(seconds=-1)}, "jitter must not be less than nothing"),
        ({"every": timedelta(hours=1), "jitter": timedelta(minutes=1)}, "jitter goes with cron"),
        ({"cron": "0 0 31 2 *"}, "cron must be five fields .*there is no such day"),
    ],
)
def test_schedule_that_cannot_be_is_refused_where_it_is_made(times: dict[str, Any], said: str) -> None:
    async def run() -> None: ...

    with pytest.raises((TypeError, ValueError), match=said):
        Task("wrong", run, **times)


async def test_times_that_pass_while_it_runs_are_left_out() -> None:
    clock = FakeClock(EVENING)
    supervisor, runs = TaskSupervisor(clock), list[datetime]()

    async def slow() -> None:
        runs.append(clock.now())
        await clock.sleep(150)

    supervisor.start(Task("slow", slow, cron="* * * * *"), "test")
    await clock.advance(timedelta(minutes=7))
    await supervisor.stop("test")

    assert [run.minute for run in runs] == [0, 3, 6]


async def test_time_that_passes_while_the_machine_sleeps_is_made_up_for_once_it_is_awake() -> None:
    clock = FakeClock(EVENING)
    supervisor, runs = TaskSupervisor(clock), list[datetime]()

    async def note() -> None:
        runs.append(clock.now())

    supervisor.start(Task("note", note, cron="0 3 * * *"), "test")
    await clock.advance(timedelta(hours=2))
    clock.put(datetime(2026, 6, 4, 9, tzinfo=UTC))  # asleep: the monotonic clock stood still
    await clock.advance(timedelta(minutes=1))
    assert runs == [datetime(2026, 6, 4, 9, 1, tzinfo=UTC)]

    await clock.advance(timedelta(days=1))
    await supervisor.stop("test")
    assert [(run.day, run.hour) for run in runs] == [(4, 9), (5, 3)]


async def test_time_that_passes_while_rooftree_does_not_run_is_left_out(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Nightly], clock=FakeClock(EVENING)):
        pass
    clock = FakeClock(EVENING + timedelta(days=4))
    async with running_system(tmp_path, plugins=[Nightly], clock=clock) as system:
        plugin = nightly(system)
        await clock.advance(timedelta(hours=1))
        early = list(plugin.runs)
        await clock.advance(timedelta(hours=7))

        assert (early, [run.day for run in plugin.runs]) == ([], [6])


async def test_clock_put_back_a_day_does_not_run_the_same_time_twice_nor_skip_the_next() -> None:
    clock = FakeClock(EVENING)
    supervisor, runs = TaskSupervisor(clock), list[datetime]()

    async def note() -> None:
        runs.append(clock.now())

    supervisor.start(Task("note", note, cron="0 3 * * *"), "test")
    await clock.advance(timedelta(hours=8))
    clock.put(clock.now() - timedelta(days=1))
    await clock.advance(timedelta(days=3))
    await supervisor.stop("test")

    assert [run.day for run in runs] == [2, 3, 4]


@pytest.mark.parametrize("zone", ["UTC", BERLIN])
async def test_run_really_comes_at_its_time_by_the_clock_of_the_machine(tmp_path: Path, zone: str) -> None:
    """It is put to a second before the time, and then goes on as it does."""
    due = datetime(2026, 6, 2, 1 if zone == BERLIN else 3, tzinfo=UTC)
    with time_machine.travel(EVENING, tick=True) as wall:
        settings = {"plugins.supervisor.timezone": zone}
        async with running_system(tmp_path, plugins=[SupervisorPlugin], settings=settings) as system:
            ran = asyncio.get_running_loop().create_future()

            async def note() -> None:
                ran.set_result(datetime.now(UTC))

            wall.move_to(due - timedelta(seconds=1))
            system.tasks.start(Task("note", note, cron="0 3 * * *"), "test")
            async with asyncio.timeout(10):
                at = await ran
            await system.tasks.stop("test")

    assert due <= at < due + timedelta(seconds=8)
