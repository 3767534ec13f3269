"""Jobs whose journal cannot be written."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree import (
    RooftreeError,
    Unavailable,
)
from rooftree.jobs.journal import Journal
from rooftree.process.system import System
from rooftree.testing import running_system
from tests.kernel.world import (
    AFTER,
    BEFORE,
    World,
    Worldly,
    put,
    until,
)


@pytest.mark.parametrize("action", ["nospace", "raise"])
async def test_job_that_cannot_be_journaled_is_refused_and_changes_nothing(
    system: System, world: World, disk: Callable[[str], None], action: str
) -> None:
    disk(action)

    with pytest.raises(Unavailable) as refused:
        await system.jobs.run(put(name="x"))

    assert refused.value.error_key == "state_unwritable_error"
    assert world.things == BEFORE
    disk("")
    await system.jobs.run(put(name="x"))
    assert world.things == AFTER


@pytest.mark.parametrize("commit", range(2, 9))
async def test_journal_that_becomes_unwritable_on_the_way_leaves_the_world_before_or_after(
    tmp_path: Path, world: World, disk: Callable[[str], None], commit: int
) -> None:
    """Commit 1 accepts the job; 2 to 7 begin and end its three steps; 8 ends it."""
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        disk(f"nospace@{commit}")
        try:
            await system.jobs.run(put(name="x"))
        except Unavailable:
            assert world.things == BEFORE
            assert commit < 8
        else:
            assert world.things == AFTER
            assert commit == 8
        then = dict(world.things)
        disk("")

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: all(info.done for info in system.jobs.listing()))
        assert world.things == then, "the next start took back or repeated what its caller had been told"


async def test_job_that_ended_on_a_full_disk_is_not_taken_back_over_a_later_one(
    tmp_path: Path, world: World, disk: Callable[[str], None]
) -> None:
    world.gates["half one"] = asyncio.Event()
    world.errors["half one"] = [OSError(errno.ENOSPC, "No space left on device")]
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        failing = asyncio.create_task(system.jobs.run(put(name="x")))
        await world.reached("half one")
        disk("nospace")
        world.gates["half one"].set()
        with pytest.raises(RooftreeError, match="no space left"):
            await failing
        assert world.things == BEFORE
        disk("")
        world.gates["do three"] = asyncio.Event()
        later = asyncio.create_task(system.jobs.run(put(name="x")))
        await world.reached("do three")
        assert len(await Journal(system.database).open_jobs()) == 1, "a kill now would take back both jobs"
        world.gates["do three"].set()
        await later
        assert world.things == AFTER

    world.happened.clear()
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: all(info.done for info in system.jobs.listing()))
        assert world.things == AFTER
        assert world.happened == []
