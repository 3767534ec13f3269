"""The data folder: its lock, its instance id, and files that are whole or not there."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rooftree.errors import Conflict, Failed
from rooftree.state import failpoints
from rooftree.state.database import Database
from rooftree.state.folder import DAMAGED_KEPT, DataFolder, DataFolderUnusable, write_file_atomically
from tests.requirements import needs
from tests.torture.requirements import small_disk


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


async def make_database(path: Path) -> str:
    """A folder with a database and a copy, made once; its instance id."""
    made = path.parent / "with-database"
    if not made.exists():
        with closing(await asyncio.to_thread(DataFolder.open, made)) as folder:
            database = await Database.open(folder)
            await database.close()
    shutil.copytree(made, path, dirs_exist_ok=True)
    return (path / "instance-id").read_text().strip()


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir()}


def test_missing_folder_is_made_and_keeps_its_instance_id(tmp_path: Path) -> None:
    with closing(DataFolder.open(tmp_path / "a" / "b")) as folder:
        first = folder.instance_id
        assert folder.first_start

    with closing(DataFolder.open(tmp_path / "a" / "b")) as folder:
        assert folder.instance_id == first
        assert len(bytes.fromhex(first)) == 16
        assert folder.losses == ()


def test_second_owner_is_refused_and_told_the_pid_of_the_first(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, rooftree.daemon.lean_imports, rooftree.state.folder as d\n"
        "folder = d.DataFolder.open(pathlib.Path(sys.argv[1])); print('taken', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"taken\n"
            with pytest.raises(Conflict, match=f"in use by process {other.pid}") as refusal:
                DataFolder.open(tmp_path)
            assert refusal.value.extra_fields == {"pid": str(other.pid)}
        finally:
            other.kill()
            other.wait()

    DataFolder.open(tmp_path).close()


def test_closed_folder_can_be_taken_again_in_the_same_process(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    with pytest.raises(Conflict, match=str(os.getpid())):
        DataFolder.open(tmp_path)

    folder.close()
    folder.close()

    DataFolder.open(tmp_path).close()


@pytest.mark.parametrize(
    "damage", [b"", b"0123", b"\0" * 33, b"\xff\xfe" * 16, b'{"id": 1}', b"0" * 33, b"G" * 32], ids=repr
)
async def test_damaged_instance_id_is_recovered_from_the_database(tmp_path: Path, damage: bytes) -> None:
    instance_id = await make_database(tmp_path)
    (tmp_path / "instance-id").write_bytes(damage)

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        assert folder.instance_id == instance_id
        (loss,) = folder.losses
        assert loss.kind == "instance_id"
        assert loss.set_aside is not None
        assert (loss.set_aside / "instance-id").read_bytes() == damage
        database = await Database.open(folder)
        assert database.losses == (loss,)
        await database.close()

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        assert (folder.instance_id, folder.losses) == (instance_id, ())


async def test_missing_instance_id_is_recovered_from_a_copy_when_the_database_is_damaged_too(tmp_path: Path) -> None:
    instance_id = await make_database(tmp_path)
    (tmp_path / "instance-id").unlink()
    (tmp_path / "rooftree.db").write_bytes(b"\0" * 8192)

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        assert folder.instance_id == instance_id
        assert not (tmp_path / "first-start").exists()
        assert folder.losses[0].restored_from == tmp_path / "copies" / "rooftree-1.db"


async def test_instance_id_that_differs_from_the_database_is_corrected(tmp_path: Path) -> None:
    instance_id = await make_database(tmp_path)
    (tmp_path / "instance-id").write_text("f" * 32)

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        database = await Database.open(folder)
        assert folder.instance_id == instance_id
        assert [loss.kind for loss in database.losses] == ["instance_id"]
        await database.close()

    assert (tmp_path / "instance-id").read_text().strip() == instance_id


async def test_instance_id_that_nothing_tells_refuses_and_changes_nothing(tmp_path: Path) -> None:
    await make_database(tmp_path)
    shutil.rmtree(tmp_path / "copies")
    (tmp_path / "rooftree.db").write_bytes(b"garbage")
    (tmp_path / "instance-id").write_bytes(b"garbage")

    with pytest.raises(Failed, match="Write it back"):
        await asyncio.to_thread(DataFolder.open, tmp_path)

    assert (tmp_path / "instance-id").read_bytes() == b"garbage"
    assert (tmp_path / "rooftree.db").read_bytes() == b"garbage"


async def test_new_instance_id_without_any_database_is_no_first_start_but_a_loss(tmp_path: Path) -> None:
    instance_id = await make_database(tmp_path)
    shutil.rmtree(tmp_path / "copies")
    (tmp_path / "rooftree.db").unlink()
    (tmp_path / "instance-id").write_bytes(b"")

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        assert folder.instance_id != instance_id
        database = await Database.open(folder)
        assert sorted(loss.kind for loss in database.losses) == ["database", "instance_id"]
        await database.close()


async def test_lost_instance_id_without_database_is_told_even_after_a_kill_in_between(tmp_path: Path) -> None:
    await make_database(tmp_path)
    shutil.rmtree(tmp_path / "copies")
    (tmp_path / "rooftree.db").unlink()
    (tmp_path / "instance-id").write_bytes(b"")
    failpoints.arm("data_folder.set_aside=raise")
    with pytest.raises(DataFolderUnusable):
        await asyncio.to_thread(DataFolder.open, tmp_path)
    failpoints.arm("")

    with closing(await asyncio.to_thread(DataFolder.open, tmp_path)) as folder:
        assert [loss.kind for loss in folder.losses] == ["instance_id"]
        assert not (tmp_path / "first-start").exists()


def test_first_start_that_is_killed_halfway_is_still_a_first_start(tmp_path: Path) -> None:
    """One of its two files is whole, the other unfinished; ``tests/torture`` takes every call."""
    program = (
        "import sys, pathlib, rooftree.daemon.lean_imports, rooftree.state.folder as d\n"
        "d.DataFolder.open(pathlib.Path(sys.argv[1]))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, failpoints.VARIABLE: "data_folder.before_rename=kill@2"},
        check=False,
    )
    assert killed.returncode == -9

    with closing(DataFolder.open(tmp_path)) as folder:
        assert folder.first_start
        assert folder.losses == ()
        assert names(tmp_path) == {"rooftree.lock", "instance-id", "first-start"}


def test_unusable_path_says_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataFolderUnusable, match=r"Not a directory.*Check that the disk"):
        DataFolder.open(tmp_path / "file" / "data")


def test_disk_that_becomes_read_only_is_known_as_such_and_refused_at_the_next_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        with closing(DataFolder.open(disk)) as folder:
            writable = folder.is_read_only()
            left = sorted(path.name for path in disk.iterdir())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        assert folder.is_read_only() and not writable
        assert left == ["first-start", "instance-id", "rooftree.lock"]
        with pytest.raises(DataFolderUnusable, match=r"Read-only file system.*Check that the disk"):
            DataFolder.open(disk)


def test_only_the_newest_sets_of_damaged_files_are_kept(tmp_path: Path) -> None:
    with closing(DataFolder.open(tmp_path)) as folder:
        for number in range(DAMAGED_KEPT + 3):
            (tmp_path / "broken").write_text(str(number))
            folder.set_aside(folder.new_set_aside(), tmp_path / "broken", tmp_path / "never-there")

    kept = sorted(int(path.read_text()) for path in (tmp_path / "damaged").glob("*/broken"))
    assert kept == list(range(3, DAMAGED_KEPT + 3))


def test_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "token [1]*"
    path.write_bytes(b"old")

    write_file_atomically(path, b"new", 0o600)

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == {path.name}


@pytest.mark.parametrize("place", ["before_write", "before_rename"])
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, place: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"old")
    failpoints.arm(f"data_folder.{place}=nospace")

    with pytest.raises(OSError, match=r"No space left|failpoint"):
        write_file_atomically(path, b"new", 0o600)

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"token"}


def test_full_disk_leaves_the_old_file_and_the_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "token"
        write_file_atomically(path, b"old", 0o600)
        free = shutil.disk_usage(disk).free

        with pytest.raises(OSError, match="No space left"):
            write_file_atomically(path, b"x" * 65536, 0o600)

        assert path.read_bytes() == b"old"
        assert names(disk) == {"token"}
        assert shutil.disk_usage(disk).free == free


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, rooftree.daemon.lean_imports, rooftree.state.folder as d\n"
        "d.write_file_atomically(pathlib.Path(sys.argv[1]), b'', 384)"
    )
    path = tmp_path / "token"
    environment = {**os.environ, failpoints.VARIABLE: "data_folder.before_rename=kill"}
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert len(names(tmp_path)) == 1

    write_file_atomically(path, b"new", 0o600)

    assert names(tmp_path) == {"token"}


async def test_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    await make_database(tmp_path)

    for path in (tmp_path / "rooftree.db", tmp_path / "copies" / "rooftree-1.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("text", ["x", "=kill", "x=explode", "x=kill@", "x=kill@0", "x=kill@two"])
def test_misspelt_failpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must read name=action"):
        failpoints.arm(text)


async def test_failpoint_acts_the_nth_time_only() -> None:
    failpoints.arm("a.place=raise@2,another=nospace")

    failpoints.reach_sync("a.place")
    with pytest.raises(OSError, match=r"a\.place"):
        await failpoints.reach("a.place")
    await failpoints.reach("a.place")
    with pytest.raises(OSError, match="another"):
        failpoints.reach_sync("another")


def modes(folder: Path) -> dict[str, str]:
    """The permission bits of the folder and of what is in it."""
    entries = [folder, *folder.iterdir()]
    return {"" if path == folder else path.name: f"{stat.S_IMODE(path.lstat().st_mode):o}" for path in entries}


def test_new_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    with closing(DataFolder.open(tmp_path / "data")):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o750


def test_data_folder_of_an_older_version_is_closed_to_others_and_what_is_add_ons_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with closing(DataFolder.open(data)):
        pass
    for name in ("copies", "damaged", "share"):
        (data / name).mkdir()
        (data / name).chmod(0o777)
    for name in ("rooftree.db", "rooftree.db-wal"):
        (data / name).touch(0o666)
        (data / name).chmod(0o666)
    data.chmod(0o777)

    DataFolder.open(data).close()

    found = modes(data)
    assert found[""] == "750"
    assert (found["copies"], found["damaged"], found["share"]) == ("700", "700", "777")
    assert (found["rooftree.db"], found["rooftree.db-wal"]) == ("600", "600")


def test_folder_that_is_closed_further_stays_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    DataFolder.open(tmp_path).close()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_link_is_not_followed_when_folders_are_closed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "copies").symlink_to(elsewhere)

    DataFolder.open(tmp_path / "data").close()

    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@needs(os.geteuid() == 0, "needs root, to be somebody else")
def test_another_user_of_the_host_sees_nothing_of_it() -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    try:
        with closing(DataFolder.open(place / "data")):
            (place / "data" / "share").mkdir(mode=0o777)
            for path in ("data", "data/share", "data/instance-id"):
                command = ["/bin/sh", "-c", f"test -r {place}/{path} || test -x {place}/{path}"]
                assert subprocess.run(command, user=65534, group=65534, extra_groups=[], check=False).returncode == 1
    finally:
        shutil.rmtree(place)
