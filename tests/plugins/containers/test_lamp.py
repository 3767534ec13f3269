"""The library runs what a domain describes: here two containers of a plugin that says nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import JobCall, Plugin, hookimpl
from rooftree.interfaces import hooks
from rooftree.interfaces.containers import Container, ContainerSpec, ContainerStatus, DataPath, EngineDiskFull, Mount
from rooftree.process import System
from rooftree.testing import FakeClock, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin, FakeImage
from rooftree_containers import ContainerState, Desired, ManagedContainers, UpdateRolledBack, container_steps, watchdog
from rooftree_containers.probation_watch import SUSPECT_S
from rooftree_containers.standing import ManagedStateChanged, UpdateTakenBack
from rooftree_containers.start_check import MountSourceMissing
from tests.plugins.containers.lamp import JOBS, LAMP_CONTAINERS, LampPlugin, LampState
from tests.rig.waiting import until

NEWER = {"version": "2.0", "image": "registry.example/lamp:2.0"}
PROBATION = timedelta(minutes=10)


class Room:
    """A system with a lamp, and what tests look at."""

    def __init__(self, system: System, engine: FakeContainerEngine) -> None:
        self.system = system
        self.engine = engine
        self.containers: ManagedContainers = system.services.get(LAMP_CONTAINERS)
        self.value = system.data.path / "lamp" / "data" / "value"

    async def run(self, call: JobCall[None]) -> None:
        """Run a job to its end."""
        await self.system.jobs.run(call)
        await self.system.bus.drained()

    async def shown(self, name: str = "lamp") -> Container | None:
        """Its container."""
        return await self.engine.container(f"hassio_{name}")

    async def kept(self, name: str = "lamp") -> LampState:
        """Its document."""
        return (await self.system.state.collection(LampState))[name]

    async def comes_true(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it is so, and everything has been dealt with."""

        async def check() -> bool:
            await self.system.bus.drained()
            return condition() and all(job.done for job in self.system.jobs.listing())

        await until(check, within_s=10, what=what)

    async def until_state(self, state: ContainerState, name: str = "lamp") -> None:
        """Wait until it is in that state."""
        await self.comes_true(f"{name} {state}", lambda: self.containers.observation.state(name) is state)

    async def let_pass(self, clock: FakeClock, time: timedelta) -> None:
        """Let time pass, and the jobs end that begin in it."""
        await self.system.bus.drained()
        await clock.advance(time)
        await self.comes_true("the end of every job", lambda: True)

    def problem(self, kind: str) -> str | None:
        """What the lamp's problem of that type says, if it has it."""
        problems = (problem for problem in self.system.problems if problem.context == "lamp")
        return next((problem.message for problem in problems if problem.type == kind), None)


@pytest.fixture
def engine() -> FakeContainerEngine:
    """An engine whose registry has what the lamp needs."""
    engine = FakeContainerEngine()
    for image in ("lamp:1.0", "lamp:2.0", "socket:1.0"):
        engine.publish_image(f"registry.example/{image}")
    return engine


@pytest.fixture
def clock() -> FakeClock:
    """The time, which passes when a test says so."""
    return FakeClock()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits in real time."""

    async def pause(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "pause", pause)
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)


@asynccontextmanager
async def room(folder: Path, engine: FakeContainerEngine, clock: FakeClock, *more: type[Plugin]) -> AsyncIterator[Room]:
    """A room on that folder and engine, once the lamp is on or off as it is wanted."""
    (folder / "data" / "lamp" / "data").mkdir(parents=True, exist_ok=True)
    plugins = [FakeEnginePlugin.serving(engine), LampPlugin, *more]
    async with running_system(folder, plugins=plugins, clock=clock) as system:
        here = Room(system, engine)
        await here.comes_true("lamp looked at", lambda: here.containers.observation.state("lamp") != "unknown")
        yield here


@pytest.fixture
async def here(tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock) -> AsyncIterator[Room]:
    """A room with a lamp that is on."""
    async with room(tmp_path, engine, clock) as made:
        made.value.write_text("41")
        yield made


def starts(engine: FakeContainerEngine) -> list[str]:
    """What was started, in order."""
    return [name for verb, name in engine.calls if verb == "start"]


def complain(here: Room, complaint: str | None) -> None:
    """Let the lamp's probe say that from now on."""
    plugin = here.system.plugins._lives["lamp"].plugin
    assert isinstance(plugin, LampPlugin)
    plugin.complaint = complaint


async def test_what_is_desired_is_fetched_and_started_one_after_what_it_needs(
    here: Room, engine: FakeContainerEngine
) -> None:
    assert starts(engine) == ["hassio_socket", "hassio_lamp"]
    assert here.containers.observation.state("socket") is ContainerState.STARTED


async def test_what_runs_is_kept_and_what_was_stopped_stays_so_over_a_restart(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    async with room(tmp_path, engine, clock) as here:
        before = await here.shown("socket")
        await here.run(JOBS.stop(name="lamp"))
    async with room(tmp_path, engine, clock) as here:
        lamp = await here.shown()

        assert await here.shown("socket") == before
        assert lamp is not None
        assert lamp.status is ContainerStatus.EXITED
        assert (await here.kept()).desired is Desired.STOPPED
        assert here.containers.observation.state("lamp") is ContainerState.STOPPED


async def test_token_is_its_containers_own_and_ends_with_it(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    async with room(tmp_path, engine, clock) as here:
        given = engine.spec("hassio_lamp").environment["SUPERVISOR_TOKEN"]
        made = here.system.tokens.known("lamp", "lamp")
        label = engine.spec("hassio_lamp").labels["io.rooftree.token"]
    async with room(tmp_path, engine, clock) as here:
        adopted = here.system.tokens.known("lamp", "lamp")
        whereabouts = here.containers.observation.whereabouts
        await whereabouts.look("lamp")
        lamp = await here.shown()
        assert lamp is not None
        admitted = whereabouts.admits("lamp", lamp.ip_address), whereabouts.admits("lamp", "172.30.33.250")
        await here.run(JOBS.stop(name="lamp"))
        stopped = here.system.tokens.known("lamp", "lamp")

    assert given
    assert set(made) == set(adopted) == {label}
    assert admitted == (True, False)
    assert stopped == {}


async def test_what_crashes_is_brought_back_and_everybody_is_told(here: Room, engine: FakeContainerEngine) -> None:
    states: list[str] = []
    here.system.bus.subscribe(ManagedStateChanged, lambda event: states.append(event.state), "test")

    engine.crash("hassio_lamp")
    await here.until_state(ContainerState.STARTED)

    assert states[0] == "error"
    assert states[-1] == "started"


async def test_what_cannot_be_brought_back_is_a_problem_in_its_own_words(
    here: Room, engine: FakeContainerEngine
) -> None:
    engine.images["registry.example/lamp:1.0"] = FakeImage(exit_code=1)

    engine.crash("hassio_lamp")
    await here.comes_true("the end of the tries", lambda: here.problem("watchdog_gave_up") is not None)

    assert (here.problem("watchdog_gave_up") or "").startswith(
        "The lamp keeps failing; the watchdog has given up. Its log says why; the end of it, from the last failure, is"
    )


async def test_second_complaint_of_the_probe_is_a_restart(here: Room) -> None:
    before = await here.shown()
    complain(here, "it flickers")
    await here.containers.watchdog.ask()
    after_one = await here.shown()
    await here.containers.watchdog.ask()
    await here.comes_true("a restart", lambda: not here.containers.watchdog.restarting)
    after_two = await here.shown()

    assert before is not None
    assert after_one == before
    assert after_two is not None
    assert after_two.id != before.id


async def test_host_that_ends_ends_it_before_what_it_needs_and_it_is_to_run_again(
    here: Room, engine: FakeContainerEngine
) -> None:
    would_end = here.containers.stages.would_end()
    await here.containers.stages.shut_down()

    assert would_end == ["lamp", "socket"]
    assert [name for verb, name in engine.calls if verb == "stop"] == ["hassio_lamp", "hassio_socket"]
    assert (await here.kept()).desired is Desired.STARTED


async def test_update_that_proves_itself_gives_up_what_it_replaced(
    here: Room, engine: FakeContainerEngine, clock: FakeClock
) -> None:
    await here.run(JOBS.update(name="lamp", **NEWER))
    meanwhile = set(engine.images)
    await here.let_pass(clock, PROBATION)

    assert len(meanwhile) == 4
    assert set(engine.images) == {"registry.example/lamp:2.0", "registry.example/socket:1.0"}
    assert ((await here.kept()).version, (await here.kept()).probation) == ("2.0", None)


@pytest.mark.parametrize("fault", ["it ends", "it does not work"])
async def test_update_that_fails_at_once_is_taken_back_with_its_data_and_says_why(
    here: Room, engine: FakeContainerEngine, fault: str
) -> None:
    told: list[UpdateTakenBack] = []
    here.system.bus.subscribe(UpdateTakenBack, told.append, "test")
    if fault == "it ends":
        engine.publish_image("registry.example/lamp:2.0", FakeImage(exit_code=3))
    else:
        complain(here, "it gives no light")

    with pytest.raises(UpdateRolledBack) as failure:
        await here.run(JOBS.update(name="lamp", **NEWER))
    await here.system.bus.drained()

    assert failure.value.status == 400
    state, lamp, problem = await here.kept(), await here.shown(), here.problem("update_rolled_back")
    assert (state.version, state.failed_version, state.probation) == ("1.0", "2.0", None)
    assert lamp is not None
    assert (lamp.image, lamp.status) == ("registry.example/lamp:1.0", ContainerStatus.RUNNING)
    assert problem is not None
    assert problem.startswith("Version 2.0 of the lamp does not work here: it ")
    assert [(event.what.version, event.what.back_to) for event in told] == [("2.0", "1.0")]
    assert here.value.read_text() == "41"
    assert (here.system.data.path / told[0].what.set_aside / "data" / "value").read_text() == "41"


@pytest.mark.parametrize("fault", ["it ends", "it does not work", "it does not work in the end"])
async def test_version_that_fails_on_probation_is_rolled_back_with_the_data_it_had(
    here: Room, engine: FakeContainerEngine, clock: FakeClock, fault: str
) -> None:
    await here.run(JOBS.update(name="lamp", **NEWER))
    here.value.write_text("broken")

    if fault == "it ends":
        engine.crash("hassio_lamp", 9)
        await here.let_pass(clock, timedelta(seconds=SUSPECT_S))
    elif fault == "it does not work":
        complain(here, "it gives no light")
        await here.let_pass(clock, 2 * watchdog.ASK_EVERY)
    else:
        await here.let_pass(clock, PROBATION - timedelta(seconds=1))
        complain(here, "it gives no light")
        await here.let_pass(clock, timedelta(seconds=1))
    await here.comes_true("the way back", lambda: here.problem("update_rolled_back") is not None)

    assert (await here.kept()).version == "1.0"
    assert here.value.read_text() == "41"
    assert here.containers.observation.state("lamp") is ContainerState.STARTED


async def test_update_that_is_interrupted_blames_nobody(here: Room, engine: FakeContainerEngine) -> None:
    engine.fail("start", EngineDiskFull("There is no space left"))

    with pytest.raises(EngineDiskFull):
        await here.run(JOBS.update(name="lamp", **NEWER))

    state = await here.kept()
    assert (state.version, state.failed_version, state.probation) == ("1.0", None, None)
    assert here.problem("update_rolled_back") is None
    assert not list((here.system.data.path / "lamp" / "kept").rglob("value"))


class WallpaperPlugin(Plugin):
    """Has something shown to every container."""

    name = "wallpaper"

    @hookimpl
    def container_spec(self, owner: hooks.ContainerOwner, draft: ContainerSpec) -> hooks.ContainerAdditions:
        """A folder of its own."""
        return hooks.ContainerAdditions(mounts=(Mount(DataPath("wallpaper"), "/wallpaper"),))


@pytest.mark.parametrize("call", [JOBS.restart(name="lamp"), JOBS.update(name="lamp", **NEWER)])
async def test_nothing_is_stopped_while_what_another_domain_shows_to_it_is_missing(
    tmp_path: Path, engine: FakeContainerEngine, clock: FakeClock, call: JobCall[None]
) -> None:
    (tmp_path / "data" / "wallpaper").mkdir(parents=True)
    async with room(tmp_path, engine, clock, WallpaperPlugin) as here:
        before = await here.shown()
        (tmp_path / "data" / "wallpaper").rmdir()

        with pytest.raises(MountSourceMissing, match="The lamp is to be shown wallpaper"):
            await here.run(call)

        assert await here.shown() == before
        assert before is not None
        assert before.status is ContainerStatus.RUNNING
