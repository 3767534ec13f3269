"""``check_step`` finds steps that a failure or a kill would leave by half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from rooftree import Plugin, Run, Service, Step, step
from rooftree.testing import System, check_step, running_system


class Shelf:
    """What the steps change."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.opened = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[str]]:
        """Takes time to open, and to close."""
        self.opened += 1
        try:
            await asyncio.sleep(0)
            yield self.things
        finally:
            self.opened -= 1
            await asyncio.sleep(0)


SHELF = Service[Shelf]("shelf/1")


class ShelfPlugin(Plugin):
    name = "shelf"
    provides = (SHELF,)

    async def setup(self, kernel) -> None:  # type: ignore[no-untyped-def]  # as authors may write it
        kernel.provide(SHELF, Shelf())


@step("shelf.sound/1")
class Sound(Step):
    """Put two things on the shelf, one after the other."""

    first: str
    second: str
    cut_at: ClassVar[set[int]] = set()

    async def before(self, shelf: Shelf) -> list[str]:
        return list(shelf.things)

    async def do(self, run: Run, shelf: Shelf) -> int:
        """Of any half of it, all is seen by undo."""
        for thing in (self.first, self.second):
            self.cut_at.add(len(shelf.things))
            if thing not in shelf.things:
                async with shelf.open() as things:
                    things.append(thing)
            run.progress(len(shelf.things), 2)
        return len(shelf.things)

    async def undo(self, before: list[str], shelf: Shelf) -> None:
        shelf.things[:] = before


@step("shelf.forgets_the_half/1")
class ForgetsTheHalf(Sound):
    async def undo(self, before: list[str], shelf: Shelf) -> None:
        if len(shelf.things) == 2:
            shelf.things[:] = before


@step("shelf.undoes_once/1")
class UndoesOnce(Sound):
    async def undo(self, before: list[str], shelf: Shelf) -> None:
        shelf.things.extend(["broken"] if shelf.things == before else [])
        shelf.things[:] = [thing for thing in shelf.things if thing not in (self.first, self.second)]


@step("shelf.twice/1")
class Twice(Step):
    thing: str

    async def do(self, shelf: Shelf) -> None:
        shelf.things.append(self.thing)


@step("shelf.after/1")
class After(Step):
    async def do(self, run: Run, shelf: Shelf) -> int:
        shelf.things[:] = [f"thing {run.result(Sound, int)} of {run.job_id}"]
        return len(shelf.things)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[ShelfPlugin]) as running:
        yield running


async def test_sound_step_passes_and_is_done_in_the_end(system: System) -> None:
    shelf = system.services.get(SHELF)
    Sound.cut_at.clear()

    result = await check_step(system, Sound("cup", "plate"), lambda: list(shelf.things))

    assert (result, shelf.things, shelf.opened) == (2, ["cup", "plate"], 0)
    assert Sound.cut_at == {0, 1, 2}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ForgetsTheHalf("cup", "plate"), r"undo after do up to its wait number 2: \[\] has become \['cup'\]"),
        (UndoesOnce("cup", "plate"), r"undo after none of do: \[\] has become \['broken'\]"),
        (Twice("cup"), r"do is not safe to repeat: \['cup'\] has become \['cup', 'cup'\]"),
    ],
)
async def test_step_that_a_failure_would_leave_by_half_is_told_of(system: System, wrong: Step, message: str) -> None:
    shelf = system.services.get(SHELF)

    async def look() -> list[str]:
        return list(shelf.things)

    with pytest.raises(AssertionError, match=message):
        await check_step(system, wrong, look)


async def test_results_of_earlier_steps_are_what_the_test_says(system: System) -> None:
    shelf = system.services.get(SHELF)

    result = await check_step(system, After(), lambda: list(shelf.things), results={Sound: 7})

    assert (result, shelf.things) == (1, ["thing 7 of trial"])


async def test_cancellation_of_the_test_itself_is_not_swallowed(system: System) -> None:
    shelf = system.services.get(SHELF)

    async def hang() -> None:
        await check_step(system, Sound("cup", "plate"), lambda: list(shelf.things))
        raise AssertionError("it was not cancelled")

    trying = asyncio.create_task(hang())
    await asyncio.sleep(0)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
