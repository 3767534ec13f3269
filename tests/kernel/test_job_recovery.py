"""Jobs that the end of the daemon interrupted: taken back or finished at the next start."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from rooftree import Conflict, NotReady, Step, Steps, Unavailable, job, step
from rooftree.jobs import suspension
from rooftree.plugins import plugins
from rooftree.process.system import System
from rooftree.testing import running_system
from tests.kernel.world import (
    AFTER,
    BEFORE,
    NAMES,
    World,
    Worldly,
    burn,
    put,
    put_forward,
    stopped_amid,
    sweep_forward,
    until,
)


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
        await system.jobs.run(put(name="x"))

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


async def test_job_that_goes_forward_waits_for_what_is_missing_and_fails_by_what_is_not(
    tmp_path: Path, world: World
) -> None:
    async with stopped_amid(tmp_path, world, "half old", put_forward):
        world.errors["do old"] = [Unavailable("The engine is away"), Unavailable("still"), Conflict("It does not fit")]
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await until(lambda: system.jobs.listing()[0].done is True)

            assert world.things == BEFORE
            assert [error.message for error in system.jobs.listing()[0].errors] == ["It does not fit"]


async def test_what_only_tidies_up_is_left_undone_by_a_fault_but_waits_for_what_is_missing(
    tmp_path: Path, world: World
) -> None:
    async with stopped_amid(tmp_path, world, "half one", sweep_forward):
        world.errors["sweep"] = [Unavailable("The engine is not there yet"), Conflict("It is in use")]
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            await until(lambda: system.jobs.listing()[0].done is True)

            assert world.happened.count("sweep") == 2
            assert system.jobs.listing()[0].errors == []


async def test_interrupted_job_holds_its_locks_until_it_is_taken_back(tmp_path: Path, world: World) -> None:
    async with stopped_amid(tmp_path, world, "half old", put, name="x"):
        world.gates["undo one"] = asyncio.Event()
        async with running_system(tmp_path, plugins=[Worldly]) as system:
            again = asyncio.create_task(system.jobs.run(put(name="x")))
            await world.reached("undo one")
            await system.jobs.run(put(name="y", names=("other",)))
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
    from rooftree.jobs.steps import KINDS

    async with stopped_amid(tmp_path, world, "half old", put, name="x"):
        known = KINDS.pop("world.put/1")
        try:
            async with running_system(tmp_path, plugins=[Worldly]) as system:
                await asyncio.sleep(0.02)
                assert [info.done for info in system.jobs.listing()] == [False]
                KINDS["world.put/1"] = known
                await until(lambda: system.jobs.listing()[0].done is True)
        finally:
            KINDS["world.put/1"] = known

    assert world.things == BEFORE


async def test_stop_does_not_wait_for_jobs_that_wait(tmp_path: Path, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.errors["undo old"] = [Unavailable("The engine is away")] * 100_000
    loop = asyncio.get_running_loop()
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        with pytest.raises(Conflict):
            await system.jobs.run(put(name="x"))
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
        first = asyncio.create_task(system.jobs.run(put_forward()))
        await world.reached("do one")
        queued = asyncio.create_task(system.jobs.run(put_forward()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.02, world.gates["do one"].set)
    for call in (first, queued):
        with pytest.raises(NotReady):
            await call

    assert world.things["one"] == "new"
    assert "before old" not in world.happened
    with pytest.raises(NotReady):
        await system.jobs.run(put_forward())
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)
        assert len(system.jobs.listing()) == 1
        assert world.things == AFTER
        assert world.happened.count("do one") == 1


async def test_plugin_stops_at_once_though_a_job_of_its_waits_for_the_engine(system: System, world: World) -> None:
    world.errors["half three"] = [Conflict("It does not fit")]
    world.errors["undo old"] = [Unavailable("The engine is away")] * 100_000
    with pytest.raises(Conflict):
        await system.jobs.run(put(name="x"))

    async with asyncio.timeout(5):  # steps under way would get ten
        await system.plugins.disable("worldly")

    assert [info.done for info in system.jobs.listing()] == [False]
    world.errors.clear()
    await system.plugins.enable("worldly")
    await until(lambda: system.jobs.listing()[0].done is True)
    assert world.things == BEFORE
    assert [error.message for error in system.jobs.listing()[0].errors] == ["It does not fit"]


PUT_OLD = ("world.put/1", '{"name":"old"}', "doing", '{"value":"there before"}')
PUT_THREE = ("world.put/1", '{"name":"three"}', "planned", None)


def journal_as_before_phases(database: Path, state: str, recovery: str, errors: str) -> None:
    """Leave an open job in the journal, word for word as the versions wrote it that knew no phases."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO job (id, sequence, name, reference, owner, caller, recovery, locks, state, listed, errors,"
            " created, children) VALUES (?, 1, 'put', 'x', 'tests', NULL, ?, ?, ?, 0, ?, ?, '[]')",
            ("1" * 32, recovery, '[["thing","x"]]', state, errors, "2026-11-01T10:00:00+00:00"),
        )
        for number, (kind, arguments, step, before) in enumerate((PUT_OLD, PUT_THREE)):
            connection.execute(
                "INSERT INTO step (job, number, kind, arguments, state, before) VALUES (?, ?, ?, ?, ?, ?)",
                ("1" * 32, number, kind, arguments, step, before),
            )


@pytest.mark.parametrize(
    ("state", "recovery", "errors", "things", "told"),
    [
        ("running", "undo", "[]", BEFORE, ["JobInterrupted"]),
        ("running", "forward", "[]", {"old": "new", "three": "new"}, []),
        (
            "undoing",
            "forward",
            '[{"type":"Conflict","message":"It does not fit","stage":"put","error_key":null,"step":0}]',
            BEFORE,
            ["Conflict"],
        ),
    ],
)
async def test_journal_of_an_earlier_version_is_recovered(
    tmp_path: Path, world: World, state: str, recovery: str, errors: str, things: dict[str, str], told: list[str]
) -> None:
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        database = system.database.folder.database_path
    journal_as_before_phases(database, state, recovery, errors)
    world.things["old"] = "half"

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await until(lambda: system.jobs.listing()[0].done is True)

        assert world.things == things
        assert [error.type for error in system.jobs.listing()[0].errors] == told


async def test_journal_keeps_the_words_of_earlier_versions(tmp_path: Path, world: World) -> None:
    async with stopped_amid(tmp_path, world, "half old", put_forward):
        async with running_system(tmp_path, plugins=[]) as system:
            database = system.database.folder.database_path
        with closing(sqlite3.connect(database)) as connection:
            (job,) = connection.execute("SELECT state, ended FROM job").fetchall()
            steps = [state for (state,) in connection.execute("SELECT state FROM step ORDER BY number")]

    assert (job, steps) == (("running", None), ["done", "doing", "planned"])


async def test_step_that_would_not_end_does_not_keep_its_job_from_going_on_when_the_plugin_runs_again(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "DRAIN_S", 0.02)
    monkeypatch.setattr(suspension, "STUBBORN_S", 0.02)
    call = asyncio.create_task(system.jobs.run(hold_on()))
    await world.reached("holds on")
    await system.plugins.disable("worldly")
    world.gates["lets go"].set()
    with pytest.raises(NotReady, match="goes on when it runs again"):
        await call
    assert [info.done for info in system.jobs.listing()] == [False]

    await system.plugins.enable("worldly")
    await until(lambda: system.jobs.listing()[0].done is True)

    assert world.things == BEFORE


@step("test_job_recovery.hold_on/1")
class HoldOn(Step):
    """Does not heed its cancellation."""

    async def do(self, world: World) -> None:
        go_on = world.gates["lets go"] = asyncio.Event()
        world.happened.append("holds on")
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()
        raise asyncio.CancelledError

    async def undo(self, _: None) -> None: ...


@job("hold_on")
async def hold_on() -> Steps:
    return [HoldOn()]
