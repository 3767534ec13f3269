"""Jobs of a plugin that is switched off wait for it, visibly, and go on when it runs again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import (
    PUBLIC,
    Event,
    Failed,
    JobCall,
    JobInfo,
    Kernel,
    Lock,
    NotReady,
    Plugin,
    Routes,
    Run,
    Service,
    Step,
    Steps,
    Task,
    job,
    step,
)
from rooftree.jobs import suspension
from rooftree.plugins import plugins
from rooftree.plugins.life import Health
from rooftree.process.system import System
from rooftree.state import failpoints
from rooftree.testing import Client, FakeClock, running_system
from tests.kernel.plugins_under_test import Fine, info_of, until


class Walls:
    """What the jobs paint."""

    def __init__(self) -> None:
        self.done = list[str]()
        self.undone = list[str]()
        self.at_work = asyncio.Event()
        self.go_on = asyncio.Event()
        self.crumbling = ""
        """The wall on which no paint holds."""
        self.undoing: Callable[[], None] = lambda: None
        """Called when a northern wall has been taken back, and that is about to be journaled."""


WALLS = Service[Walls]("walls/1")


@step("test_plugin_jobs.paint/1")
class Paint(Step):
    """Paints a wall when it may."""

    wall: str
    stage = "painting"

    async def do(self, run: Run, walls: Walls) -> None:
        walls.at_work.set()
        await walls.go_on.wait()
        if self.wall == walls.crumbling:
            raise Failed(f"The {self.wall} wall crumbles")
        walls.done.append(self.wall)

    async def undo(self, before: object, walls: Walls) -> None:
        walls.undone.append(self.wall)
        if "north" in self.wall:
            asyncio.get_running_loop().call_soon(walls.undoing)


async def both_walls(house: str) -> Steps:
    return [Paint(f"{house} north"), Paint(f"{house} south")]


def of_house(house: str) -> set[Lock]:
    return {Lock("house", house)}


forward = job("paint_forward", reference="house", recovery="forward", locks=of_house)(both_walls)
back = job("paint_back", reference="house", locks=of_house)(both_walls)


class Painter(Plugin):
    """Paints."""

    name = "painter"
    provides = (WALLS,)
    walls: ClassVar[Walls]

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(WALLS, self.walls)

    def routes(self) -> Routes:
        found = Routes()

        def paint() -> JobCall[None]:
            return forward(house="red")

        found.post("/paint", access=PUBLIC)(paint)
        return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(suspension, "RETRY_S", (0.01,))
    monkeypatch.setattr(plugins, "DRAIN_S", 0.05)
    Painter.walls = Walls()
    yield
    failpoints.arm("")


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[tuple[System, Client]]:
    async with (
        asyncio.timeout(10),
        running_system(tmp_path, plugins=[Fine, Painter]) as system,
        Client.over_unix(system) as client,
    ):
        yield system, client


async def begun(system: System, kind: Any) -> str:
    """A job in its first step."""
    started = await system.jobs.run(kind(house="red").in_background())
    assert started is not None
    await Painter.walls.at_work.wait()
    return started.job_id


def shown(system: System, job_id: str) -> JobInfo:
    return next(info for info in system.jobs.listing() if info.uuid == job_id)


@pytest.mark.parametrize(("kind", "done", "undone"), [
    (forward, ["red north", "red south"], []), (back, [], ["red north"]),
])  # fmt: skip
async def test_job_whose_step_does_not_end_waits_for_its_plugin_and_then_goes_the_way_it_declares(
    tmp_path: Path, kind: Any, done: list[str], undone: list[str]
) -> None:
    async with house(tmp_path) as (system, _):
        job_id = await begun(system, kind)

        await system.plugins.disable("painter")

        assert (shown(system, job_id).stage, shown(system, job_id).done) == ("waiting", False)
        await asyncio.sleep(0.05)  # several looks later
        assert (Painter.walls.done, Painter.walls.undone) == ([], [])
        Painter.walls.go_on.set()
        await system.plugins.enable("painter")
        await until(lambda: shown(system, job_id).done is True)

        assert (Painter.walls.done, Painter.walls.undone) == (done, undone)


async def test_step_under_way_may_end_and_the_next_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 5.0)
    async with house(tmp_path) as (system, _):
        job_id = await begun(system, forward)
        disabling = asyncio.create_task(system.plugins.disable("painter"))
        await until(lambda: info_of(system, "painter").state is Health.STOPPED)
        Painter.walls.go_on.set()
        await disabling

        assert Painter.walls.done == ["red north"]
        await system.plugins.enable("painter")
        await until(lambda: shown(system, job_id).done is True)

        assert Painter.walls.done == ["red north", "red south"]


async def test_caller_of_a_job_is_told_that_it_waits(tmp_path: Path) -> None:
    async with house(tmp_path) as (system, client):
        calling = asyncio.create_task(client.post("/paint"))
        await Painter.walls.at_work.wait()

        await system.plugins.disable("painter")

        answer = await calling
        assert answer.status == 503
        assert answer.message == "The plugin that did this has stopped; the job goes on when it runs again"
        (waiting,) = system.jobs.listing()
        assert (waiting.name, waiting.stage) == ("paint_forward", "waiting")
        Painter.walls.go_on.set()
        await system.plugins.enable("painter")
        await until(lambda: Painter.walls.done == ["red north", "red south"])


async def test_waiting_job_keeps_what_it_holds_and_no_other_is_begun(tmp_path: Path) -> None:
    async with house(tmp_path) as (system, _):
        first = await begun(system, forward)
        second = await system.jobs.run(forward(house="blue").in_background())
        assert second is not None

        await system.plugins.disable("painter")

        with pytest.raises(NotReady, match="Plugin painter is not running; none of its jobs is begun"):
            await system.jobs.run(forward(house="green"))
        Painter.walls.go_on.set()
        await system.plugins.enable("painter")
        await until(lambda: all(shown(system, job_id).done is True for job_id in (first, second.job_id)))

        assert sorted(Painter.walls.done) == ["blue north", "blue south", "red north", "red south"]
        await system.jobs.run(forward(house="red"))  # nothing holds it any more


async def test_job_waits_for_its_plugin_over_restarts_of_the_system(tmp_path: Path) -> None:
    async with house(tmp_path) as (system, _):
        job_id = await begun(system, forward)
        await system.plugins.disable("painter")

    Painter.walls.go_on.set()
    async with house(tmp_path) as (system, _):
        await asyncio.sleep(0.05)  # several looks later
        assert (shown(system, job_id).stage, Painter.walls.done) == ("waiting", [])

        await system.plugins.enable("painter")
        await until(lambda: shown(system, job_id).done is True)

        assert Painter.walls.done == ["red north", "red south"]


@pytest.mark.parametrize("disk", ["nospace", ""], ids=["refuses it", "takes it"])
async def test_job_that_was_taken_back_is_not_taken_back_again_when_its_plugin_stops_while_its_end_is_written(
    tmp_path: Path, disk: str
) -> None:
    release, held = threading.Event(), asyncio.Event()
    walls = Painter.walls
    walls.crumbling = "red south"
    walls.go_on.set()
    async with house(tmp_path) as (system, _):

        def hold() -> None:
            failpoints.arm(f"database.before_commit={disk}" if disk else "")
            waits.append(asyncio.ensure_future(system.database.read(lambda _: release.wait(30))))
            held.set()

        waits = list[asyncio.Future[Any]]()
        walls.undoing = hold
        calling = asyncio.create_task(system.jobs.run(back(house="red")))
        await held.wait()
        restarting = asyncio.create_task(system.plugins.restart("painter"))
        with pytest.raises(NotReady, match="goes on when it runs again"):
            await calling
        waits.append(asyncio.ensure_future(system.database.read(lambda _: failpoints.arm(""))))
        release.set()
        await asyncio.gather(restarting, *waits)
        walls.crumbling = ""

        await system.jobs.run(forward(house="red"))  # nothing holds it

        assert walls.done == ["red north", "red north", "red south"]
        assert walls.undone == ["red south", "red north"]
    async with house(tmp_path) as (system, _):
        await until(lambda: all(info.done for info in system.jobs.listing()))
        assert walls.undone == ["red south", "red north"]


async def test_restart_of_a_plugin_takes_its_jobs_along(tmp_path: Path) -> None:
    async with house(tmp_path) as (system, _):
        job_id = await begun(system, forward)
        restarting = asyncio.create_task(system.plugins.restart("painter"))
        await until(lambda: info_of(system, "painter").state is Health.STOPPED)
        await restarting
        Painter.walls.go_on.set()
        await until(lambda: shown(system, job_id).done is True)

        assert Painter.walls.done == ["red north", "red south"]


class Called(Event):
    """Somebody wants a house painted."""


class Owner(Plugin):
    """Has another plugin's job done, in whatever ways there are, and waits for it."""

    name = "owner"
    begun: ClassVar[str]

    async def setup(self, kernel: Kernel) -> None:
        self.kernel = kernel
        kernel.on(Called, lambda _: self.paint("listener"))

    def tasks(self) -> list[Task]:
        return [Task("paint", lambda: self.paint("task")), Task("both", self.both)]

    async def both(self) -> None:
        async with asyncio.TaskGroup() as group:
            for side in ("left", "right"):
                group.create_task(self.paint(side))

    async def paint(self, house: str) -> None:
        await self.kernel.jobs.run(forward(house=house))


@pytest.mark.parametrize("stops", ["Rooftree", "the plugin"])
async def test_who_waits_for_the_job_of_what_is_stopped_has_not_failed(
    tmp_path: Path, stops: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = {"kernel.stop_timeout_s": 0.1}
    async with running_system(tmp_path, plugins=[Painter, Owner], settings=settings) as system:  # strict
        system.bus.publish(Called())
        await until(lambda: len([info for info in system.jobs.listing() if info.stage == "painting"]) == 4)

        if stops == "the plugin":
            await system.plugins.disable("painter")
            await until(lambda: caplog.text.count("_interrupted'") >= 3)

    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_task_that_waited_for_a_plugin_goes_on_when_that_runs_again(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, plugins=[Painter, Owner], clock=clock) as system:
        await until(lambda: len([info for info in system.jobs.listing() if info.stage == "painting"]) == 3)
        await system.plugins.disable("painter")
        await clock.advance(timedelta(minutes=10))  # it has tried again a few times
        assert info_of(system, "owner").state is Health.OK
        Painter.walls.go_on.set()
        await system.plugins.enable("painter")
        await clock.advance(timedelta(minutes=2))
        await until(lambda: sorted(Painter.walls.done).count("task north") == 2)  # the job of before, and its own
