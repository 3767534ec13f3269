"""A job that is cancelled ends and takes back what it had done, wherever it is; unless it can only go forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree import Conflict, Failed, JobCancelled, Jobs, NotFound, NotReady, Step, Steps, Unavailable, job, step
from rooftree.jobs.journal import Journal
from rooftree.jobs.phases import Phase
from rooftree.plugins import plugins
from rooftree.process.system import System
from rooftree.testing import running_system
from tests.kernel.world import (
    BEFORE,
    NAMES,
    Burn,
    Put,
    World,
    Worldly,
    put,
    put_forward,
    stopped_amid,
    until,
)


@step("test_job_cancel.linger/1")
class Linger(Step):
    """Takes its time, and may be interrupted."""

    name: str
    interruptible = True

    async def do(self, world: World) -> None:
        world.things[self.name] = "half"
        try:
            await world.reach(f"linger {self.name}")
        finally:
            world.happened.append(f"left {self.name}")
        world.things[self.name] = "new"

    async def undo(self, _: None, world: World) -> None:
        await world.reach(f"undo {self.name}")
        world.things.pop(self.name, None)


@job("linger")
async def linger(world: World) -> Steps:
    return [Put("one"), Linger("two"), Put("three")]


@job("burn_last")
async def burn_last() -> Steps:
    return [Put("one"), Burn("old")]


@job("burn_only", recovery="forward")
async def burn_only() -> Steps:
    return [Burn("old")]


def held(world: World, place: str) -> asyncio.Event:
    """The gate at which a job will wait."""
    world.gates[place] = asyncio.Event()
    return world.gates[place]


async def cancel_the_only_one(jobs: Jobs) -> str:
    """Cancel the one job that is open; its id."""
    (running,) = (info for info in jobs.listing() if not info.done)
    await jobs.cancel(running.uuid)
    return running.uuid


@pytest.mark.parametrize("place", [f"{verb} {name}" for verb in ("before", "do", "half") for name in NAMES])
async def test_job_that_is_cancelled_takes_back_its_steps(system: System, world: World, place: str) -> None:
    gate = held(world, place)
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached(place)

    job_id = await cancel_the_only_one(system.jobs)
    gate.set()

    with pytest.raises(JobCancelled, match="put was cancelled by Rooftree; what it had done is taken back") as told:
        await call
    assert (told.value.job_id, told.value.status, told.value.error_key) == (job_id, 409, "job_cancelled_error")
    assert world.things == BEFORE
    (info,) = system.jobs.listing()
    assert (info.uuid, info.done, [error.error_key for error in info.errors]) == (job_id, True, ["job_cancelled_error"])
    last = NAMES.index(place.partition(" ")[2])
    assert [each for each in world.happened if each.startswith("before")] == [f"before {n}" for n in NAMES[: last + 1]]
    async with asyncio.timeout(5):
        await system.jobs.run(put(name="x"))


async def test_job_that_waits_for_its_turn_ends_at_once(system: System, world: World) -> None:
    gate = held(world, "do one")
    first = asyncio.create_task(system.jobs.run(put(name="x", names=("one",))))
    await world.reached("do one")
    second = asyncio.create_task(system.jobs.run(put(name="x", names=("two",))))
    await until(lambda: len(system.jobs.listing()) == 2)
    third = asyncio.create_task(system.jobs.run(put(name="x", names=("three",))))
    await until(lambda: len(system.jobs.listing()) == 3)

    await system.jobs.cancel(system.jobs.listing()[1].uuid)

    with pytest.raises(JobCancelled, match="it had not begun"):
        await second
    assert len(system.jobs.listing()) == 2, "it was never accepted: there is nothing to remember"
    gate.set()
    await asyncio.gather(first, third)
    assert (world.things.get("two"), world.things["three"]) == (None, "new")


async def test_job_whose_plan_is_being_made_ends_at_once(system: System, world: World) -> None:
    held(world, "plan")
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("plan")

    await cancel_the_only_one(system.jobs)

    with pytest.raises(JobCancelled, match="it had not begun"):
        await call
    assert world.happened == ["plan"]
    assert await Journal(system.database).open_jobs() == []
    world.gates.clear()
    await system.jobs.run(put(name="x"))


async def test_interruptible_step_is_left_in_the_middle_and_undone(system: System, world: World) -> None:
    held(world, "linger two")
    call = asyncio.create_task(system.jobs.run(linger()))
    await world.reached("linger two")

    await cancel_the_only_one(system.jobs)

    with pytest.raises(JobCancelled):
        await call
    assert world.things == BEFORE
    assert world.happened[-3:] == ["left two", "undo two", "undo one"]


async def test_error_of_a_step_on_its_way_out_is_told_beside_the_cancellation(system: System, world: World) -> None:
    gate = held(world, "half old")
    world.errors["half old"] = [Failed("It broke anyhow")]
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("half old")

    await cancel_the_only_one(system.jobs)
    gate.set()

    with pytest.raises(Failed, match="broke anyhow"):
        await call
    assert [error.type for error in system.jobs.listing()[0].errors] == ["Failed", "JobCancelled"]
    assert world.things == BEFORE


async def test_cancelled_before_what_cannot_be_taken_back_it_is_not_done(system: System, world: World) -> None:
    @step("test_job_cancel.burn_after_a_look/1")
    class BurnAfterALook(Burn):
        """Looks first."""

        name: str

        async def before(self, world: World) -> None:
            await world.reach("looks")

    @job("look_and_burn")
    async def look_and_burn() -> Steps:
        return [Put("one"), BurnAfterALook("old")]

    gate = held(world, "looks")
    call = asyncio.create_task(system.jobs.run(look_and_burn()))
    await world.reached("looks")

    job_id = await cancel_the_only_one(system.jobs)
    gate.set()

    with pytest.raises(JobCancelled):
        await call
    assert world.things == BEFORE
    assert "burn old" not in world.happened
    rows = await system.audit.page(job=job_id)
    assert BurnAfterALook.kind not in {row.what for row in rows}, "nothing was begun, and nothing is told of it"


@pytest.mark.parametrize("place", ["burn old", "burnt old"])
async def test_job_past_the_point_of_no_return_cannot_be_cancelled(system: System, world: World, place: str) -> None:
    gate = held(world, place)
    call = asyncio.create_task(system.jobs.run(burn_last()))
    await world.reached(place)

    with pytest.raises(Conflict, match="can only go on to its end"):
        await cancel_the_only_one(system.jobs)

    gate.set()
    assert await call is None
    assert world.things == {"one": "new"}


async def test_job_that_is_being_taken_back_cannot_be_cancelled(system: System, world: World) -> None:
    world.errors["half three"] = [Failed("It does not fit")]
    gate = held(world, "undo old")
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("undo old")

    with pytest.raises(Conflict, match="is being taken back already"):
        await cancel_the_only_one(system.jobs)

    gate.set()
    with pytest.raises(Failed):
        await call


async def test_job_that_has_ended_or_never_was_cannot_be_cancelled(system: System, world: World) -> None:
    started = await system.jobs.run(put(name="x").in_background())
    assert started is not None
    await until(lambda: all(info.done for info in system.jobs.listing()))
    await system.jobs.forget(started.job_id)

    with pytest.raises(Conflict, match="has ended already"):
        await system.jobs.cancel(started.job_id)
    with pytest.raises(NotFound):
        await system.jobs.cancel("0" * 32)


async def test_cancelling_twice_is_cancelling_once(system: System, world: World) -> None:
    gate = held(world, "do old")
    started = await system.jobs.run(put(name="x").in_background())
    assert started is not None
    await world.reached("do old")

    await system.jobs.cancel(started.job_id)
    await system.jobs.cancel(started.job_id)
    gate.set()
    await until(lambda: system.jobs.listing()[0].done is True)

    assert len(system.jobs.listing()[0].errors) == 1
    rows = await system.audit.page(job=started.job_id)
    assert [row.outcome for row in rows if row.what == "put"] == ["undone", "cancelled", "begun"]


async def test_cancelling_works_while_the_disk_is_full(
    system: System, world: World, disk: Callable[[str], None]
) -> None:
    gate = held(world, "do old")
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("do old")
    disk("nospace")

    await cancel_the_only_one(system.jobs)
    gate.set()

    with pytest.raises((JobCancelled, Unavailable)):
        await call
    assert world.things == BEFORE


async def test_interrupted_job_that_waits_for_the_engine_can_be_cancelled(tmp_path: Path, world: World) -> None:
    async with stopped_amid(tmp_path, world, "half old", put_forward):
        world.errors["do old"] = [Unavailable("The engine is away")] * 100_000
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await until(lambda: world.happened.count("do old") > 2)
            assert system.jobs.listing()[0].stage == "waiting"

            await cancel_the_only_one(system.jobs)
            await until(lambda: system.jobs.listing()[0].done is True)

            assert world.things == BEFORE
            assert [error.type for error in system.jobs.listing()[0].errors] == ["JobCancelled"]


async def test_job_of_a_stopped_plugin_cannot_be_cancelled_until_that_runs(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.05)
    held(world, "half old")
    call = asyncio.create_task(system.jobs.run(put_forward()))
    await world.reached("half old")
    await system.plugins.disable("worldly")
    with pytest.raises(NotReady, match="goes on when it runs again"):
        await call

    with pytest.raises(Conflict, match="waits for its plugin"):
        await cancel_the_only_one(system.jobs)

    world.happened.clear()
    await system.plugins.enable("worldly")
    await world.reached("half old")
    job_id = await cancel_the_only_one(system.jobs)
    world.gates["half old"].set()
    await until(lambda: system.jobs.listing()[0].done is True)
    assert (system.jobs.listing()[0].uuid, world.things) == (job_id, BEFORE)


async def test_cancelled_job_that_would_go_forward_goes_back_after_a_stop(tmp_path: Path, world: World) -> None:
    gate = held(world, "half old")
    async with running_system(tmp_path, plugins=[Worldly], settings={"kernel.stop_timeout_s": 0.1}) as system:
        call = asyncio.create_task(system.jobs.run(put_forward()))
        await world.reached("half old")
        job_id = await cancel_the_only_one(system.jobs)
        assert (await Journal(system.database).open_jobs())[0].phase is Phase.UNDOING
    assert not gate.is_set()
    with pytest.raises(Unavailable):
        await call
    world.gates.clear()

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)

        assert world.things == BEFORE
        (info,) = system.jobs.listing()
        assert (info.uuid, [error.type for error in info.errors]) == (job_id, ["JobCancelled"])


async def test_job_that_is_not_cancelled_is_done(system: System, world: World) -> None:
    await system.jobs.run(burn_only())
    await system.jobs.run(linger())

    assert world.things == {"one": "new", "two": "new", "three": "new"}
