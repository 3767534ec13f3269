"""Jobs: planned, journaled, done or taken back, and never lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree import Conflict, Failed, Invalid, JobChanged, JobInfo, NotFound, RooftreeError, Unavailable
from rooftree.jobs import listing as job_list
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from tests.kernel.world import (
    AFTER,
    BEFORE,
    NAMES,
    World,
    Worldly,
    advance,
    burn,
    lost,
    nothing,
    put,
    recall,
    say,
    sweep,
    until,
)


async def test_steps_are_done_in_order_and_the_call_returns_at_the_end(system: System, world: World) -> None:
    assert await system.jobs.run(put(name="x")) is None

    assert world.things == AFTER
    assert [place for place in world.happened if not place.startswith("half")] == [
        "plan",
        "before one",
        "do one",
        "before old",
        "do old",
        "before three",
        "do three",
    ]
    assert system.jobs.listing() == []


async def test_job_without_steps_is_done_at_once(system: System) -> None:
    assert await system.jobs.run(nothing()) is None


async def test_what_the_plan_refuses_is_raised_as_it_is_and_changes_nothing(system: System, world: World) -> None:
    world.errors["plan"] = [Conflict("There is one already")]

    with pytest.raises(Conflict, match="There is one already") as refused:
        await system.jobs.run(put(name="x"))

    assert refused.value.job_id is None
    assert world.things == BEFORE
    assert world.happened == ["plan"]
    assert system.jobs.listing() == []
    await system.jobs.run(put(name="x"))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("place", [f"{verb} {name}" for verb in ("before", "do", "half") for name in NAMES])
async def test_failure_anywhere_is_taken_back_in_reverse_order(
    system: System, world: World, place: str, background: bool
) -> None:
    world.errors[place] = [Conflict("It does not fit", thing="x")]

    if background:
        started = await system.jobs.run(put(name="x").in_background())
        assert started is not None
        await until(lambda: bool(system.jobs.listing()) and system.jobs.listing()[0].done is True)
    else:
        with pytest.raises(Conflict, match="It does not fit") as failed:
            await system.jobs.run(put(name="x"))
        assert failed.value.job_id == system.jobs.listing()[0].uuid

    assert world.things == BEFORE
    verb, _, name = place.partition(" ")
    begun = NAMES[: NAMES.index(name) + (verb != "before")]
    undone = [place.partition(" ")[2] for place in world.happened if place.startswith("undo")]
    assert undone == [*reversed(begun)]
    (info,) = system.jobs.listing()
    assert info.done is True
    (error,) = info.errors
    assert (error.type, error.message, error.stage) == ("Conflict", "It does not fit", "put")
    assert error.extra_fields == {"thing": "x"}


async def test_bug_in_a_step_is_a_failure_with_its_words(system: System, world: World) -> None:
    world.errors["do old"] = [ZeroDivisionError("division by zero")]

    with pytest.raises(RooftreeError, match="division by zero") as failed:
        await system.jobs.run(put(name="x"))

    assert failed.value.status == 500
    assert world.things == BEFORE


async def test_step_whose_service_is_missing_fails_the_job(system: System, world: World) -> None:
    with pytest.raises(Unavailable, match="Nowhere"):
        await system.jobs.run(lost())

    assert world.things == BEFORE


async def test_step_reads_the_result_of_the_nearest_earlier_one(system: System, world: World) -> None:
    await system.jobs.run(say())

    assert world.happened[-1] == "say hello 5"


async def test_step_reads_what_it_saw_itself_when_it_was_begun(system: System, world: World) -> None:
    await system.jobs.run(recall())

    assert world.happened[-1] == "recall there before"


@pytest.mark.allow("undo_failed")
async def test_undo_that_fails_is_recorded_and_the_others_are_undone(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.errors["undo old"] = [RuntimeError("stuck")]

    with pytest.raises(Conflict, match="It does not fit"):
        await system.jobs.run(put(name="x"))

    assert world.things == {"old": "new"}
    (info,) = system.jobs.listing()
    assert [error.message for error in info.errors] == ["It does not fit", "Taking back failed: stuck"]


async def test_undo_waits_for_what_is_missing_but_the_caller_has_the_answer(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.gates["undo one"] = asyncio.Event()
    world.errors["undo old"] = [Unavailable("The engine is away")] * 3

    with pytest.raises(Conflict, match="It does not fit") as failed:
        await system.jobs.run(put(name="x"))
    (waiting,) = system.jobs.listing()
    assert (waiting.uuid, waiting.done) == (failed.value.job_id, False)

    await world.reached("undo one")
    assert world.happened.count("undo old") == 4
    world.gates["undo one"].set()
    await until(lambda: system.jobs.listing()[0].done is True)
    assert world.things == BEFORE


async def test_job_in_the_background_answers_when_it_is_accepted_and_is_listed_when_done(
    system: System, world: World
) -> None:
    world.gates["do old"] = asyncio.Event()

    started = await system.jobs.run(put(name="x").in_background())

    assert started is not None
    (running,) = system.jobs.listing()
    assert (running.uuid, running.done, running.reference, running.name) == (started.job_id, False, "x", "put")
    await world.reached("do old")
    assert (await system.jobs.get(started.job_id)).stage == "put"
    world.gates["do old"].set()
    await until(lambda: system.jobs.listing()[0].done is True)
    (done,) = system.jobs.listing()
    assert (done.progress, done.errors, done.stage) == (100.0, [], None)


async def test_job_answers_as_its_call_says_at_its_end_and_in_the_background(system: System, world: World) -> None:
    world.gates["do old"] = asyncio.Event()
    call = put(name="x").answering(lambda job_id: {"of": job_id})

    begun = await system.jobs.run(call.in_background().answering(lambda job_id: {"begun": job_id}))
    waiting = asyncio.create_task(system.jobs.run(call))
    await world.reached("do old")
    world.gates["do old"].set()
    ended = await waiting

    assert (await system.jobs.get(begun["begun"])).done is True
    assert (await system.jobs.get(ended["of"])).done is True


async def test_plan_refused_in_the_background_is_raised_to_the_caller(system: System, world: World) -> None:
    world.errors["plan"] = [Conflict("There is one already")]

    with pytest.raises(Conflict):
        await system.jobs.run(put(name="x").in_background())

    assert system.jobs.listing() == []


async def test_jobs_on_one_thing_run_one_after_the_other_in_order(system: System, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    calls = [asyncio.create_task(system.jobs.run(put(name="x", names=("one",))))]
    await world.reached("do one")
    for number in range(3):
        calls.append(asyncio.create_task(system.jobs.run(put(name="x", names=(f"later {number}",)))))
        await asyncio.sleep(0)
    other = system.jobs.run(put(name="y", names=("other",)))

    await other
    assert [info.done for info in system.jobs.listing()] == [None, None, None, False]
    assert world.happened.count("plan") == 2, "a plan was made before the locks were held"
    world.gates["do one"].set()
    await asyncio.gather(*calls)

    assert [place for place in world.happened if place.startswith("do later")] == [
        "do later 0",
        "do later 1",
        "do later 2",
    ]


async def test_locks_are_given_back_after_refusal_and_failure(system: System, world: World) -> None:
    for place in ("plan", "before one", "half three"):
        world.errors[place] = [Conflict("no")]
        with pytest.raises(Conflict):
            await system.jobs.run(put(name="x"))

    async with asyncio.timeout(5):
        await system.jobs.run(put(name="x"))


async def test_progress_never_runs_backwards_and_ends_at_100(system: System, world: World) -> None:
    seen = list[JobInfo]()
    system.bus.subscribe(JobChanged, lambda event: seen.append(event.job), "test")

    await system.jobs.run(advance(parts=(0.1, 0.5, 0.3, -1.0, 0.9, 7.0, 0.2)))
    await system.bus.drained()

    shown = [info.progress for info in seen]
    assert shown == sorted(shown)
    assert shown[-1] == 100.0
    assert any(40 < progress < 60 for progress in shown)
    assert seen[-1].done is True


async def test_client_that_hangs_up_does_not_stop_its_job(system: System, world: World) -> None:
    world.gates["do old"] = asyncio.Event()
    async with Client.over_tcp(system) as client:
        call = asyncio.create_task(client.post("/put"))
        await world.reached("do old")
        call.cancel()
    await asyncio.sleep(0.01)

    world.gates["do old"].set()
    await until(lambda: not system.jobs.listing())

    assert world.things == AFTER


async def test_client_that_hangs_up_while_its_job_queues_does_not_withdraw_it(system: System, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    first = asyncio.create_task(system.jobs.run(put(name="x", names=("one",))))
    await world.reached("do one")
    queued = asyncio.create_task(system.jobs.run(put(name="x", names=("two",))))
    await asyncio.sleep(0)

    queued.cancel()
    world.gates["do one"].set()
    await first
    await until(lambda: not system.jobs.listing())

    assert world.things["two"] == "new"


async def test_failed_job_is_in_the_envelope_of_the_call_that_waited(system: System, world: World) -> None:
    world.errors["do old"] = [Conflict("It does not fit")]
    async with Client.over_tcp(system) as client:
        waited = await client.post("/put")
        started = await client.post("/put?background=true")

    assert waited.status == 409
    assert waited.envelope["job_id"] == (await system.jobs.get(waited.envelope["job_id"])).uuid
    assert len(started.data["job_id"]) == 32


async def test_job_knows_who_asked_for_it(system: System, world: World) -> None:
    async with Client.over_unix(system) as admin:
        job_id = (await admin.post("/put?background=true")).data["job_id"]
    await until(lambda: system.jobs.listing()[0].done is True)

    rows = await system.database.read(lambda c: c.execute("SELECT caller FROM job WHERE id = ?", (job_id,)).fetchall())
    assert rows[0][0].startswith("local:")


async def test_ended_job_can_be_asked_for_and_taken_off_the_list(system: System, world: World) -> None:
    world.gates["do old"] = asyncio.Event()
    started = await system.jobs.run(put(name="x").in_background())
    assert started is not None
    with pytest.raises(Invalid, match="not done yet"):
        await system.jobs.forget(started.job_id)
    world.gates["do old"].set()
    await until(lambda: system.jobs.listing()[0].done is True)

    await system.jobs.forget(started.job_id)

    assert system.jobs.listing() == []
    assert (await system.jobs.get(started.job_id)).done is True
    for missing in (started.job_id, "0" * 32):
        with pytest.raises(NotFound):
            await system.jobs.forget(missing)
    with pytest.raises(NotFound):
        await system.jobs.get("0" * 32)


async def test_list_is_newest_first_and_has_an_end(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "LISTED", 3)
    for number in range(5):
        await system.jobs.run(put(name=str(number), names=()).in_background())
        await until(lambda: all(info.done for info in system.jobs.listing()))

    await until(lambda: [info.reference for info in system.jobs.listing()] == ["4", "3", "2"])


async def test_outcomes_are_listed_after_a_restart(tmp_path: Path, world: World) -> None:
    world.errors["do old"] = [Conflict("It does not fit", thing="x")]
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        with pytest.raises(Conflict):
            await system.jobs.run(put(name="x"))
        await system.jobs.run(put(name="y").in_background())
        await until(lambda: all(info.done for info in system.jobs.listing()))
        await system.jobs.run(put(name="z"))
        listed = system.jobs.listing()

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        assert [(info.uuid, info.errors, info.done) for info in system.jobs.listing()] == [
            (info.uuid, info.errors, True) for info in listed
        ]
        assert len(listed) == 2


async def test_failure_after_what_cannot_be_taken_back_leaves_what_came_before_it(system: System, world: World) -> None:
    world.errors["half three"] = [Failed("It does not fit")]

    with pytest.raises(Failed, match="does not fit"):
        await system.jobs.run(burn())

    assert world.things == {"one": "new"}


async def test_failure_of_what_cannot_be_taken_back_takes_back_what_came_before_it(
    system: System, world: World
) -> None:
    world.errors["burn old"] = [Failed("It does not burn")]

    with pytest.raises(Failed, match="does not burn"):
        await system.jobs.run(burn())

    assert world.things == BEFORE


@pytest.mark.parametrize("error", [Failed("The broom is gone"), RuntimeError("a bug")])
async def test_job_goes_on_when_it_only_cannot_tidy_up(system: System, world: World, error: Exception) -> None:
    world.errors["sweep"] = [error]

    assert await system.jobs.run(sweep()) is None

    assert world.things == {"one": "new", "old": "there before", "three": "new"}


async def test_failed_job_says_how_far_it_had_come_before_and_after_a_restart(tmp_path: Path, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        with pytest.raises(Conflict):
            await system.jobs.run(put(name="x"))
        assert system.jobs.listing()[0].progress == 66.7

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        assert system.jobs.listing()[0].progress == 66.7


async def test_error_that_nobody_foresaw_is_told_with_its_type(system: System, world: World) -> None:
    world.errors["half three"] = [KeyError("token")]

    with pytest.raises(Failed, match="The job failed: KeyError: 'token'"):
        await system.jobs.run(put(name="x"))


async def test_error_with_fields_that_are_no_json_is_told_as_text(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit", path=Path("/a"), sizes={1: 2.5})]

    with pytest.raises(Conflict):
        await system.jobs.run(put(name="x"))

    assert world.things == BEFORE
    assert system.jobs.listing()[0].errors[0].extra_fields == {"path": "/a", "sizes": {"1": 2.5}}
