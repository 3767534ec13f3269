"""The database: batches that are whole, a disk that refuses, files that are damaged, processes that are killed."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from rooftree.errors import NotReady
from rooftree.state import failpoints
from rooftree.state.database import Database, View
from rooftree.state.database_file import COPIES_KEPT, NewerState, StateDamaged, StateUnwritable
from rooftree.state.folder import DataFolder
from tests.torture import numbered_batches
from tests.torture.requirements import no_more_files, require_strace, small_disk


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    folder = await asyncio.to_thread(DataFolder.open, path)
    try:
        database = await Database.open(folder)
        try:
            yield database
        finally:
            await database.close()
    finally:
        folder.close()


@define(eq=False)
class Notes:
    """A mirror of the rows that tests write into ``meta``."""

    seen: list[Mapping[str, Any]] = field(factory=list)

    def swap(self, changes: Mapping[str, Any]) -> None:
        self.seen.append(changes)


@frozen
class Write:
    """Store a value; answers how many rows it saw before."""

    key: str
    value: str = "x"
    notes: Notes = field(factory=Notes)

    def apply(self, connection: sqlite3.Connection, view: View) -> int:
        before: int = connection.execute("SELECT count(*) FROM meta WHERE key LIKE 'test.%'").fetchone()[0]
        connection.execute("INSERT INTO meta VALUES (?, ?)", (f"test.{self.key}", self.value))
        view.changed(self.notes, self.key, self.value)
        return before


@frozen
class Fail:
    """A change with a mistake in it, after it wrote."""

    error: BaseException

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        connection.execute("INSERT INTO meta VALUES ('test.failing', '')")
        raise self.error


@frozen
class Trace:
    """Note every statement from now on."""

    statements: list[str]

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        connection.set_trace_callback(self.statements.append)


def written(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT key FROM meta WHERE key LIKE 'test.%'")
    return {key.removeprefix("test.") for (key,) in rows}


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy, so that what is committed in the block arrives as one group when it ends."""
    release = threading.Event()
    holding = asyncio.ensure_future(database.read(lambda _: release.wait(30)))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        release.set()
        await holding


async def started(*calls: Any) -> list[asyncio.Future[Any]]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)  # each has handed over its batch
    return tasks


# Batches


async def test_batches_that_arrive_together_share_one_transaction(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        statements: list[str] = []
        await database.commit(Trace(statements))
        statements.clear()
        async with held(database):
            batches = await started(*(database.commit(Write(str(n))) for n in range(20)))
        answers = await asyncio.gather(*batches)

        assert answers == [[n] for n in range(20)]
        assert statements.count("COMMIT") == 1


async def test_failing_batch_is_undone_alone_and_tells_its_own_caller(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        async with held(database):
            batches = await started(
                database.commit(Write("first")),
                database.commit(Write("torn"), Fail(ValueError("mistake"))),
                database.commit(Fail(SystemExit())),
                database.commit(Write("first")),
                database.commit(Write("last")),
            )
        first, torn, leaving, twice, last = await asyncio.gather(*batches, return_exceptions=True)

        assert (first, last) == ([0], [1])
        assert isinstance(torn, ValueError)
        assert isinstance(leaving, RuntimeError)
        assert isinstance(twice, sqlite3.IntegrityError)
        assert await database.read(written) == {"first", "last"}

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"first", "last"}


async def test_mirrors_learn_of_durable_batches_in_order_and_of_no_failed_one(tmp_path: Path) -> None:
    notes = Notes()
    async with opened(tmp_path) as database:
        async with held(database):
            batches = await started(
                database.commit(Write("a", "1", notes), Write("b", "1", notes)),
                database.commit(Write("c", "1", notes), Fail(ValueError())),
                database.commit(Write("d", "1", notes)),
            )
            assert notes.seen == []
        await asyncio.gather(*batches, return_exceptions=True)

        assert notes.seen == [{"a": "1", "b": "1", "d": "1"}]


async def test_batch_of_a_cancelled_caller_takes_place_whole(tmp_path: Path) -> None:
    notes = Notes()
    async with opened(tmp_path) as database:
        async with held(database):
            (leaving,) = await started(database.commit(Write("a", "1", notes), Write("b", "1", notes)))
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving

        assert await database.read(written) == {"a", "b"}
        assert notes.seen == [{"a": "1", "b": "1"}]


async def test_commit_of_nothing_answers_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        assert await database.commit() == []


async def test_read_can_not_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.read(lambda connection: connection.execute("DELETE FROM meta"))
        await database.read(lambda connection: connection.execute("BEGIN"))

        await database.commit(Write("after"))
        assert await database.read(written) == {"after"}


async def test_change_that_ends_the_transaction_is_told_and_the_database_stays_usable(tmp_path: Path) -> None:
    class Ending:
        def apply(self, connection: sqlite3.Connection, view: View) -> None:
            connection.execute("ROLLBACK")

    async with opened(tmp_path) as database:
        with pytest.raises(RuntimeError, match="ended the transaction"):
            await database.commit(Ending())

        assert await database.commit(Write("after")) == [0]


async def test_close_does_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        batches = await started(*(database.commit(Write(str(n))) for n in range(50)))
        await database.close()
        await asyncio.gather(*batches)

        with pytest.raises(NotReady):
            await database.commit(Write("late"))
        with pytest.raises(NotReady):
            await database.copy()

    assert not (tmp_path / "rooftree.db-wal").exists()
    async with opened(tmp_path) as database:
        assert len(await database.read(written)) == 50


# A disk that refuses


@pytest.mark.parametrize("action", ["nospace", "raise"])
async def test_refused_commit_fails_every_batch_of_its_group_and_changes_nothing(tmp_path: Path, action: str) -> None:
    notes = Notes()
    async with opened(tmp_path) as database:
        await database.commit(Write("before", "1", notes))
        failpoints.arm(f"database.before_commit={action}@1")
        async with held(database):
            batches = await started(
                database.commit(Write("a", "1", notes)),
                database.commit(Fail(ValueError("mistake"))),
                database.commit(Write("b", "1", notes)),
            )
        first, mistaken, second = await asyncio.gather(*batches, return_exceptions=True)

        for refused in (first, second):
            assert isinstance(refused, StateUnwritable)
            assert (refused.status, refused.error_key) == (503, "state_unwritable_error")
            assert "Free space" in refused.message
        assert isinstance(mistaken, ValueError)
        assert notes.seen == [{"before": "1"}]
        await database.commit(Write("after", "1", notes))
        assert await database.read(written) == {"before", "after"}


async def test_full_disk_refuses_at_every_page_and_works_again_when_there_is_space(tmp_path: Path) -> None:
    """The disk has room for none, one, two … pages more: the refusal comes at each possible write of a commit."""
    with small_disk(tmp_path / "disk", 1024) as disk:
        saved: set[str] = set()
        refusals = 0
        ballast = disk / "ballast"
        async with opened(disk / "data") as database:
            for pages in range(12):
                ballast.write_bytes(b"x" * (shutil.disk_usage(disk).free - pages * 4096))
                for turn in range(3):
                    key = f"{pages}-{turn}"
                    try:
                        await database.commit(Write(key, "y" * 9000))
                        saved.add(key)
                    except StateUnwritable:
                        refusals += 1
                    assert await database.read(written) == saved
                ballast.unlink()
            assert refusals > 5
            await database.commit(Write("after"))
            saved.add("after")

        async with opened(disk / "data") as database:
            assert await database.read(written) == saved
            assert database.losses == ()


async def test_full_disk_leaves_the_older_copies_and_no_part_of_a_new_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        async with opened(disk / "data") as database:
            first = await database.copy()
            content = first.read_bytes()
            await database.commit(Write("more", "y" * 9000))
            (disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(disk).free - 8192))

            with pytest.raises(StateUnwritable, match="not copied"):
                await database.copy()

            assert [path.name for path in (disk / "data" / "copies").iterdir()] == [first.name]
            assert first.read_bytes() == content
            assert shutil.disk_usage(disk).free == 8192
            (disk / "ballast").unlink()
            assert (await database.copy()).name == "rooftree-2.db"


@pytest.mark.parametrize("closed", [True, False], ids=["closed before", "closed on it"])
async def test_full_disk_stops_neither_a_start_nor_an_end(tmp_path: Path, closed: bool) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        async with opened(disk / "data") as database:
            for n in range(8):
                await database.commit(Write(str(n), "y" * 9000))
            if not closed:
                (disk / "more-ballast").write_bytes(b"x" * shutil.disk_usage(disk).free)
        (disk / "ballast").write_bytes(b"x" * shutil.disk_usage(disk).free)

        async with opened(disk / "data") as database:
            assert len(await database.read(written)) == 8
            assert database.losses == ()
            with pytest.raises(StateUnwritable):
                await database.commit(Write("more", "y" * 9000))
            for ballast in disk.glob("*ballast"):
                ballast.unlink()
            await database.commit(Write("more", "y" * 9000))

        async with opened(disk / "data") as database:
            assert len(await database.read(written)) == 9
            assert database.losses == ()


async def test_running_out_of_files_while_opening_is_not_taken_for_damage(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.commit(Write("kept"))
    folder = await asyncio.to_thread(DataFolder.open, tmp_path)
    with no_more_files(), pytest.raises(StateUnwritable):
        await Database.open(folder)
    folder.close()

    assert not (tmp_path / "damaged").exists()
    async with opened(tmp_path) as database:
        assert await database.read(written) == {"kept"}
        assert database.losses == ()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_failures_leave_no_file_open(tmp_path: Path) -> None:
    async def fail_once(database: Database) -> None:
        for failing in (database.commit(Write("refused")), database.copy()):
            with pytest.raises(StateUnwritable):
                await failing

    async with opened(tmp_path) as database:
        await database.commit(Write("kept"))
        failpoints.arm("database.before_commit=nospace,database.copying=raise")
        await fail_once(database)
        before = open_files()
        for _ in range(500):
            await fail_once(database)
        assert open_files() == before
        failpoints.arm("")


# Copies


async def test_newest_copies_are_kept_and_each_is_a_whole_database(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for n in range(COPIES_KEPT + 2):
            await database.commit(Write(str(n)))
            newest = await database.copy()

        assert sorted(path.name for path in newest.parent.iterdir()) == [
            "rooftree-3.db",
            "rooftree-4.db",
            "rooftree-5.db",
        ]
        with closing(sqlite3.connect(newest)) as connection:
            assert len(written(connection)) == COPIES_KEPT + 2


async def test_copy_of_what_has_not_changed_is_the_one_there_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.commit(Write("a"))
        first = await database.copy()
        assert await database.copy() == first
        await database.commit(Write("b"))
        second = await database.copy()
        assert second != first

    for _ in range(2):
        async with opened(tmp_path) as database:
            assert await database.copy() == second, "restarts alone must not push older copies out"


@pytest.mark.parametrize("place", ["database.copying", "database.before_replace"])
async def test_failed_copy_leaves_no_trace(tmp_path: Path, place: str) -> None:
    async with opened(tmp_path) as database:
        first = await database.copy()
        await database.commit(Write("a"))
        failpoints.arm(f"{place}=raise@1")

        with pytest.raises(StateUnwritable):
            await database.copy()

        assert list(first.parent.iterdir()) == [first]


async def test_copy_of_a_damaged_document_is_refused_so_that_good_copies_last(tmp_path: Path) -> None:
    class Damage:
        def apply(self, connection: sqlite3.Connection, view: View) -> None:
            connection.execute("INSERT INTO document VALUES ('c', 'k', 1, X'7b7d', X'0011223344556677')")

    async with opened(tmp_path) as database:
        first = await database.copy()
        await database.commit(Damage())

        with pytest.raises(StateDamaged, match="has 1 damaged documents"):
            await database.copy()

        assert list(first.parent.iterdir()) == [first]


async def test_copy_with_a_page_that_the_disk_lost_is_refused_so_that_good_copies_last(tmp_path: Path) -> None:
    """No document is damaged; the page belongs to a table that nobody has read since the start."""
    async with opened(tmp_path) as database:
        first = await database.copy()
    async with opened(tmp_path) as database:
        await database.commit(Write("a"))
        number = await database.read(
            lambda c: c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'damaged_document'").fetchone()[0]
        )
        with database.folder.database_path.open("r+b") as file:
            file.seek((number - 1) * 4096)
            file.write(b"\xff" * 4096)

        with pytest.raises(StateDamaged, match=r"(?s)is damaged .*no copy was made of it, the older ones are kept"):
            await database.copy()

        assert list(first.parent.iterdir()) == [first]


@pytest.mark.parametrize(("statement", "says"), [
    ("DELETE FROM meta WHERE key = 'schema'", "does not say which version it has"),
    ("DROP TABLE damaged_document", "lacks the tables damaged_document"),
])  # fmt: skip
async def test_copy_that_no_start_could_use_is_refused(tmp_path: Path, statement: str, says: str) -> None:
    class Break:
        def apply(self, connection: sqlite3.Connection, view: View) -> None:
            connection.execute(statement)

    async with opened(tmp_path) as database:
        first = await database.copy()
        await database.commit(Break())

        with pytest.raises(StateDamaged, match=says):
            await database.copy()

        assert list(first.parent.iterdir()) == [first]


# Damage


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garbage_behind_the_header(path: Path) -> None:
    header = path.read_bytes()[:100]
    path.write_bytes(header + random.Random(1).randbytes(30_000))


def large_json(path: Path) -> None:
    path.write_bytes(b'{"documents": [' + b" " * 4096)
    os.truncate(path, 100_000_000)


def other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photo (name TEXT)")


def without_documents(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DROP TABLE document")


def folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": truncated,
    "one byte": lambda path: os.truncate(path, 1),
    "nul": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "random": lambda path: path.write_bytes(random.Random(2).randbytes(20_000)),
    "wrong type": lambda path: path.write_bytes(b'["a", "list"]'),
    "large json": large_json,
    "invalid utf-8": lambda path: path.write_bytes(b"\xc3\x28\xff\xfe" * 5000),
    "garbage behind the header": garbage_behind_the_header,
    "other database": other_database,
    "without documents": without_documents,
    "folder": folder_in_its_place,
    "missing": Path.unlink,
}


async def two_generations(path: Path) -> None:
    """A closed database with the rows ``one`` and ``two``, a copy with both, an older one with ``one``; made once."""
    made = path.parent / "two-generations"
    if not made.exists():
        async with opened(made) as database:
            await database.commit(Write("one"))
            await database.copy()
            await database.commit(Write("two"))
    shutil.copytree(made, path, dirs_exist_ok=True)


def telling(*kinds: str) -> list[Any]:
    """Every kind of damage, but those that tell the same as ``kinds`` in ``make torture`` only."""
    return [kind if kind in kinds else pytest.param(kind, marks=pytest.mark.torture) for kind in DAMAGES]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_damaged_database_is_set_aside_and_the_newest_copy_used(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    await two_generations(tmp_path)
    path = tmp_path / "rooftree.db"
    damage(path)
    content = path.read_bytes() if path.is_file() and path.stat().st_size < 1_000_000 else None
    begun = time.monotonic()

    async with opened(tmp_path) as database:
        assert time.monotonic() - begun < 3
        assert await database.read(written) == {"one", "two"}
        (loss,) = database.losses
        assert loss.kind == "database"
        assert loss.restored_from == tmp_path / "copies" / "rooftree-2.db"
        assert loss.restored_as_of is not None
        assert datetime.now(UTC) - loss.restored_as_of < timedelta(minutes=5)
        if damage is not Path.unlink:
            assert loss.set_aside is not None
            assert str(loss.set_aside) in loss.message
            if content is not None:
                assert (loss.set_aside / "rooftree.db").read_bytes() == content
        await database.commit(Write("three"))

    async with opened(tmp_path) as database:
        assert list(database.losses) == [loss], "it is told until somebody has noted it"
        await database.commit(database.forget_loss(loss))
        assert list(database.losses) == []
        assert await database.read(written) == {"one", "two", "three"}

    async with opened(tmp_path) as database:
        assert database.losses == ()


@pytest.mark.parametrize(
    "kind", telling("empty", "truncated", "large json", "garbage behind the header", "folder", "missing")
)
async def test_damaged_copy_is_passed_over_for_an_older_one(tmp_path: Path, kind: str) -> None:
    await two_generations(tmp_path)
    DAMAGES[kind](tmp_path / "rooftree.db")
    DAMAGES[kind](tmp_path / "copies" / "rooftree-2.db")

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"one"}
        assert [loss.restored_from for loss in database.losses] == [tmp_path / "copies" / "rooftree-1.db"]


@pytest.mark.parametrize("kind", telling("truncated", "folder", "missing"))
async def test_without_any_good_copy_it_begins_anew_and_says_so(tmp_path: Path, kind: str) -> None:
    await two_generations(tmp_path)
    for path in (tmp_path / "rooftree.db", *(tmp_path / "copies").iterdir()):
        DAMAGES[kind](path)

    async with opened(tmp_path) as database:
        assert await database.read(written) == set()
        (loss,) = database.losses
        assert loss.restored_from is None
        assert "begins with an empty one" in loss.message
        await database.commit(Write("new"))


async def test_first_start_is_no_loss_and_sparse_bytes_behind_a_good_database_are_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        assert database.losses == ()
        await database.commit(Write("kept"))
    os.truncate(tmp_path / "rooftree.db", 100_000_000)
    begun = time.monotonic()

    async with opened(tmp_path) as database:
        assert time.monotonic() - begun < 3
        assert await database.read(written) == {"kept"}
        await database.commit(Write("more"))

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"kept", "more"}


async def crashed(path: Path) -> None:
    """What lies on the disk when the process dies after the row ``old`` (in the file) and four more (in its log)."""
    made = path.parent / "crashed"
    if not made.exists():
        async with opened(path.parent / "running") as database:
            await database.commit(Write("old"))
            for n in range(4):
                await database.commit(Write(f"new-{n}"))
            shutil.copytree(database.folder.path, made)
    shutil.copytree(made, path, dirs_exist_ok=True)


async def test_crash_alone_loses_nothing(tmp_path: Path) -> None:
    await crashed(tmp_path)

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"old", "new-0", "new-1", "new-2", "new-3"}
        assert database.losses == ()


@pytest.mark.parametrize("kind", ["empty", "nul", "random", "wrong type", "large json", "folder", "missing"])
async def test_damaged_log_is_set_aside_and_told(tmp_path: Path, kind: str) -> None:
    await crashed(tmp_path)
    DAMAGES[kind](tmp_path / "rooftree.db-wal")

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"old"}
        assert [loss.kind for loss in database.losses] == ["database_log"]
        await database.commit(Write("after"))

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"old", "after"}
        assert len(database.losses) == 1


@pytest.mark.parametrize("offset", [16, 24])
async def test_flipped_bit_in_the_header_of_the_log_is_told(tmp_path: Path, offset: int) -> None:
    await crashed(tmp_path)
    flip(tmp_path / "rooftree.db-wal", offset)

    async with opened(tmp_path) as database:
        assert [loss.kind for loss in database.losses] == ["database_log"]


async def test_flipped_bit_in_the_middle_of_the_log_is_told(tmp_path: Path) -> None:
    await crashed(tmp_path)
    flip(tmp_path / "rooftree.db-wal", 32 + 24 + 4096 + 24 + 100)

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"old", "new-0"}
        (loss,) = database.losses
        assert (loss.kind, loss.restored_as_of) == ("database_log", None)
        assert loss.set_aside is not None
        assert (loss.set_aside / "rooftree.db-wal").stat().st_size > 4096


async def test_torn_last_transaction_in_the_log_is_no_loss(tmp_path: Path) -> None:
    await crashed(tmp_path)
    log = tmp_path / "rooftree.db-wal"
    content = log.read_bytes()
    log.write_bytes(content[:-100] + b"\0" * 100)

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"old", "new-0", "new-1", "new-2"}
        assert database.losses == ()


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(version),))


async def test_database_of_a_newer_rooftree_refuses_and_is_left_as_it_was(tmp_path: Path) -> None:
    await two_generations(tmp_path)
    set_version(tmp_path / "rooftree.db", 2)
    content = (tmp_path / "rooftree.db").read_bytes()

    with pytest.raises(NewerState, match="has version 2, this Rooftree knows 1"):
        async with opened(tmp_path):
            pass

    assert (tmp_path / "rooftree.db").read_bytes() == content
    assert not (tmp_path / "damaged").exists()


async def test_damaged_database_with_only_newer_copies_refuses_and_is_left_as_it_was(tmp_path: Path) -> None:
    await two_generations(tmp_path)
    for copy in (tmp_path / "copies").iterdir():
        set_version(copy, 2)
    (tmp_path / "rooftree.db").write_bytes(b"")

    with pytest.raises(NewerState):
        async with opened(tmp_path):
            pass

    assert (tmp_path / "rooftree.db").read_bytes() == b""
    assert not (tmp_path / "damaged").exists()


# Kills

OPEN = """
import asyncio, pathlib, sys
import rooftree.daemon.lean_imports
from rooftree.state.folder import DataFolder
from rooftree.state.database import Database
async def main():
    await Database.open(DataFolder.open(pathlib.Path(sys.argv[1])))
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "place", ["data_folder.set_aside=kill", "database.after_replace=kill"], ids=["half done", "all done"]
)
async def test_restoring_that_is_killed_is_still_told_at_the_next_start(tmp_path: Path, place: str) -> None:
    await two_generations(tmp_path)
    damaged = b"damaged" * 1000
    (tmp_path / "rooftree.db").write_bytes(damaged)
    killed = await asyncio.to_thread(numbered_batches.run, [sys.executable, "-c", OPEN, str(tmp_path)], place)
    assert killed.returncode == -9, killed.stderr

    async with opened(tmp_path) as database:
        assert await database.read(written) == {"one", "two"}
        assert [loss.kind for loss in database.losses] == ["database"]
    assert [path.read_bytes() for path in (tmp_path / "damaged").glob("*/rooftree.db")] == [damaged]


async def test_process_killed_while_it_copies_leaves_whole_batches_and_every_acknowledged_one(tmp_path: Path) -> None:
    command = numbered_batches.command(tmp_path, 60)
    child = await asyncio.to_thread(numbered_batches.run, command, "database.copying=kill")

    assert child.returncode == -9, child.stderr
    await numbered_batches.check_batches(tmp_path, numbered_batches.last_acknowledged(child.stdout))


async def test_process_killed_at_any_moment_leaves_whole_batches(tmp_path: Path) -> None:
    saved = await asyncio.to_thread(save_until, tmp_path, 40)

    assert await numbered_batches.check_batches(tmp_path, saved) >= 40


def save_until(path: Path, acknowledgements: int) -> int:
    """Kill the process once it has acknowledged so many batches; the last one that it had acknowledged then."""
    output = ""
    with subprocess.Popen(numbered_batches.command(path, 100_000), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(acknowledgements):
            output += child.stdout.readline()
        child.kill()
        output += child.stdout.read()
    return numbered_batches.last_acknowledged(output)


async def test_process_killed_at_a_system_call_leaves_whole_batches(tmp_path: Path) -> None:
    """A sample; ``tests/torture`` takes every call."""
    child = await asyncio.to_thread(run_with_fault, tmp_path, "signal=KILL:when=40")

    assert child.returncode != 0
    await numbered_batches.check_batches(tmp_path, numbered_batches.last_acknowledged(child.stdout))


async def test_commit_refused_by_fsync_does_not_come_back_after_a_kill(tmp_path: Path) -> None:
    child = await asyncio.to_thread(run_with_fault, tmp_path, "error=EIO:when=8", "fdatasync")
    acknowledged = numbered_batches.last_acknowledged(child.stdout)

    assert child.returncode != 0
    assert await numbered_batches.check_batches(tmp_path, acknowledged) == acknowledged > 0


def run_with_fault(path: Path, fault: str, calls: str = numbered_batches.WRITING) -> subprocess.CompletedProcess[str]:
    strace = [require_strace(), "-f", "-qq", "-o", os.devnull]
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    return numbered_batches.run([*strace, *inject, *numbered_batches.command(path, 30)])
