"""What Core's part of a backup holds, and how Core keeps still while it is read."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest

from rooftree.interfaces.backups import PartLeftOut, PartWishes
from rooftree.interfaces.containers import DataPath
from rooftree.interfaces.core import CORE, CoreRefused
from rooftree_homeassistant import database_copies
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.database_copies import DatabaseReplaced, DatabaseUnreadable, copy_database, databases
from rooftree_homeassistant.home_assistant import NAME
from tests.plugins.homeassistant.house import OLD, CoreHouse
from tests.plugins.homeassistant.restoring import source_of
from tests.plugins.homeassistant.running_core import CoreEngine
from tests.rig.staged_parts import USUAL

HISTORY, OTHER = "home-assistant_v2.db", "zigbee.db"
NO_DATABASE = PartWishes(exclude_database=True)


def make_database(path: Path, rows: int = 10) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE state (number INTEGER, text TEXT)")
        database.executemany("INSERT INTO state VALUES (?, ?)", [(number, "x" * 500) for number in range(rows)])


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count: int = database.execute("SELECT count(*) FROM state").fetchone()[0]
        return count


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Somebody writes into a database all the time, two rows with each transaction."""
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            while not over.is_set():
                with database:
                    database.executemany("INSERT INTO state VALUES (?, ?)", [(0, "y" * 500)] * 2)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@pytest.fixture
async def reached(lived_in: CoreHouse) -> CoreHouse:
    """A house whose Core can be told something."""
    await lived_in.comes_true("Core's answer", lambda: lived_in.system.services.get(CORE).answers)
    return lived_in


async def databases_made(house: CoreHouse) -> None:
    for name in (HISTORY, OTHER):
        await asyncio.to_thread((house.config / name).unlink, missing_ok=True)
        await asyncio.to_thread(make_database, house.config / name)


async def test_core_is_told_before_and_after_and_its_history_read_as_it_lies(
    reached: CoreHouse, behind: CoreEngine
) -> None:
    await databases_made(reached)

    async with (await source_of(reached)).hold(NAME, USUAL) as contents:
        told = [entry["type"] for entry in await behind.core.told("command") if "backup" in str(entry["type"])]
        copied = {name: await asyncio.to_thread(rows_in, file) for name, file in contents.files.items()}

    after = [entry["type"] for entry in await behind.core.told("command") if "backup" in str(entry["type"])]
    assert (told, after) == (["backup/start"], ["backup/start", "backup/end"])
    assert copied == {f"data/{OTHER}": 10}
    (tree,) = contents.trees
    assert (tree.name, tree.source, tree.matching) == ("data", DataPath("homeassistant"), "whole")
    assert {"*.log", "backups/*.tar", f"{OTHER}-wal"} <= set(tree.excluded)
    assert not contents.exclude_database
    assert not any(await asyncio.gather(*(asyncio.to_thread(file.exists) for file in contents.files.values())))


async def test_part_says_what_is_set_of_core(reached: CoreHouse) -> None:
    await reached.call("options", port=8124, audio_output="speakers", refresh_token="secret word")

    async with (await source_of(reached)).hold(NAME, USUAL) as contents:
        record = orjson.loads(contents.documents["homeassistant.json"])

    (part,) = (await source_of(reached)).parts()
    assert part.version == OLD
    assert (record["version"], record["image"]) == (OLD, reached.core.image)
    assert (record["audio_output"], record["refresh_token"]) == ("speakers", "secret word")
    assert "secret word" not in repr(contents)


@pytest.mark.parametrize("by_wish", [True, False])
async def test_database_is_left_out_where_that_is_wished_or_set(reached: CoreHouse, by_wish: bool) -> None:
    await databases_made(reached)
    await reached.call("options", backups_exclude_database=not by_wish)

    async with (await source_of(reached)).hold(NAME, NO_DATABASE if by_wish else USUAL) as contents:
        pass

    assert contents.exclude_database
    assert {"home-assistant_v?.db", "home-assistant_v?.db-wal"} <= set(contents.trees[0].excluded)
    assert contents.files.keys() == {f"data/{OTHER}"}


async def test_history_of_a_core_that_would_not_keep_still_is_copied(
    reached: CoreHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    await databases_made(reached)

    async def refuse(*_: object, **__: object) -> None:
        raise CoreRefused("it can't")

    monkeypatch.setattr(CoreClient, "command", refuse)

    with written_to(reached.config / HISTORY):
        async with (await source_of(reached)).hold(NAME, USUAL) as contents:
            count = await asyncio.to_thread(rows_in, contents.files[f"data/{HISTORY}"])

    assert count >= 10
    assert count % 2 == 0, "a transaction is in it whole or not at all"
    assert f"{HISTORY}-wal" in contents.trees[0].excluded


async def test_core_that_does_not_run_is_backed_up_as_it_lies(reached: CoreHouse, behind: CoreEngine) -> None:
    await databases_made(reached)
    await reached.call("stop")

    async with (await source_of(reached)).hold(NAME, USUAL) as contents:
        pass

    assert contents.files == {}
    assert [tree.name for tree in contents.trees] == ["data"]


async def test_core_that_is_restarted_meanwhile_is_not_in_the_backup(reached: CoreHouse) -> None:
    with pytest.raises(PartLeftOut, match="started or ended"):
        async with (await source_of(reached)).hold(NAME, USUAL):
            await reached.call("restart")


async def test_core_that_is_not_installed_has_no_part(home: CoreHouse) -> None:
    source = await source_of(home)

    assert source.parts() == []
    with pytest.raises(PartLeftOut, match="not installed"):
        async with source.hold(NAME, USUAL):
            pass


async def test_core_is_told_that_it_is_over_where_the_backup_fails_or_was_killed(
    reached: CoreHouse, behind: CoreEngine
) -> None:
    source = await source_of(reached)

    with pytest.raises(OSError, match="disk"):
        async with source.hold(NAME, USUAL):
            raise OSError("the disk is full")
    await source.release(NAME)

    ends = await behind.core.told("command", type="backup/end")
    assert len(ends) == 2


# --- copies of databases ----------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "homeassistant"
    folder.mkdir(parents=True)
    return folder


def copied(config: Path, name: str) -> Path:
    copy = config.parent.parent / "copy.db"
    copy_database(config.parent, DataPath(config.name), name, copy, lambda: False)
    return copy


def test_copy_opens_whatever_is_written_meanwhile(config: Path) -> None:
    make_database(config / OTHER, rows=5_000)

    with written_to(config / OTHER):
        count = rows_in(copied(config, OTHER))

    assert count >= 5_000
    assert count % 2 == 0


def test_what_is_no_database_of_the_folder_is_not_copied(config: Path) -> None:
    make_database(config.parent / "secret.db")
    (config / "link.db").symlink_to("../secret.db")
    (config / "text.db").write_text("no database at all")
    (config / "folder.db").mkdir()
    make_database(config / OTHER)

    assert [database.name for database in databases(config.parent, DataPath(config.name))] == [OTHER]


def test_damaged_database_can_not_be_read(config: Path) -> None:
    make_database(config / OTHER)
    with (config / OTHER).open("r+b") as file:
        file.seek(30)
        file.write(b"\xff" * 2000)

    with pytest.raises(DatabaseUnreadable):
        copied(config, OTHER)


def test_database_that_is_replaced_meanwhile_is_not_taken_for_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database(config / OTHER)
    make_database(config.parent / "secret.db")
    connect = sqlite3.connect

    def connect_after_the_swap(*arguments: object, **options: object) -> sqlite3.Connection:
        (config / OTHER).unlink(missing_ok=True)
        (config / OTHER).hardlink_to(config.parent / "secret.db")
        return connect(*arguments, **options)  # type: ignore[call-overload, no-any-return]  # as it was called

    monkeypatch.setattr(sqlite3, "connect", connect_after_the_swap)

    with pytest.raises(DatabaseReplaced):
        copied(config, OTHER)


def test_copy_ends_when_nobody_waits_for_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_copies, "_AT_A_TIME", 10)
    make_database(config / OTHER, rows=1_000)
    copy = config.parent / "copy.db"

    copy_database(config.parent, DataPath(config.name), OTHER, copy, lambda: True)

    assert not copy.exists() or copy.stat().st_size < (config / OTHER).stat().st_size
