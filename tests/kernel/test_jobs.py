"""Jobs: planned, journaled, done or taken back, and never lost."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from rooftree import (
    PUBLIC,
    Conflict,
    Failed,
    Invalid,
    JobChanged,
    JobInfo,
    Jobs,
    JobStarted,
    Kernel,
    Lock,
    NotFound,
    NotReady,
    Plugin,
    RooftreeError,
    Routes,
    Run,
    Service,
    Step,
    Steps,
    Unavailable,
    failpoints,
    job,
    job_list,
    step,
    suspension,
)
from rooftree.journal import Journal
from rooftree.system import System
from rooftree.testing import Client, running_system


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


@step("test_jobs.put/1")
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


@step("test_jobs.say/1")
class Say(Step):
    """Can't be taken back, and uses an earlier step's result."""

    text: str
    stage = "saying"

    async def do(self, run: Run, world: World) -> None:
        length = run.result(Put, dict[str, int])["length"]
        world.happened.append(f"say {self.text} {length}")


@step("test_jobs.advance/1")
class Advance(Step):
    """Reports progress."""

    parts: tuple[float, ...]

    async def do(self, run: Run, world: World) -> None:
        for part in self.parts:
            run.progress(part, 1.0)
            await asyncio.sleep(0)


@step("test_jobs.burn/1")
class Burn(Step):
    """Can't be taken back."""

    name: str

    async def do(self, world: World) -> None:
        await world.reach(f"burn {self.name}")
        world.things.pop(self.name, None)
        await world.reach(f"burnt {self.name}")


@step("test_jobs.sweep/1")
class Sweep(Step):
    """Only tidies up."""

    tidies = True

    async def do(self, world: World) -> None:
        await world.reach("sweep")


class Nowhere:
    """A service that nobody provides."""


@step("test_jobs.lost/1")
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


@job("say")
async def say(world: World) -> Steps:
    return [Put("one"), Put("three"), Say("hello")]


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


@routes.post("/put", access=PUBLIC, starts=put)
async def put_by_call(jobs: Jobs, background: bool = False) -> JobStarted | None:
    return await jobs.run(put, background=background, name="x")


class Worldly(Plugin):
    name = "worldly"
    provides = (WORLD,)
    world: World | None = None

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        type(self).world = type(self).world or World()
        kernel.provide(WORLD, type(self).world)


@pytest.fixture
def world() -> Iterator[World]:
    Worldly.world = World()
    yield Worldly.world
    Worldly.world = None


@pytest.fixture
async def system(tmp_path: Path, world: World) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        yield system


@pytest.fixture(autouse=True)
def waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "RETRY_S", (0.002,))


BEFORE = {"old": "there before"}
AFTER = {"one": "new", "old": "new", "three": "new"}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_steps_are_done_in_order_and_the_call_returns_at_the_end(system: System, world: World) -> None:
    assert await system.jobs.run(put, name="x") is None

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
    assert await system.jobs.run(nothing) is None


async def test_what_the_plan_refuses_is_raised_as_it_is_and_changes_nothing(system: System, world: World) -> None:
    world.errors["plan"] = [Conflict("There is one already")]

    with pytest.raises(Conflict, match="There is one already") as refused:
        await system.jobs.run(put, name="x")

    assert refused.value.job_id is None
    assert world.things == BEFORE
    assert world.happened == ["plan"]
    assert system.jobs.listing() == []
    await system.jobs.run(put, name="x")


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("place", [f"{verb} {name}" for verb in ("before", "do", "half") for name in NAMES])
async def test_failure_anywhere_is_taken_back_in_reverse_order(
    system: System, world: World, place: str, background: bool
) -> None:
    world.errors[place] = [Conflict("It does not fit", thing="x")]

    if background:
        started = await system.jobs.run(put, background=True, name="x")
        assert started is not None
        await until(lambda: bool(system.jobs.listing()) and system.jobs.listing()[0].done is True)
    else:
        with pytest.raises(Conflict, match="It does not fit") as failed:
            await system.jobs.run(put, name="x")
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
        await system.jobs.run(put, name="x")

    assert failed.value.status == 500
    assert world.things == BEFORE


async def test_step_whose_service_is_missing_fails_the_job(system: System, world: World) -> None:
    with pytest.raises(Unavailable, match="Nowhere"):
        await system.jobs.run(lost)

    assert world.things == BEFORE


async def test_step_reads_the_result_of_the_nearest_earlier_one(system: System, world: World) -> None:
    await system.jobs.run(say)

    assert world.happened[-1] == "say hello 5"


async def test_undo_that_fails_is_recorded_and_the_others_are_undone(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.errors["undo old"] = [RuntimeError("stuck")]

    with pytest.raises(Conflict, match="It does not fit"):
        await system.jobs.run(put, name="x")

    assert world.things == {"old": "new"}
    (info,) = system.jobs.listing()
    assert [error.message for error in info.errors] == ["It does not fit", "Taking back failed: stuck"]


async def test_undo_waits_for_what_is_missing_but_the_caller_has_the_answer(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.gates["undo one"] = asyncio.Event()
    world.errors["undo old"] = [Unavailable("The engine is away")] * 3

    with pytest.raises(Conflict, match="It does not fit") as failed:
        await system.jobs.run(put, name="x")
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

    started = await system.jobs.run(put, background=True, name="x")

    assert started is not None
    (running,) = system.jobs.listing()
    assert (running.uuid, running.done, running.reference, running.name) == (started.job_id, False, "x", "put")
    await world.reached("do old")
    assert (await system.jobs.get(started.job_id)).stage == "put"
    world.gates["do old"].set()
    await until(lambda: system.jobs.listing()[0].done is True)
    (done,) = system.jobs.listing()
    assert (done.progress, done.errors, done.stage) == (100.0, [], None)


async def test_plan_refused_in_the_background_is_raised_to_the_caller(system: System, world: World) -> None:
    world.errors["plan"] = [Conflict("There is one already")]

    with pytest.raises(Conflict):
        await system.jobs.run(put, background=True, name="x")

    assert system.jobs.listing() == []


async def test_jobs_on_one_thing_run_one_after_the_other_in_order(system: System, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    calls = [asyncio.create_task(system.jobs.run(put, name="x", names=("one",)))]
    await world.reached("do one")
    for number in range(3):
        calls.append(asyncio.create_task(system.jobs.run(put, name="x", names=(f"later {number}",))))
        await asyncio.sleep(0)
    other = system.jobs.run(put, name="y", names=("other",))

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
            await system.jobs.run(put, name="x")

    async with asyncio.timeout(5):
        await system.jobs.run(put, name="x")


async def test_progress_never_runs_backwards_and_ends_at_100(system: System, world: World) -> None:
    seen = list[JobInfo]()
    system.bus.subscribe(JobChanged, lambda event: seen.append(event.job), "test")

    await system.jobs.run(advance, parts=(0.1, 0.5, 0.3, -1.0, 0.9, 7.0, 0.2))
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
    first = asyncio.create_task(system.jobs.run(put, name="x", names=("one",)))
    await world.reached("do one")
    queued = asyncio.create_task(system.jobs.run(put, name="x", names=("two",)))
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
    started = await system.jobs.run(put, background=True, name="x")
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
        await system.jobs.run(put, background=True, name=str(number), names=())
        await until(lambda: all(info.done for info in system.jobs.listing()))

    await until(lambda: [info.reference for info in system.jobs.listing()] == ["4", "3", "2"])


async def test_outcomes_are_listed_after_a_restart(tmp_path: Path, world: World) -> None:
    world.errors["do old"] = [Conflict("It does not fit", thing="x")]
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        with pytest.raises(Conflict):
            await system.jobs.run(put, name="x")
        await system.jobs.run(put, background=True, name="y")
        await until(lambda: all(info.done for info in system.jobs.listing()))
        await system.jobs.run(put, name="z")
        listed = system.jobs.listing()

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        assert [(info.uuid, info.errors, info.done) for info in system.jobs.listing()] == [
            (info.uuid, info.errors, True) for info in listed
        ]
        assert len(listed) == 2


# --- the daemon stops -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def stopped_amid(
    tmp_path: Path, world: World, place: str, kind: Any, **arguments: Any
) -> AsyncIterator[Exception]:
    """A system that was stopped while a job was at ``place``; gives what its caller was told."""
    world.gates[place] = asyncio.Event()
    async with running_system(tmp_path, plugins=[Worldly], settings={"kernel.stop_timeout_s": 0.1}) as system:
        call = asyncio.create_task(system.jobs.run(kind, **arguments))
        await world.reached(place)
    with pytest.raises(NotReady) as told:
        await call
    world.gates.clear()
    world.happened.clear()
    yield told.value


@pytest.mark.parametrize("place", [f"{verb} {name}" for verb in ("before", "do", "half") for name in NAMES])
async def test_job_interrupted_by_the_end_is_taken_back_at_the_next_start(
    tmp_path: Path, world: World, place: str
) -> None:
    async with (
        stopped_amid(tmp_path, world, place, put, name="x") as told,
        running_system(tmp_path, plugins=[Worldly]) as system,
    ):
        assert "the next start" in str(told)
        await until(lambda: system.jobs.listing()[0].done is True)

        assert world.things == BEFORE
        (info,) = system.jobs.listing()
        assert [error.error_key for error in info.errors] == ["job_interrupted_error"]
        assert info.reference == "x"
        await system.jobs.run(put, name="x")

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        assert [info.done for info in system.jobs.listing()] == [True]
        assert world.things == AFTER, "what was taken back already was taken back again"


@pytest.mark.parametrize("place", ["before one", "half one", "half three"])
async def test_job_that_goes_forward_is_finished_at_the_next_start(tmp_path: Path, world: World, place: str) -> None:
    async with (
        stopped_amid(tmp_path, world, place, put_forward),
        running_system(tmp_path, plugins=[Worldly]) as system,
    ):
        await until(lambda: system.jobs.listing()[0].done is True)

        assert world.things == AFTER
        (info,) = system.jobs.listing()
        assert (info.errors, info.progress) == ([], 100.0)
        if place == "half three":
            assert [each for each in world.happened if each.startswith("do")] == ["do three"]


@pytest.mark.parametrize("place", ["burnt old", "do three"])
async def test_job_past_the_point_of_no_return_is_finished_at_the_next_start(
    tmp_path: Path, world: World, place: str
) -> None:
    async with stopped_amid(tmp_path, world, place, burn), running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)

        assert world.things == {"one": "new", "three": "new"}
        assert system.jobs.listing()[0].errors == []


async def test_failure_after_what_cannot_be_taken_back_leaves_what_came_before_it(system: System, world: World) -> None:
    world.errors["half three"] = [Failed("It does not fit")]

    with pytest.raises(Failed, match="does not fit"):
        await system.jobs.run(burn)

    assert world.things == {"one": "new"}


async def test_failure_of_what_cannot_be_taken_back_takes_back_what_came_before_it(
    system: System, world: World
) -> None:
    world.errors["burn old"] = [Failed("It does not burn")]

    with pytest.raises(Failed, match="does not burn"):
        await system.jobs.run(burn)

    assert world.things == BEFORE


@pytest.mark.parametrize("error", [Failed("The broom is gone"), RuntimeError("a bug")])
async def test_job_goes_on_when_it_only_cannot_tidy_up(system: System, world: World, error: Exception) -> None:
    world.errors["sweep"] = [error]

    assert await system.jobs.run(sweep) is None

    assert world.things == {"one": "new", "old": "there before", "three": "new"}


async def test_job_that_goes_forward_waits_for_what_is_missing_and_fails_by_what_is_not(
    tmp_path: Path, world: World
) -> None:
    async with stopped_amid(tmp_path, world, "half old", put_forward):
        world.errors["do old"] = [Unavailable("The engine is away"), Unavailable("still"), Conflict("It does not fit")]
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await until(lambda: system.jobs.listing()[0].done is True)

            assert world.things == BEFORE
            assert [error.message for error in system.jobs.listing()[0].errors] == ["It does not fit"]


async def test_interrupted_job_holds_its_locks_until_it_is_taken_back(tmp_path: Path, world: World) -> None:
    async with stopped_amid(tmp_path, world, "half old", put, name="x"):
        world.gates["undo one"] = asyncio.Event()
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            again = asyncio.create_task(system.jobs.run(put, name="x"))
            await world.reached("undo one")
            await system.jobs.run(put, name="y", names=("other",))
            assert not again.done()
            assert world.happened.count("plan") == 1

            world.gates["undo one"].set()
            await again

            assert {name: world.things[name] for name in NAMES} == AFTER


async def test_interrupted_job_waits_visibly_for_its_plugin_and_does_not_delay_the_start(
    tmp_path: Path, world: World
) -> None:
    async with stopped_amid(tmp_path, world, "half old", put, name="x"):
        async with asyncio.timeout(5), running_system(tmp_path, settings={"kernel.start_timeout_s": 1}) as system:
            (waiting,) = system.jobs.listing()
            assert (waiting.done, waiting.reference) == (False, "x")
            await asyncio.sleep(0.02)
            assert world.things["old"] == "half"

        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await until(lambda: system.jobs.listing()[0].done is True)
            assert world.things == BEFORE


async def test_interrupted_job_whose_step_nobody_knows_waits_visibly(tmp_path: Path, world: World) -> None:
    from rooftree.steps import KINDS

    async with stopped_amid(tmp_path, world, "half old", put, name="x"):
        known = KINDS.pop("test_jobs.put/1")
        try:
            async with running_system(tmp_path, plugins=[Worldly]) as system:
                await asyncio.sleep(0.02)
                assert [info.done for info in system.jobs.listing()] == [False]
                KINDS["test_jobs.put/1"] = known
                await until(lambda: system.jobs.listing()[0].done is True)
        finally:
            KINDS["test_jobs.put/1"] = known

    assert world.things == BEFORE


async def test_stop_does_not_wait_for_jobs_that_wait(tmp_path: Path, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.errors["undo old"] = [Unavailable("The engine is away")] * 100_000
    loop = asyncio.get_running_loop()
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        with pytest.raises(Conflict):
            await system.jobs.run(put, name="x")
        began = loop.time()

    assert loop.time() - began < 2
    world.errors.clear()
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)
        assert world.things == BEFORE
        assert [error.message for error in system.jobs.listing()[0].errors] == ["It does not fit"]


async def test_stop_lets_the_running_step_finish_and_refuses_what_queues(tmp_path: Path, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        first = asyncio.create_task(system.jobs.run(put_forward))
        await world.reached("do one")
        queued = asyncio.create_task(system.jobs.run(put_forward))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.02, world.gates["do one"].set)
    for call in (first, queued):
        with pytest.raises(NotReady):
            await call

    assert world.things["one"] == "new"
    assert "before old" not in world.happened
    with pytest.raises(NotReady):
        await system.jobs.run(put_forward)
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)
        assert len(system.jobs.listing()) == 1
        assert world.things == AFTER
        assert world.happened.count("do one") == 1


# --- the journal can't be written -----------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[Callable[[str], None]]:
    """Says what the disk does from now on: ``nospace``, ``raise`` (EIO), or nothing unusual."""

    def become(action: str) -> None:
        failpoints.arm(f"database.before_commit={action}" if action else "")

    yield become
    become("")


@pytest.mark.parametrize("action", ["nospace", "raise"])
async def test_job_that_cannot_be_journaled_is_refused_and_changes_nothing(
    system: System, world: World, disk: Callable[[str], None], action: str
) -> None:
    disk(action)

    with pytest.raises(Unavailable) as refused:
        await system.jobs.run(put, name="x")

    assert refused.value.error_key == "state_unwritable_error"
    assert world.things == BEFORE
    disk("")
    await system.jobs.run(put, name="x")
    assert world.things == AFTER


@pytest.mark.parametrize("commit", range(2, 9))
async def test_journal_that_becomes_unwritable_on_the_way_leaves_the_world_before_or_after(
    tmp_path: Path, world: World, disk: Callable[[str], None], commit: int
) -> None:
    """Commit 1 accepts the job; 2 to 7 begin and end its three steps; 8 ends it."""
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        disk(f"nospace@{commit}")
        try:
            await system.jobs.run(put, name="x")
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
        failing = asyncio.create_task(system.jobs.run(put, name="x"))
        await world.reached("half one")
        disk("nospace")
        world.gates["half one"].set()
        with pytest.raises(RooftreeError, match="No space left"):
            await failing
        assert world.things == BEFORE
        disk("")
        world.gates["do three"] = asyncio.Event()
        later = asyncio.create_task(system.jobs.run(put, name="x"))
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


# --- declarations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noversion", "docker.pull", "docker.pull/", "docker.pull/x"])
def test_step_kind_without_a_version_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="version"):
        step(kind)


def test_step_without_do_is_refused() -> None:
    with pytest.raises(TypeError, match=r"needs do\(\)"):

        @step("test_jobs.idle/1")
        class Idle(Step):
            name: str


def test_step_kind_that_is_taken_is_refused() -> None:
    class Other(Step):
        async def do(self) -> None: ...

    with pytest.raises(ValueError, match=r"already that of .*test_jobs\.Put"):
        step("test_jobs.put/1")(Other)
    Other.__qualname__, Other.__module__ = "Put", "another.module"
    with pytest.raises(ValueError, match="already that of"):
        step("test_jobs.put/1")(Other)


def test_stage_of_a_step_is_its_own_word_or_its_kind() -> None:
    assert (Put.stage, Say.stage) == ("put", "saying")
