"""The audit log: who did what, when, and how it went; never what was in it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import field, frozen

from rooftree import (
    PUBLIC,
    AuditEntry,
    Collection,
    Conflict,
    Failed,
    JobCancelled,
    Kernel,
    Plugin,
    Routes,
    Unavailable,
    document,
)
from rooftree.jobs import journal
from rooftree.process.system import System
from rooftree.state import audit_log as audit
from rooftree.state.audit_log import KEEPING, AuditKeeping
from rooftree.testing import Client, Failing, running_system
from tests.kernel.world import Burn, Put, Sweep, World, Worldly, burn, put, stopped_amid, sweep, until

PUT, BURN, SWEEP = Put.kind, Burn.kind, Sweep.kind


@document("test_audit.note", version=1)
@frozen
class Note:
    text: str = ""


@frozen
class NewNotes:
    texts: dict[str, str] = field(factory=dict)


routes = Routes()


@routes.post("/notes", access=PUBLIC)
async def change_notes(body: NewNotes) -> None:
    notes, kernel = Noted.notes, Noted.kernel
    await kernel.commit(*(notes.put(key, Note(text)) for key, text in body.texts.items()))


@routes.post("/lose", access=PUBLIC)
async def change_and_fail(body: NewNotes) -> None:
    await Noted.kernel.commit(Noted.notes.update("missing", lambda note: note))


class Noted(Plugin):
    name = "noted"
    kernel: Kernel
    notes: Collection[Note]

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        Noted.kernel, Noted.notes = kernel, await kernel.collection(Note)


@pytest.fixture
async def system(tmp_path: Path, world: World, allow: frozenset[Failing]) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Worldly, Noted], allow=allow) as system:
        yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_unix(system) as client:
        yield client


def told(entries: list[AuditEntry]) -> list[tuple[str, str | None, str]]:
    """What, on which object, with what outcome; the oldest first."""
    return [(entry.what, entry.subject, entry.outcome) for entry in reversed(entries)]


async def test_job_is_told_with_its_steps_their_objects_and_who_asked(
    system: System, world: World, client: Client
) -> None:
    before = datetime.now(UTC)
    await client.post("/put")

    entries = await system.audit.page()
    entries = [entry for entry in entries if entry.job is not None]
    assert told(entries) == [
        ("put", "x", "begun"),
        (PUT, "one", "done"),
        (PUT, "old", "done"),
        (PUT, "three", "done"),
        ("put", "x", "done"),
    ]
    (who,) = {entry.who for entry in entries}
    assert who is not None
    assert who.startswith("local:")
    assert len({entry.job for entry in entries}) == 1
    times = [entry.time for entry in reversed(entries)]
    assert before <= times[0] <= times[-1] <= datetime.now(UTC)
    assert times == sorted(times)


async def test_what_rooftree_does_by_itself_is_nobodys(system: System, world: World) -> None:
    await system.jobs.run(put(name="x"))

    assert {entry.who for entry in await system.audit.page()} == {None}


async def test_failure_is_told_at_the_step_and_what_was_undone(system: System, world: World) -> None:
    world.errors["half old"] = [Failed("It does not fit")]
    with pytest.raises(Failed):
        await system.jobs.run(put(name="x"))

    assert told(await system.audit.page()) == [
        ("put", "x", "begun"),
        (PUT, "one", "done"),
        (PUT, "old", "failed"),
        (PUT, "old", "undone"),
        (PUT, "one", "undone"),
        ("put", "x", "failed"),
    ]


@pytest.mark.allow("undo_failed")
async def test_what_could_not_be_undone_is_not_told_as_undone(system: System, world: World) -> None:
    world.errors["half three"] = [Failed("It does not fit")]
    world.errors["undo old"] = [RuntimeError("stuck")]
    with pytest.raises(Failed):
        await system.jobs.run(put(name="x"))

    undone = [row for row in told(await system.audit.page()) if "undone" in row[2]]
    assert undone == [(PUT, "three", "undone"), (PUT, "old", "not_undone"), (PUT, "one", "undone")]


@pytest.mark.allow("undo_failed")
async def test_what_could_not_be_undone_is_a_problem_until_the_same_was_done(system: System, world: World) -> None:
    world.errors["half three"] = [Failed("It does not fit")]
    world.errors["undo old"] = [RuntimeError("stuck")]
    with pytest.raises(Failed):
        await system.jobs.run(put(name="x"))

    (problem,) = [problem for problem in system.problems if problem.type == "undo_failed"]
    assert "put failed, and a part of what it had done could not be taken back" in problem.message
    assert "(old): Taking back failed: stuck" in problem.message
    rows = await system.database.read(lambda c: c.execute("SELECT state FROM step ORDER BY number").fetchall())
    assert [state for (state,) in rows] == ["undone", "not_undone", "undone"]
    await system.jobs.run(put(name="y"))
    assert problem in list(system.problems)
    await system.jobs.run(put(name="x"))
    assert not [problem for problem in system.problems if problem.type == "undo_failed"]


async def test_half_of_what_cannot_be_taken_back_is_not_told_as_undone(system: System, world: World) -> None:
    world.errors["burnt old"] = [Failed("It went out")]
    with pytest.raises(Failed):
        await system.jobs.run(burn())

    assert [row for row in told(await system.audit.page()) if row[0] == BURN] == [
        (BURN, "old", "failed"),
        (BURN, "old", "not_undone"),
    ]


async def test_step_that_only_tidies_and_fails_is_told_as_failed(system: System, world: World) -> None:
    world.errors["sweep"] = [Failed("The broom is gone")]
    await system.jobs.run(sweep())

    assert [row for row in told(await system.audit.page()) if row[0] == SWEEP] == [(SWEEP, None, "failed")]


async def test_who_cancelled_a_job_is_told(system: System, world: World) -> None:
    world.gates["half old"] = asyncio.Event()
    call = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("half old")
    await system.jobs.cancel(system.jobs.listing()[0].uuid)
    world.gates["half old"].set()
    with pytest.raises(JobCancelled):
        await call

    entries = await system.audit.page()
    assert told(entries) == [
        ("put", "x", "begun"),
        (PUT, "one", "done"),
        ("put", "x", "cancelled"),
        (PUT, "old", "done"),
        (PUT, "old", "undone"),
        (PUT, "one", "undone"),
        ("put", "x", "undone"),
    ]
    assert [entry.who for entry in entries if entry.outcome == "cancelled"] == ["Rooftree"]


async def test_recovery_after_a_stop_goes_on_in_the_same_log(tmp_path: Path, world: World) -> None:
    async with (
        stopped_amid(tmp_path, world, "half old", put, name="x"),
        running_system(tmp_path, plugins=[Worldly]) as system,
    ):
        await until(lambda: system.jobs.listing()[0].done is True)

        entries = await system.audit.page(job=system.jobs.listing()[0].uuid)
        assert told(entries) == [
            ("put", "x", "begun"),
            (PUT, "one", "done"),
            (PUT, "old", "undone"),
            (PUT, "one", "undone"),
            ("put", "x", "failed"),
        ]


async def test_refused_job_leaves_no_row(system: System, world: World) -> None:
    world.errors["plan"] = [Conflict("There is one already")]
    with pytest.raises(Conflict):
        await system.jobs.run(put(name="x"))

    assert await system.audit.page() == []


async def test_change_of_documents_is_told_with_their_keys_and_no_contents(system: System, client: Client) -> None:
    await client.post("/notes", json={"texts": {"first": "hunter2", "second": "hunter3"}})

    (entry,) = await system.audit.page()
    assert (entry.what, entry.outcome, entry.job) == ("state", "done", None)
    assert entry.subject == "test_audit.note/first, test_audit.note/second"
    assert entry.who is not None
    assert entry.who.startswith("local:")


@pytest.mark.allow("route_failed")
async def test_change_that_is_refused_or_that_nobody_asked_for_leaves_no_row(system: System, client: Client) -> None:
    assert (await client.post("/lose", json={})).status != 200
    await Noted.kernel.commit(Noted.notes.put("own", Note("x")))

    assert await system.audit.page() == []


async def test_row_and_what_it_tells_of_are_written_together_or_not_at_all(
    system: System, client: Client, disk: Callable[[str], None]
) -> None:
    disk("nospace")
    assert (await client.post("/notes", json={"texts": {"first": "x"}})).status == 503
    with pytest.raises(Unavailable):
        await system.jobs.run(put(name="x"))
    disk("")

    assert await system.audit.page() == []
    assert "first" not in Noted.notes


async def write(system: System, count: int, keeping: AuditKeeping = KEEPING) -> None:
    """Rows ``0`` … ``count - 1``, every third by somebody."""

    def rows(connection: sqlite3.Connection) -> None:
        for number in range(count):
            who = "token:me" if number % 3 == 0 else None
            audit.record_audit(connection, who, "row", str(number), "done", f"job {number % 2}", keeping)

    await system.database.commit(journal._Sql(rows))


async def test_pages_go_back_in_time_without_a_gap(system: System) -> None:
    await write(system, 10)

    pages = list[list[str | None]]()
    before = None
    while page := await system.audit.page(before=before, limit=4):
        pages.append([entry.subject for entry in page])
        before = page[-1].sequence
        await write(system, 1)  # what comes meanwhile moves nothing

    assert pages == [["9", "8", "7", "6"], ["5", "4", "3", "2"], ["1", "0"]]


async def test_rows_can_be_asked_for_by_who_and_by_job(system: System) -> None:
    await write(system, 6)

    assert [entry.subject for entry in await system.audit.page(who="token:me")] == ["3", "0"]
    assert [entry.subject for entry in await system.audit.page(job="job 1")] == ["5", "3", "1"]
    assert [entry.subject for entry in await system.audit.page(who="token:me", job="job 1")] == ["3"]
    assert await system.audit.page(who="token:you") == []


async def write_as(system: System, who: str | None, count: int, keeping: AuditKeeping) -> None:
    """So many rows more of one caller, which tell their number."""

    def rows(connection: sqlite3.Connection) -> None:
        for number in range(count):
            audit.record_audit(connection, who, "row", str(number), "done", None, keeping)

    await system.database.commit(journal._Sql(rows))


async def kept_of(system: System, who: str) -> list[str | None]:
    return [entry.subject for entry in await system.audit.page(who=who, limit=1000)]


async def test_only_the_latest_rows_of_each_are_kept(system: System) -> None:
    await write(system, 12, AuditKeeping(entries=100, share=3))

    assert [entry.subject for entry in await system.audit.page()] == ["11", "10", "9", "8", "6", "3"]


async def test_who_has_the_most_gives_way_where_all_are_too_many(system: System) -> None:
    keeping = AuditKeeping(entries=10, share=8)
    await write_as(system, "addon:quiet", 2, keeping)
    await write_as(system, "token:user", 4, keeping)

    await write_as(system, "addon:noisy", 50, keeping)
    await write_as(system, None, 50, keeping)

    assert await kept_of(system, "addon:quiet") == ["1", "0"]
    assert len(await system.audit.page()) <= 10
    assert len(await kept_of(system, "token:user")) >= 2
    assert len(await kept_of(system, "addon:noisy")) >= 2


async def test_noisy_caller_replaces_its_own_rows_and_nobody_elses(system: System) -> None:
    keeping = AuditKeeping(entries=1000, share=20)
    await write_as(system, "token:user", 20, keeping)

    await write_as(system, "addon:noisy", 2000, keeping)

    assert len(await kept_of(system, "token:user")) == 20
    assert await kept_of(system, "addon:noisy") == [str(number) for number in range(1999, 1979, -1)]


async def test_page_has_an_end(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 3)
    await write(system, 5)

    assert len(await system.audit.page(limit=1000)) == 3


async def test_journal_keeps_only_the_latest_jobs(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "KEEP", 3)
    monkeypatch.setattr(journal, "SHARES", 1)
    for _ in range(6):
        await system.jobs.run(put(name="x", names=("one",)))

    def count(connection: sqlite3.Connection) -> list[int]:
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("job", "step")]

    assert await system.database.read(count) == [3, 3]
