"""A world that jobs change: the test says where its steps fail or wait, and sees what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from rooftree import (
    PUBLIC,
    JobCall,
    JobStarted,
    Kernel,
    Lock,
    NotReady,
    Plugin,
    Routes,
    Run,
    Service,
    Step,
    Steps,
    job,
    step,
)
from rooftree.testing import running_system


class World:
    """What steps change. The test says where they fail or wait."""

    def __init__(self) -> None:
        self.things: dict[str, str] = {"old": "there before"}
        self.happened: list[str] = []
        self.errors: dict[str, list[Exception]] = {}
        self.gates: dict[str, asyncio.Event] = {}

    async def reach(self, place: str) -> None:
        self.happened.append(place)
        if place in self.gates:
            await self.gates[place].wait()
        if self.errors.get(place):
            raise self.errors[place].pop(0)

    async def reached(self, place: str) -> None:
        async with asyncio.timeout(5):
            while place not in self.happened:
                await asyncio.sleep(0.001)


WORLD = Service[World]("world/1")


@frozen
class Found:
    value: str | None


@step("world.put/1")
class Put(Step):
    """Puts a thing into the world."""

    name: str
    weight = 2

    async def before(self, world: World) -> Found:
        await world.reach(f"before {self.name}")
        return Found(world.things.get(self.name))

    async def do(self, run: Run, world: World) -> dict[str, int]:
        await world.reach(f"do {self.name}")
        world.things[self.name] = "half"
        await world.reach(f"half {self.name}")
        world.things[self.name] = "new"
        return {"length": len(self.name)}

    async def undo(self, before: Found, world: World) -> None:
        await world.reach(f"undo {self.name}")
        if before.value is None:
            world.things.pop(self.name, None)
        else:
            world.things[self.name] = before.value


@step("world.say/1")
class Say(Step):
    """Can't be taken back, and uses an earlier step's result."""

    text: str
    stage = "saying"

    async def do(self, run: Run, world: World) -> None:
        length = run.result(Put, dict[str, int])["length"]
        world.happened.append(f"say {self.text} {length}")


@step("world.recall/1")
class Recall(Step):
    """Changes nothing, and says what it saw when it was begun."""

    name: str

    async def before(self, world: World) -> Found:
        return Found(world.things.get(self.name))

    async def do(self, run: Run, world: World) -> None:
        world.things[self.name] = "gone on"
        world.happened.append(f"recall {run.before(Found).value}")


@step("world.advance/1")
class Advance(Step):
    """Reports progress."""

    parts: tuple[float, ...]

    async def do(self, run: Run, world: World) -> None:
        for part in self.parts:
            run.progress(part, 1.0)
            await asyncio.sleep(0)


@step("world.burn/1")
class Burn(Step):
    """Can't be taken back."""

    name: str

    async def do(self, world: World) -> None:
        await world.reach(f"burn {self.name}")
        world.things.pop(self.name, None)
        await world.reach(f"burnt {self.name}")


@step("world.sweep/1")
class Sweep(Step):
    """Only tidies up."""

    tidies = True

    async def do(self, world: World) -> None:
        await world.reach("sweep")


class Nowhere:
    """A service that nobody provides."""


@step("world.lost/1")
class Lost(Step):
    """Needs a service that nobody provides."""

    async def do(self, nowhere: Nowhere) -> None: ...


NAMES = ("one", "old", "three")


@job("put", reference="name", locks=lambda name, **_: {Lock("thing", name)})
async def put(world: World, name: str, names: tuple[str, ...] = NAMES) -> Steps:
    await world.reach("plan")
    return [Put(each) for each in names]


@job("put_forward", locks=lambda: {Lock("thing", "all")}, recovery="forward")
async def put_forward(world: World) -> Steps:
    return [Put(each) for each in NAMES]


@job("sweep_forward", recovery="forward")
async def sweep_forward(world: World) -> Steps:
    return [Put("one"), Sweep()]


@job("say")
async def say(world: World) -> Steps:
    return [Put("one"), Put("three"), Say("hello")]


@job("recall")
async def recall(world: World) -> Steps:
    return [Recall("old")]


@job("lost")
async def lost(world: World) -> Steps:
    return [Put("one"), Lost()]


@job("advance")
async def advance(world: World, parts: tuple[float, ...]) -> Steps:
    return [Put("one"), Advance(parts), Put("three")]


@job("burn")
async def burn(world: World) -> Steps:
    return [Put("one"), Burn("old"), Put("three")]


@job("sweep")
async def sweep(world: World) -> Steps:
    return [Put("one"), Sweep(), Put("three")]


@job("nothing")
async def nothing() -> Steps:
    return []


routes = Routes()


@routes.post("/put", access=PUBLIC)
def put_by_call(background: bool = False) -> JobCall[JobStarted | None]:
    return put(name="x").in_background(background)


class Worldly(Plugin):
    name = "worldly"
    provides = (WORLD,)
    world: World | None = None

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        type(self).world = type(self).world or World()
        kernel.provide(WORLD, type(self).world)


BEFORE = {"old": "there before"}
AFTER = {"one": "new", "old": "new", "three": "new"}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def stopped_amid(
    tmp_path: Path, world: World, place: str, kind: Any, **arguments: Any
) -> AsyncIterator[Exception]:
    """A system that was stopped while a job was at ``place``; gives what its caller was told."""
    world.gates[place] = asyncio.Event()
    async with running_system(tmp_path, plugins=[Worldly], settings={"kernel.stop_timeout_s": 0.1}) as system:
        call = asyncio.create_task(system.jobs.run(kind(**arguments)))
        await world.reached(place)
    with pytest.raises(NotReady) as told:
        await call
    world.gates.clear()
    world.happened.clear()
    yield told.value
