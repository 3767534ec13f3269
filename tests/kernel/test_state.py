"""Documents and collections: what is in memory is on the disk, and what is on the disk is never lost silently."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree.errors import Failed
from rooftree.state import failpoints
from rooftree.state.database import Change, Database
from rooftree.state.database_file import NewerState, StateDamaged, StateUnwritable
from rooftree.state.documents import Collection, State, document, document_kind
from rooftree.state.folder import DataFolder


@document("test.lamp")
@frozen
class Lamp:
    brightness: float
    rooms: tuple[str, ...] = ()


@document("test.room")
@frozen
class Room:
    name: str


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[State]:
    folder = await asyncio.to_thread(DataFolder.open, path)
    try:
        database = await Database.open(folder)
        try:
            yield State(database)
        finally:
            await database.close()
    finally:
        folder.close()


async def stored[T](path: Path, kind: type[T]) -> dict[str, T]:
    """What a new start finds."""
    async with opened(path) as state:
        assert state.database.losses == ()
        return dict(await state.collection(kind))


def brighter(lamp: Lamp) -> Lamp:
    return evolve(lamp, brightness=lamp.brightness + 1)


# Changes


async def test_documents_are_in_memory_and_still_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        answers = await state.commit(
            lamps.put("a", Lamp(1, ("hall",))), lamps.put("b", Lamp(2)), lamps.delete("b"), lamps.delete("never")
        )

        assert answers == [Lamp(1, ("hall",)), Lamp(2), True, False]
        assert dict(lamps) == {"a": Lamp(1, ("hall",))}
        assert lamps.revision == 1

    assert await stored(tmp_path, Lamp) == {"a": Lamp(1, ("hall",))}


async def test_collection_is_the_same_object_each_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        first, second = await asyncio.gather(state.collection(Lamp), state.collection(Lamp))
        assert first is second


async def test_memory_changes_only_when_the_disk_has_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(1)))
        release = threading.Event()
        holding = asyncio.ensure_future(state.database.read(lambda _: release.wait(30)))
        await asyncio.sleep(0)
        saving = asyncio.ensure_future(state.commit(lamps.put("a", Lamp(2))))
        await asyncio.sleep(0)

        assert (lamps["a"], lamps.revision) == (Lamp(1), 1)
        release.set()
        await asyncio.gather(holding, saving)
        assert (lamps["a"], lamps.revision) == (Lamp(2), 2)


async def test_refused_commit_leaves_memory_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(1)))
        failpoints.arm("database.before_commit=nospace@1")

        with pytest.raises(StateUnwritable):
            await state.commit(lamps.put("a", Lamp(2)), lamps.put("b", Lamp(2)))

        assert dict(lamps) == {"a": Lamp(1)}
        assert lamps.revision == 1
    assert await stored(tmp_path, Lamp) == {"a": Lamp(1)}


async def test_concurrent_updates_all_take_effect(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(0)))

        answers = await asyncio.gather(*(state.commit(lamps.update("a", brighter)) for _ in range(100)))

        assert [lamp.brightness for (lamp,) in answers] == list(range(1, 101))
        assert lamps["a"] == Lamp(100)
    assert await stored(tmp_path, Lamp) == {"a": Lamp(100)}


async def test_update_of_a_missing_key_fails_its_own_batch_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        answers = await asyncio.gather(
            state.commit(lamps.put("b", Lamp(1)), lamps.update("a", brighter)),
            state.commit(lamps.put("c", Lamp(1))),
            return_exceptions=True,
        )

        assert isinstance(answers[0], KeyError)
        assert answers[1] == [Lamp(1)]
        assert set(lamps) == {"c"}


async def test_update_that_returns_none_removes(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(1)))
        assert await state.commit(lamps.update("a", lambda lamp: None)) == [None]
        assert dict(lamps) == {}
    assert await stored(tmp_path, Lamp) == {}


async def test_several_collections_change_together_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps, rooms = await state.collection(Lamp), await state.collection(Room)
        await state.commit(lamps.put("a", Lamp(1)), rooms.put("hall", Room("Hall")))

        with pytest.raises(ZeroDivisionError):
            await state.commit(rooms.delete("hall"), lamps.update("a", lambda lamp: evolve(lamp, brightness=1 / 0)))

        assert dict(rooms) == {"hall": Room("Hall")}
    assert await stored(tmp_path, Room) == {"hall": Room("Hall")}


async def test_what_would_be_read_back_differently_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        wrong: Any = Lamp("bright")  # type: ignore[arg-type]
        for lamp in (Lamp(float("nan")), wrong, Lamp(1, ["a", "list"])):  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"test\.lamp can't keep"):
                await state.commit(lamps.put("a", lamp))

        assert dict(lamps) == {}


async def test_keys_and_kinds_are_checked_when_the_change_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        with pytest.raises(ValueError, match="at most 200"):
            lamps.put("x" * 201, Lamp(1))
        with pytest.raises(ValueError, match="surrogates"):
            lamps.delete("\ud800")
        with pytest.raises(TypeError, match="keeps Lamp, not Room"):
            lamps.put("a", Room("x"))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="must return Lamp, not str"):
            await state.commit(lamps.put("a", Lamp(1)), lamps.update("a", lambda lamp: "x"))  # type: ignore[arg-type,return-value]


async def test_items_are_a_snapshot_while_the_collection_changes(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(*(lamps.put(str(n), Lamp(n)) for n in range(5)))
        seen = []
        for key, lamp in lamps.items():
            await state.commit(lamps.delete(key), lamps.put(f"new-{key}", lamp))
            seen.append(key)

        assert seen == list("01234")
        assert set(lamps) == {f"new-{n}" for n in range(5)}


def test_declarations_that_can_not_work_are_refused() -> None:
    def keep(body: dict[str, Any]) -> dict[str, Any]:
        return body

    with pytest.raises(TypeError, match="needs migrations from 1 to 2"):
        document("test.x", version=3, migrations={2: keep})
    with pytest.raises(TypeError, match="must be a frozen attrs class"):
        document("test.x")(dict)


async def test_two_classes_can_not_share_a_collection(tmp_path: Path) -> None:
    @document("test.lamp")
    @frozen
    class Impostor:
        name: str

    async with opened(tmp_path) as state:
        await state.collection(Lamp)
        with pytest.raises(ValueError, match=r"belongs to .*Lamp"):
            await state.collection(Impostor)


# Versions


def declared(version: int, migrations: Mapping[int, Any] | None = None) -> type[Room]:
    """The class ``Room`` of another version of its plugin."""
    return document("test.room", version=version, migrations=migrations)(frozen(type("Room", (), ROOM_BODY.copy())))


ROOM_BODY: dict[str, Any] = {
    "__annotations__": {"name": str},
    "__module__": __name__,
    "__qualname__": "Room",
}


def shout(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "name": body["name"].upper()}


def repeat(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "name": body["name"] * 2}


async def two_rooms(path: Path, kind: type[Room] = Room) -> None:
    """A closed database with two documents, and a copy of it; made once for each version."""
    made = path.parent / f"two-rooms-{document_kind(kind).version}"
    if not made.exists():
        async with opened(made) as state:
            rooms = await state.collection(kind)
            await state.commit(*(rooms.put(key, kind(key)) for key in ("hall", "loft")))
    shutil.copytree(made, path, dirs_exist_ok=True)


def names(rooms: Mapping[str, Room]) -> dict[str, str]:
    return {key: room.name for key, room in rooms.items()}


async def test_older_documents_are_migrated_once_after_a_copy(tmp_path: Path) -> None:
    await two_rooms(tmp_path)
    newer = declared(3, {1: shout, 2: repeat})

    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(1)))
        assert names(await state.collection(newer)) == {"hall": "HALLHALL", "loft": "LOFTLOFT"}
        with closing(sqlite3.connect(tmp_path / "copies/rooftree-2.db")) as connection:
            copied = connection.execute("SELECT key, version FROM document ORDER BY key").fetchall()
        assert copied == [("a", 1), ("hall", 1), ("loft", 1)]

    assert names(await stored(tmp_path, newer)) == {"hall": "HALLHALL", "loft": "LOFTLOFT"}


@pytest.mark.parametrize("place", ["database.copying", "database.before_replace"])
async def test_without_a_copy_nothing_is_migrated(tmp_path: Path, place: str) -> None:
    await two_rooms(tmp_path)
    newer = declared(2, {1: shout})

    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        await state.commit(lamps.put("a", Lamp(1)))
        failpoints.arm(f"{place}=nospace")
        with pytest.raises(StateUnwritable, match="was not copied"):
            await state.collection(newer)
        assert names(await state.collection(Room)) == {"hall": "hall", "loft": "loft"}
        failpoints.arm("")
    async with opened(tmp_path) as state:
        assert names(await state.collection(newer)) == {"hall": "HALL", "loft": "LOFT"}


MIGRATE = """
import asyncio, pathlib, sys
import rooftree.daemon.lean_imports
from attrs import frozen
from rooftree.state.folder import DataFolder
from rooftree.state.database import Database
from rooftree.state import State, document

@document("test.room", version=2, migrations={1: lambda body: {"name": body["name"].upper()}})
@frozen
class Room:
    name: str

async def main():
    database = await Database.open(DataFolder.open(pathlib.Path(sys.argv[1])))
    await State(database).collection(Room)
asyncio.run(main())
"""


async def test_migration_that_is_killed_halfway_is_done_again_whole(tmp_path: Path) -> None:
    await two_rooms(tmp_path)
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", MIGRATE, str(tmp_path)],
        env={**os.environ, failpoints.VARIABLE: "state.migrate=kill"},
        check=False,
    )
    assert killed.returncode == -9

    assert names(await stored(tmp_path, Room)) == {"hall": "hall", "loft": "loft"}
    assert names(await stored(tmp_path, declared(2, {1: shout}))) == {"hall": "HALL", "loft": "LOFT"}


async def test_documents_of_a_newer_version_refuse_and_stay(tmp_path: Path) -> None:
    newer = declared(2, {1: shout})
    await two_rooms(tmp_path, newer)

    async with opened(tmp_path) as state:
        lamps = await state.collection(Lamp)
        with pytest.raises(NewerState, match=r"test\.room has documents of version 2, this plugin knows 1"):
            await state.collection(Room)
        await state.commit(lamps.put("a", Lamp(1)))

    assert names(await stored(tmp_path, newer)) == {"hall": "hall", "loft": "loft"}


async def test_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    await two_rooms(tmp_path)
    for broken in (lambda body: {"wrong": 1}, lambda body: body["nothing"]):
        async with opened(tmp_path) as state:
            with pytest.raises(Failed, match=r"hall of test\.room can't be brought from version 1 to 2"):
                await state.collection(declared(2, {1: broken}))

    assert names(await stored(tmp_path, Room)) == {"hall": "hall", "loft": "loft"}


# Damage


def edit(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, parameters).rowcount > 0


def edit_room(column: str, value: object) -> Callable[[Path], None]:
    return lambda path: edit(path, f"UPDATE document SET {column} = ? WHERE key = 'hall'", value)


DAMAGES = {
    "other body": edit_room("body", b'{"name":"Hell"}'),
    "empty body": edit_room("body", b""),
    "no json": edit_room("body", b"\0" * 20),
    "text": edit_room("body", "text"),
    "other sum": edit_room("sum", b"\0" * 8),
    "other version": edit_room("version", 7),
    "version that is no number": edit_room("version", b"x"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_damaged_document_is_taken_from_the_last_copy(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    await two_rooms(tmp_path)
    damage(tmp_path / "rooftree.db")

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"hall": "hall", "loft": "loft"}
        (loss,) = state.database.losses
        assert (loss.kind, loss.restored_from) == ("document", tmp_path / "copies" / "rooftree-1.db")
        assert "hall of test.room" in loss.message
        kept = await state.database.read(lambda c: c.execute("SELECT count(*) FROM damaged_document").fetchone())
        assert kept == (1,)

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"hall": "hall", "loft": "loft"}
        assert list(state.database.losses) == [loss]


@pytest.mark.parametrize("kind", ["other body", "text", "version that is no number"])
async def test_damaged_document_that_no_copy_has_goes_and_is_told(tmp_path: Path, kind: str) -> None:
    await two_rooms(tmp_path)
    DAMAGES[kind](tmp_path / "rooftree.db")
    DAMAGES[kind](tmp_path / "copies" / "rooftree-1.db")

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"loft": "loft"}
        (loss,) = state.database.losses
        assert (loss.kind, loss.restored_from) == ("document", None)
        kept = await state.database.read(lambda c: c.execute("SELECT count(*) FROM damaged_document").fetchone())
        assert kept == (1,)
        await state.database.copy()


@pytest.mark.parametrize("column", ["key", "collection"])
async def test_damaged_name_of_a_document_is_told_even_when_it_is_no_text(tmp_path: Path, column: str) -> None:
    await two_rooms(tmp_path)
    edit(tmp_path / "rooftree.db", f"UPDATE document SET {column} = CAST(X'ff68' AS TEXT) WHERE key = 'hall'")

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"loft": "loft"}
        assert r"\xffh" in state.database.losses[0].message


async def test_documents_that_a_changed_class_does_not_fit_refuse_and_stay(tmp_path: Path) -> None:
    """An author has added a field and no version: what is kept is not damaged, and must not be lost by it."""

    @document("test.room")
    @frozen
    class Room:
        size: int

    Room.__qualname__ = "Room"
    await two_rooms(tmp_path)
    async with opened(tmp_path) as state:
        with pytest.raises(Failed, match=r"hall of test\.room is intact and does not fit .*size: is required"):
            await state.collection(Room)
        assert list(state.database.losses) == []

    assert names(await stored(tmp_path, declared(1))) == {"hall": "hall", "loft": "loft"}


async def test_place_of_a_damaged_document_is_not_taken_by_one_of_a_newer_version(tmp_path: Path) -> None:
    """Somebody has put back the database of before an update; the newest copies are of after it."""
    await two_rooms(tmp_path)
    newer = declared(2, {1: shout})
    assert names(await stored(tmp_path, newer)) == {"hall": "HALL", "loft": "LOFT"}
    copies = tmp_path / "copies"
    assert {path.name for path in copies.iterdir()} == {"rooftree-1.db", "rooftree-2.db"}
    shutil.copyfile(copies / "rooftree-1.db", tmp_path / "rooftree.db")
    edit(tmp_path / "rooftree.db", "UPDATE document SET body = ? WHERE key = 'hall'", b'{"size":1}')

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"hall": "hall", "loft": "loft"}
        assert [loss.restored_from for loss in state.database.losses] == [copies / "rooftree-1.db"]


async def test_document_that_becomes_damaged_while_running_is_not_updated(tmp_path: Path) -> None:
    class Damage:
        def apply(self, connection: sqlite3.Connection, view: object) -> None:
            connection.execute("UPDATE document SET body = X'00' WHERE key = 'hall'")

    await two_rooms(tmp_path)
    async with opened(tmp_path) as state:
        rooms = await state.collection(Room)
        await state.commit(Damage())
        with pytest.raises(StateDamaged, match=r"hall of test\.room"):
            await state.commit(rooms.update("hall", lambda room: room))
        assert rooms["hall"] == Room("hall")

    async with opened(tmp_path) as state:
        assert names(await state.collection(Room)) == {"hall": "hall", "loft": "loft"}


# Everything together

keys = st.text(max_size=3) | st.sampled_from(["a", "b", "\0", "é" * 200])
operations = st.one_of(
    st.tuples(st.just("put"), keys, st.integers(0, 9)),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("update"), keys),
    st.tuples(st.just("remove by update"), keys),
    st.tuples(st.just("torn"), keys),
    st.tuples(st.just("restart")),
)


def change(lamps: Collection[Lamp], model: dict[str, Lamp], operation: tuple[Any, ...]) -> list[Change]:
    """The batch for one operation, once the model has done the same."""
    match operation:
        case ("put", key, value):
            model[key] = Lamp(value)
            return [lamps.put(key, Lamp(value))]
        case ("delete", key):
            model.pop(key, None)
            return [lamps.delete(key)]
        case ("update", key):
            if key in model:
                model[key] = brighter(model[key])
            return [lamps.update(key, brighter)]
        case ("remove by update", key):
            model.pop(key, None)
            return [lamps.update(key, lambda lamp: None)]
        case ("torn", key):
            return [lamps.put(key, Lamp(-1)), lamps.put("torn", Lamp(-1)), lamps.update("missing", brighter)]
    raise AssertionError(operation)


async def replay(path: Path, groups: list[list[tuple[Any, ...]]]) -> None:
    model: dict[str, Lamp] = {}
    for lifetime in groups:
        async with opened(path) as state:
            lamps = await state.collection(Lamp)
            assert dict(lamps) == model
            batches = [change(lamps, model, operation) for operation in lifetime]
            results = await asyncio.gather(*(state.commit(*batch) for batch in batches), return_exceptions=True)
            assert all(isinstance(result, list | KeyError) for result in results)
            assert dict(lamps) == model
    assert await stored(path, Lamp) == model


@settings(max_examples=8, deadline=None)
@given(st.lists(operations, max_size=20))
def test_any_interleaving_with_restarts_equals_a_dictionary(operations: list[tuple[Any, ...]]) -> None:
    lifetimes: list[list[tuple[Any, ...]]] = [[]]
    for operation in operations:
        if operation == ("restart",):
            lifetimes.append([])
        else:
            lifetimes[-1].append(operation)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(replay(Path(folder), lifetimes))
