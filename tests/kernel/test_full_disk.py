"""A disk that is full, for real: what makes room goes on, the rest is refused, and nothing is lost or left behind."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.errors import Unavailable
from rooftree.process.system import System
from rooftree.state.database import Database, View
from rooftree.state.database_file import StateUnwritable
from rooftree.state.disk_reserve import MARGIN_BYTES, RESERVE_NAME
from rooftree.state.folder import DataFolder
from rooftree.testing import running_system
from tests.kernel.notebook import Notebook, make_room, notes_of, until_jobs_end, write_notes
from tests.torture.requirements import small_disk

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    with small_disk(tmp_path / "disk", 8 * KIB) as disk:
        yield disk


def fill(disk: Path, leave_bytes: int = 0, name: str = "ballast") -> int:
    """Take the room that there is but so much; how much that was."""
    taken = shutil.disk_usage(disk).free - leave_bytes
    with (disk / name).open("ab") as ballast:
        ballast.write(b"x" * taken)
    return taken


@frozen
class Write:
    """Store some kilobytes."""

    key: str

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        connection.execute("INSERT INTO meta VALUES (?, ?)", (f"test.{self.key}", "y" * 9000))


def written(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT key FROM meta WHERE key LIKE 'test.%'")
    return {key.removeprefix("test.") for (key,) in rows}


@asynccontextmanager
async def opened(disk: Path, name: str = "data", reserve_bytes: int = MIB) -> AsyncIterator[Database]:
    folder = await asyncio.to_thread(DataFolder.open, disk / name)
    try:
        database = await Database.open(folder, reserve_bytes)
        try:
            yield database
        finally:
            await database.close()
    finally:
        folder.close()


# --- the reserve ------------------------------------------------------------------------------------------------------


async def test_what_makes_room_is_saved_out_of_the_reserve_and_nothing_else_is(disk: Path) -> None:
    async with opened(disk) as database:
        assert await database.keep_reserve()
        fill(disk)

        with pytest.raises(StateUnwritable, match="Free space"):
            await database.commit(Write("ordinary"))
        for number in range(20):
            await database.commit(Write(f"urgent-{number}"), makes_room=True)
        with pytest.raises(StateUnwritable):
            await database.commit(Write("ordinary again"))

        assert await database.read(written) == {f"urgent-{number}" for number in range(20)}


async def test_room_of_the_reserve_is_nobody_elses(disk: Path) -> None:
    """What filled the disk goes on writing."""
    async with opened(disk) as database:
        await database.commit(Write("before"))
        await database.keep_reserve()
        fill(disk)
        await database.commit(Write("urgent"), makes_room=True)

        taken = fill(disk, name="more-ballast")

        assert taken < 64 * KIB, "what the log had not got yet"
        for number in range(30):
            await database.commit(Write(f"urgent-{number}"), makes_room=True)


async def test_of_changes_that_come_together_only_those_that_make_room_are_saved(disk: Path) -> None:
    async with opened(disk) as database:
        await database.keep_reserve()
        fill(disk)

        outcomes = await asyncio.gather(
            database.commit(Write("one")),
            database.commit(Write("two"), makes_room=True),
            database.commit(Write("three")),
            return_exceptions=True,
        )

        assert [isinstance(outcome, StateUnwritable) for outcome in outcomes] == [True, False, True]
        assert await database.read(written) == {"two"}


async def test_everything_is_saved_again_as_soon_as_there_is_room(disk: Path) -> None:
    async with opened(disk) as database:
        await database.keep_reserve()
        fill(disk)
        await database.commit(Write("urgent"), makes_room=True)
        (disk / "ballast").unlink()

        await database.commit(Write("ordinary"))

        assert await database.read(written) == {"urgent", "ordinary"}
        assert (disk / "data" / RESERVE_NAME).stat().st_blocks * 512 >= MIB


async def test_reserve_that_was_lent_is_taken_back_when_the_database_closes_on_the_full_disk(disk: Path) -> None:
    async with opened(disk) as database:
        await database.keep_reserve()
        fill(disk)
        await database.commit(Write("urgent"), makes_room=True)
        assert not (disk / "data" / RESERVE_NAME).exists()

    assert (disk / "data" / RESERVE_NAME).stat().st_blocks * 512 > 900 * KIB
    async with opened(disk) as database:
        await database.commit(Write("urgent again"), makes_room=True)
        assert await database.read(written) == {"urgent", "urgent again"}
        assert database.losses == ()


async def test_kill_while_the_reserve_is_lent_loses_nothing(disk: Path) -> None:
    async with opened(disk) as database:
        await database.keep_reserve()
        fill(disk)
        kept = set[str]()
        for number in range(5):
            await database.commit(Write(str(number)), makes_room=True)
            kept.add(str(number))
            killed = disk.parent / f"killed-{number}"
            await asyncio.to_thread(shutil.copytree, disk / "data", killed / "data")

            async with opened(killed) as found:
                assert await found.read(written) == kept
                assert found.losses == ()


async def test_used_up_reserve_refuses_in_words_and_breaks_nothing(disk: Path) -> None:
    async with opened(disk) as database:
        await database.keep_reserve()
        fill(disk)
        kept = set[str]()
        with pytest.raises(StateUnwritable, match="Free space"):
            for number in range(1_000):
                await database.commit(Write(str(number)), makes_room=True)
                kept.add(str(number))
        assert len(kept) > 30
        assert await database.read(written) == kept

    async with opened(disk) as database:
        assert await database.read(written) == kept
        assert database.losses == ()


async def test_no_reserve_is_taken_where_others_would_be_left_with_nothing(disk: Path) -> None:
    async with opened(disk) as database:
        fill(disk, MIB + MARGIN_BYTES - 1)
        assert not await database.keep_reserve()
        assert not (disk / "data" / RESERVE_NAME).exists()

        await database.commit(Write("ordinary"))


async def test_reserve_without_blocks_is_made_again(disk: Path) -> None:
    """So it comes back from a backup that does not store empty files as such."""
    async with opened(disk) as database:
        with (disk / "data" / RESERVE_NAME).open("wb") as file:
            file.truncate(MIB)

        assert await database.keep_reserve()

        assert (disk / "data" / RESERVE_NAME).stat().st_blocks * 512 >= MIB


# --- the system -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def notebook(disk: Path, reserve_mib: int) -> AsyncIterator[System]:
    settings = {"kernel.disk_reserve_mib": reserve_mib}
    async with running_system(disk, plugins=[Notebook], settings=settings) as system:
        yield system


def problems_of(system: System) -> set[str]:
    return {problem.type for problem in system.problems}


async def test_job_that_makes_room_runs_on_a_full_disk_and_another_is_refused(disk: Path) -> None:
    async with notebook(disk, reserve_mib=1) as system:
        fill(disk)

        with pytest.raises(Unavailable, match="Free space"):
            for number in range(100):  # the log has some pages left from before
                await system.jobs.run(write_notes(key=str(number)))
        before = notes_of(system)
        await system.jobs.run(make_room(key="y"))

        assert notes_of(system) == {*before, "y"}
        assert "free_space" in problems_of(system)


async def test_job_that_was_accepted_is_ended_out_of_the_reserve(disk: Path) -> None:
    """The disk becomes full between acceptance and first step, so to speak: it has room for that and little more."""
    async with notebook(disk, reserve_mib=1) as system:
        for leave in range(0, 40 * KIB, 4 * KIB):
            fill(disk, leave, f"ballast-{leave}")
            try:
                await system.jobs.run(write_notes(key=str(leave)))
                expected = {f"{leave}-one", f"{leave}-two"}
            except Unavailable:
                expected = set()
            assert {note for note in notes_of(system) if note.startswith(f"{leave}-")} == expected
            for ballast in disk.glob("ballast*"):
                ballast.unlink()
            await system._look_for_room()
        assert len(notes_of(system)) >= 2, "some must have been accepted"
        assert [info for info in system.jobs.listing() if not info.done] == []


async def test_full_disk_is_a_problem_until_there_is_room(disk: Path) -> None:
    async with notebook(disk, reserve_mib=1) as system:
        assert problems_of(system) == set()
        fill(disk)
        await system._look_for_room()
        assert problems_of(system) == {"free_space"}

        (disk / "ballast").unlink()
        await system._look_for_room()

        assert problems_of(system) == set()


@pytest.mark.parametrize("reserve_mib", [0, 1])
async def test_system_starts_and_ends_on_a_full_disk(disk: Path, reserve_mib: int) -> None:
    async with notebook(disk, reserve_mib) as system:
        await system.jobs.run(write_notes(key="x"))
    fill(disk)

    async with notebook(disk, reserve_mib) as system:
        assert notes_of(system) == {"x-one", "x-two"}
        assert problems_of(system) == {"free_space"}
        if reserve_mib:
            await system.jobs.run(make_room(key="y"))
            assert "y" in notes_of(system)
    (disk / "ballast").unlink()

    async with notebook(disk, reserve_mib) as system:
        assert problems_of(system) == set()
        await system.jobs.run(write_notes(key="z"))


async def test_disk_that_fills_at_any_page_of_a_job_leaves_all_of_it_or_nothing(tmp_path: Path) -> None:
    """Without a reserve. The room ends at each page that accepting the job, its steps and its end would write."""
    refused = done = 0
    for pages in range(0, 60, 3):
        with small_disk(tmp_path / f"disk-{pages}", KIB) as disk:
            async with notebook(disk, reserve_mib=0) as system:
                fill(disk, pages * 4 * KIB)
                try:
                    await system.jobs.run(write_notes(key="x"))
                    expected = {"x-one", "x-two"}
                    done += 1
                except Unavailable as error:
                    assert error.error_key == "state_unwritable_error"
                    expected = set()
                    refused += 1
                assert notes_of(system) >= expected  # what could not be taken back on the full disk is, when it can
            (disk / "ballast").unlink()
            async with notebook(disk, reserve_mib=0) as system:
                await until_jobs_end(system)
                assert notes_of(system) == expected, f"{pages} pages: the next start changed what was told"
    assert refused > 2
    assert done > 2


@pytest.mark.parametrize("size_kib", [16, 32, 64, 96, 128])
async def test_disk_of_a_few_pages_refuses_in_words_and_serves_once_it_is_larger(tmp_path: Path, size_kib: int) -> None:
    with small_disk(tmp_path / "disk", size_kib) as disk:
        try:
            async with notebook(disk, reserve_mib=1) as system:
                await system.jobs.run(write_notes(key="x"))
                written = notes_of(system)
        except Unavailable as error:
            assert "Free space" in error.message or "has space" in error.message
            written = set()
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=8m", str(disk)], check=True)

        async with notebook(disk, reserve_mib=1) as system:
            await until_jobs_end(system)
            assert notes_of(system) == written
            assert problems_of(system) == set()
