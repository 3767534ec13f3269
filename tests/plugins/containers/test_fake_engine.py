"""The fake container engine keeps the promises that the real drivers keep, and does what tests tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rooftree.events.bus import Event
from rooftree.interfaces.containers import (
    CONTAINER_ENGINE,
    ContainerChanged,
    ContainerSpec,
    DataPath,
    EngineConnected,
    EngineLost,
    EngineRefused,
    EngineUnavailable,
    Health,
    PullFailed,
)
from rooftree.testing import running_system
from rooftree.testing.container_engine_contract import NAME, ContainerEngineContract, Program, World
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin, FakeImage
from tests.rig.files import write_files

PROGRAMS: dict[Program, FakeImage] = {
    "waits": FakeImage(),
    "exits with 5": FakeImage(exit_code=5),
    "prints one two three": FakeImage(prints=("one", "two", "three")),
    "echoes its input": FakeImage(echoes=True),
}


class FakeWorld:
    """A fake engine with an image for each program."""

    published = "registry.example/hello:1"
    unpublished = "registry.example/nothing:1"
    free_port = 8080

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self.engine = FakeContainerEngine(self.events.append, folder)
        self.engine.publish_image(self.published)
        for program, image in PROGRAMS.items():
            self.engine.load_image(program, image)
        self._folder = folder

    def spec(self, program: Program = "waits", **more: Any) -> ContainerSpec:
        """A container of that program."""
        return ContainerSpec(**{"name": NAME, "image": program} | more)

    async def folder(self, files: Mapping[str, str]) -> DataPath:
        """A folder with these files."""
        await asyncio.to_thread(write_files, self._folder, files)
        return DataPath("")

    async def changes(self, count: int) -> list[ContainerChanged]:
        """What was published."""
        found = [event for event in self.events if isinstance(event, ContainerChanged)]
        assert len(found) >= count
        return found

    async def add_stranger(self, name: str) -> None:
        """Somebody else's container."""
        self.engine.add_stranger(name)

    async def go_away(self) -> None:
        """The engine stops."""
        self.engine.go_away()

    async def come_back(self) -> None:
        """It is back."""
        self.engine.come_back()


class TestFakeEngine(ContainerEngineContract):
    """The contract."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        """The world of the fake."""
        return FakeWorld(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> FakeWorld:
    """A fake engine."""
    return FakeWorld(tmp_path)


async def test_call_fails_as_often_as_it_is_told_and_does_nothing(world: FakeWorld) -> None:
    world.engine.fail("create", EngineRefused("no"), times=2)

    for _ in range(2):
        with pytest.raises(EngineRefused, match="no"):
            await world.engine.create(world.spec())
    nothing = await world.engine.containers()
    await world.engine.create(world.spec())

    assert nothing == []
    assert [container.name for container in await world.engine.containers()] == [NAME]


async def test_pull_that_fails_was_under_way_and_brings_nothing(world: FakeWorld) -> None:
    world.engine.fail("pull", PullFailed("broken off"))
    furthest = 0

    with pytest.raises(PullFailed):
        async for progress in world.engine.pull(world.published):
            furthest = progress.done

    assert furthest > 0
    assert world.published not in world.engine.images


async def test_crash_is_told_with_its_exit_code(world: FakeWorld) -> None:
    await world.engine.create(world.spec())
    await world.engine.start(NAME)

    world.engine.crash(NAME, 7)

    assert (await world.changes(2))[-1].exit_code == 7


async def test_health_follows_the_test(world: FakeWorld) -> None:
    world.engine.load_image("checked", FakeImage(health_check=True))
    await world.engine.create(world.spec(image="checked"))
    await world.engine.start(NAME)
    first = await world.engine.container(NAME)

    world.engine.set_health(NAME, Health.UNHEALTHY)

    assert first is not None
    assert first.health is Health.STARTING
    assert (await world.changes(2))[-1].health is Health.UNHEALTHY


async def test_held_call_waits_until_it_is_released(world: FakeWorld) -> None:
    hold = world.engine.hold("create")
    creating = asyncio.create_task(world.engine.create(world.spec()))
    await hold.reached.wait()
    meanwhile = await world.engine.containers()

    hold.release()
    await creating

    assert meanwhile == []
    assert len(await world.engine.containers()) == 1


async def test_absent_engine_tells_nothing_and_ends_followed_logs(world: FakeWorld) -> None:
    await world.engine.create(world.spec())
    await world.engine.start(NAME)
    told = len(await world.changes(1))

    async def follow() -> None:
        async for _ in world.engine.logs(NAME, follow=True):
            pass

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)

    world.engine.go_away("it was stopped")
    world.engine.crash(NAME)

    with pytest.raises(EngineUnavailable, match="it was stopped"):
        await following
    assert len(await world.changes(1)) == told


async def test_host_that_rebooted_comes_back_with_ended_containers(world: FakeWorld) -> None:
    await world.engine.create(world.spec())
    await world.engine.start(NAME)

    world.engine.go_away()
    world.engine.come_back(containers_ended=True)

    container = await world.engine.container(NAME)
    assert container is not None
    assert container.exit_code is not None
    assert isinstance(world.events[-1], EngineConnected)


async def test_plugin_provides_the_engine_and_outlives_no_system(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    engine.load_image("waits")
    async with running_system(tmp_path, plugins=[FakeEnginePlugin.serving(engine)]) as system:
        lost: list[EngineLost] = []
        system.bus.subscribe(EngineLost, lost.append, "test")
        provided = system.services.get(CONTAINER_ENGINE)
        await engine.create(ContainerSpec(name=NAME, image="waits"))
        engine.go_away()
        await system.bus.drained()
    engine.come_back()  # nobody listens

    async with running_system(tmp_path, plugins=[FakeEnginePlugin.serving(engine)]):
        still_there = await engine.container(NAME)

    assert provided is engine
    assert [event.reason for event in lost] == ["it was stopped"]
    assert still_there is not None
