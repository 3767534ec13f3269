"""Jobs inside jobs: planned, locked, done and taken back with their parent, and shown below it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree import Conflict, Failed, JobChanged, JobInfo, Lock, NotFound, Run, Step, Steps, job, step
from rooftree.process.system import System
from rooftree.testing import running_system
from tests.kernel.world import BEFORE, Put, World, Worldly, put, stopped_amid, until


@step("test_job_children.long/1")
class Long(Step):
    """Reports progress, and may be held in the middle."""

    name: str
    weight = 6
    stage = "in the long run"

    async def do(self, run: Run, world: World) -> None:
        for part in (0.25, 0.5, 0.4, 1.0):
            run.progress(part, 1)
            await asyncio.sleep(0)
        await world.reach(f"long {self.name}")

    async def undo(self, _: None) -> None: ...


@job("leaf", reference="name", locks=lambda name: {Lock("thing", name)})
async def leaf(world: World, name: str) -> Steps:
    await world.reach(f"plan {name}")
    return [Put(name)]


@job("branch", reference="name")
async def branch(name: str) -> Steps:
    return [Put(f"{name}-1"), leaf(name=f"{name}-2"), Long(name)]


@job("empty")
async def empty() -> Steps:
    return []


@job("tree")
async def tree() -> Steps:
    return [branch(name="a"), empty(), Put("middle"), branch(name="b")]


@job("pair", locks=lambda first, second: {Lock("thing", first)})
async def pair(first: str, second: str) -> Steps:
    return [Put(first), leaf(name=second)]


ORDER = ["a-1", "a-2", "middle", "b-1", "b-2"]


def outline(info: JobInfo) -> object:
    """Names and references, as they nest."""
    return (info.name, info.reference, [outline(each) for each in info.child_jobs])


TREE = (
    "tree",
    None,
    [
        ("branch", "a", [("leaf", "a-2", [])]),
        ("empty", None, []),
        ("branch", "b", [("leaf", "b-2", [])]),
    ],
)


def everyone(info: JobInfo) -> list[JobInfo]:
    """A job and all below it, in order."""
    return [info, *(below for each in info.child_jobs for below in everyone(each))]


async def test_steps_of_children_are_done_in_their_place(system: System, world: World) -> None:
    await system.jobs.run(tree())

    assert [place[3:] for place in world.happened if place.startswith("do ")] == ORDER


async def test_children_are_shown_below_their_parents_with_their_own_state(system: System, world: World) -> None:
    world.gates["do b-1"] = asyncio.Event()
    started = await system.jobs.run(tree().in_background())
    assert started is not None
    await world.reached("do b-1")

    shown = await system.jobs.get(started.job_id)

    assert outline(shown) == TREE
    a, nothing, b = shown.child_jobs
    assert (a.done, a.progress, a.stage, a.child_jobs[0].done) == (True, 100.0, None, True)
    assert (nothing.done, nothing.progress) == (True, 100.0)
    assert (b.done, b.progress, b.stage) == (False, 0.0, "put")
    assert (b.child_jobs[0].done, b.child_jobs[0].progress, b.child_jobs[0].stage) == (None, 0.0, None)
    assert len({each.uuid for each in everyone(shown)}) == 6
    for each in everyone(shown):
        assert await system.jobs.get(each.uuid) == each
    world.gates["do b-1"].set()
    await until(lambda: system.jobs.listing()[0].done is True)
    assert [(each.done, each.progress) for each in everyone(system.jobs.listing()[0])] == [(True, 100.0)] * 6


async def test_progress_sums_up_the_children_and_runs_backwards_nowhere(system: System, world: World) -> None:
    seen = list[JobInfo]()
    system.bus.subscribe(JobChanged, lambda event: seen.append(event.job), "test")

    await system.jobs.run(tree())
    await system.bus.drained()

    courses = zip(*([each.progress for each in everyone(info)] for info in seen), strict=True)
    for course in courses:
        assert list(course) == sorted(course)
        assert course[-1] == 100.0
    halfway = next(info for info in seen if info.child_jobs[2].done is False)
    assert halfway.progress == round(100 * 12 / 22, 1), "a branch weighs 2 + 2 + 6, what is between them 2"


async def test_job_does_not_begin_before_its_children_may(system: System, world: World) -> None:
    world.gates["half b-2"] = asyncio.Event()
    holder = asyncio.create_task(system.jobs.run(leaf(name="b-2")))
    await world.reached("half b-2")

    whole = asyncio.create_task(system.jobs.run(tree()))
    await until(lambda: world.happened.count("plan b-2") == 2)
    await asyncio.sleep(0.01)
    assert "before a-1" not in world.happened

    world.gates["half b-2"].set()
    await asyncio.gather(holder, whole)
    assert world.things["b-2"] == "new"


async def test_children_that_want_each_others_things_do_not_wait_for_ever(system: System, world: World) -> None:
    async with asyncio.timeout(5):
        await asyncio.gather(
            *(system.jobs.run(pair(first="x", second="y")) for _ in range(5)),
            *(system.jobs.run(pair(first="y", second="x")) for _ in range(5)),
        )

    assert len([place for place in world.happened if place.startswith("do ")]) == 20


async def test_child_that_fails_takes_the_whole_job_back(system: System, world: World) -> None:
    world.errors["half b-2"] = [Conflict("It does not fit", thing="b-2")]

    with pytest.raises(Conflict, match="It does not fit"):
        await system.jobs.run(tree())

    assert world.things == BEFORE
    assert [place[5:] for place in world.happened if place.startswith("undo")] == ORDER[::-1]
    (root,) = system.jobs.listing()
    told = {(each.name, each.reference): [error.message for error in each.errors] for each in everyone(root)}
    fits = ["It does not fit"]
    assert told == {
        ("tree", None): fits,
        ("branch", "a"): [],
        ("leaf", "a-2"): [],
        ("empty", None): [],
        ("branch", "b"): fits,
        ("leaf", "b-2"): fits,
    }
    error = root.child_jobs[2].child_jobs[0].errors[0]
    assert (error.type, error.stage, error.extra_fields) == ("Conflict", "put", {"thing": "b-2"})


async def test_what_a_childs_plan_refuses_refuses_the_whole_job(system: System, world: World) -> None:
    world.errors["plan b-2"] = [Conflict("There is one already")]

    with pytest.raises(Conflict, match="There is one already"):
        await system.jobs.run(tree())

    assert world.things == BEFORE
    assert not [place for place in world.happened if place.startswith("before")]
    assert system.jobs.listing() == []
    assert await system.jobs.run(put(name="b-2")) is None


async def test_child_is_not_cancelled_alone(system: System, world: World) -> None:
    world.gates["half a-2"] = asyncio.Event()
    call = asyncio.create_task(system.jobs.run(tree()))
    await world.reached("half a-2")
    (root,) = system.jobs.listing()

    with pytest.raises(Conflict, match=rf"is a part of tree \({root.uuid}\); cancel that"):
        await system.jobs.cancel(root.child_jobs[0].child_jobs[0].uuid)

    world.gates["half a-2"].set()
    await call


async def test_children_can_still_be_asked_for_after_the_end_and_a_restart(tmp_path: Path, world: World) -> None:
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        started = await system.jobs.run(tree().in_background())
        assert started is not None
        await until(lambda: system.jobs.listing()[0].done is True)
        ended = system.jobs.listing()[0]

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        assert system.jobs.listing() == [ended]
        await system.jobs.forget(ended.uuid)
        for each in everyone(ended):
            assert await system.jobs.get(each.uuid) == each
        with pytest.raises(NotFound):
            await system.jobs.get("0" * 32)


@pytest.mark.parametrize("place", ["do a-2", "half a-2", "do middle", "half b-2"])
async def test_interrupted_children_are_taken_back_and_keep_their_ids(tmp_path: Path, world: World, place: str) -> None:
    world.gates[place] = asyncio.Event()
    async with running_system(tmp_path, plugins=[Worldly], settings={"kernel.stop_timeout_s": 0.1}) as system:
        await system.jobs.run(tree().in_background())
        await world.reached(place)
        before = [each.uuid for each in everyone(system.jobs.listing()[0])]
    world.gates.clear()

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)

        (info,) = system.jobs.listing()
        assert world.things == BEFORE
        assert outline(info) == TREE
        assert [each.uuid for each in everyone(info)] == before
        assert [error.error_key for error in info.errors] == ["job_interrupted_error"]


async def test_interrupted_job_holds_what_its_children_hold(tmp_path: Path, world: World) -> None:
    async with stopped_amid(tmp_path, world, "do a-1", tree):
        world.gates["undo a-1"] = asyncio.Event()
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await world.reached("undo a-1")
            wants_the_same = asyncio.create_task(system.jobs.run(leaf(name="b-2")))
            await system.jobs.run(leaf(name="other"))
            assert "plan b-2" not in world.happened

            world.gates["undo a-1"].set()
            await wants_the_same


@step("test_job_children.do_without/1")
class DoWithout(Step):
    """Goes on without a part."""

    name: str

    async def do(self, run: Run) -> None:
        run.note(Failed(f"There is no {self.name}", missing=self.name))


@job("modest", reference="name")
async def modest(name: str) -> Steps:
    return [DoWithout(name)]


@job("modest_pair")
async def modest_pair() -> Steps:
    return [modest(name="salt"), modest(name="pepper")]


@job("modest_meal")
async def modest_meal() -> Steps:
    return [modest_pair(), DoWithout("wine"), only_modest()]


@job("only_modest")
async def only_modest() -> Steps:
    return [modest(name="bread")]


async def test_what_a_step_does_without_is_an_error_of_the_job_that_it_belongs_to_and_of_no_other(
    tmp_path: Path, world: World
) -> None:
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        started = await system.jobs.run(modest_meal().in_background())
        await until(lambda: system.jobs.listing()[0].done is True)
        ended = await system.jobs.get(started.job_id)

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        for shown in (ended, await system.jobs.get(started.job_id)):
            errors = [(each.name, each.reference, [error.message for error in each.errors]) for each in everyone(shown)]
            assert errors == [
                ("modest_meal", None, ["There is no wine"]),
                ("modest_pair", None, []),
                ("modest", "salt", ["There is no salt"]),
                ("modest", "pepper", ["There is no pepper"]),
                ("only_modest", None, []),
                ("modest", "bread", ["There is no bread"]),
            ]
            assert (shown.done, shown.progress) == (True, 100.0)
            assert shown.child_jobs[0].child_jobs[0].errors[0].extra_fields == {"missing": "salt"}
