"""Copies of an add-on's folders: all is as it was, whatever the add-on has put there, and wherever a kill falls."""
# Names here are bytes, and no UTF-8:
# ruff: noqa: PTH101, PTH102, PTH104, PTH115, PTH123, PTH208, PTH211

from __future__ import annotations

import asyncio
import errno
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree_containers import snapshot
from rooftree_containers.snapshot import KeptFolder, SnapshotFailed, keep, put_back, refuse_without_room
from rooftree_files import CopyStopped, Folder, PathRefused, TreeChanged, TreeLimits
from rooftree_files import size_of as size_of_folder

KEPT = "apps/kept"
FOLDER = KeptFolder("apps/data/local_x", "apps/kept/local_x/1/data")
ASIDE = "apps/kept/local_x/failed-1/data"
BLOCK = 4096

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: not {0, ord("/")} & {*name} and name not in {b".", b".."}
)


@frozen
class Node:
    """Something in a folder that is to be made."""

    kind: str
    content: bytes
    mode: int
    hole: int
    target: bytes


NODES = st.builds(
    Node,
    st.sampled_from(["file", "folder", "link", "fifo", "again"]),
    st.binary(max_size=50),
    st.sampled_from([0o600, 0o644, 0o755, 0o4755, 0o000]),
    st.sampled_from([0, 16 * BLOCK]),
    st.sampled_from([b"/etc/passwd", b"../../../..", b"nowhere", b"."]),
)


def make(folder: bytes, tree: list[tuple[bytes, Node]]) -> None:
    """Make the nodes, each in the folder made last or in the root."""
    places, files = [folder], list[bytes]()
    for number, (name, node) in enumerate(tree):
        path = places[number % len(places)] + b"/" + name
        if os.path.lexists(path):
            continue
        match node.kind:
            case "folder":
                os.mkdir(path, node.mode | 0o700)
                places.append(path)
            case "link":
                os.symlink(node.target, path)
            case "fifo":
                os.mkfifo(path, node.mode)
            case "again" if files:
                os.link(files[-1], path)
            case _:
                with open(path, "wb") as file:
                    file.write(node.content)
                    file.truncate(len(node.content) + node.hole)
                os.chmod(path, node.mode)
                os.utime(path, ns=(10**18 + number, 10**18 + 7 * number))
                files.append(path)


def seen(folder: Path) -> dict[bytes, object]:
    """All there is to know of a tree, by path; further names of a file are told by which other name it has."""
    found: dict[bytes, object] = {}
    first: dict[int, bytes] = {}
    root = os.fsencode(folder)
    for place, folders, files in os.walk(root):
        for name in sorted((*folders, *files)):
            path = place + b"/" + name
            own = path[len(root) :]
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            same = first.setdefault(status.st_ino, own) if not stat.S_ISDIR(status.st_mode) else own
            times = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[own] = (stat.S_IFMT(status.st_mode), status.st_mode, status.st_uid, times, content, same)
    return found


def size_of(path: Path) -> int:
    """What a tree takes on its disk."""
    with Folder.open(path) as folder:
        return size_of_folder(folder)


def quiet(_: int, __: int) -> None:
    """Progress that nobody asks for."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with an add-on in it."""
    (tmp_path / FOLDER.live).mkdir(parents=True)
    (tmp_path / FOLDER.live / "value").write_text("41")
    return tmp_path


@given(tree=st.lists(st.tuples(NAMES, NODES), max_size=12))
@settings(max_examples=20, deadline=None)
def test_copy_is_put_back_as_the_folder_was(tree: list[tuple[bytes, Node]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        live = data / FOLDER.live
        live.mkdir(parents=True)
        make(os.fsencode(live), tree)
        before, size = seen(live), size_of(live)

        async def there_and_back() -> None:
            await keep(data, FOLDER, quiet)
            for name in os.listdir(os.fsencode(live)):
                os.rename(os.fsencode(live) + b"/" + name, os.fsencode(data) + b"/moved-" + name)
            (live / "new").write_bytes(b"from the version that failed")
            await put_back(data, FOLDER, ASIDE)

        asyncio.run(there_and_back())

        assert seen(live) == before
        assert size_of(live) <= size
        assert (data / ASIDE / "new").is_file()
        assert not (data / FOLDER.copy).exists()


def test_file_with_two_names_takes_its_room_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(os.urandom(100 * BLOCK))
    once = size_of(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")

    assert 100 * BLOCK <= size_of(tmp_path) == once


async def test_what_is_written_in_place_afterwards_is_not_in_the_copy(data: Path) -> None:
    await keep(data, FOLDER, quiet)
    with (data / FOLDER.live / "value").open("r+") as file:
        file.write("42")

    assert (data / FOLDER.copy / "value").read_text() == "41"


async def test_holes_are_not_filled_and_extended_attributes_stay(data: Path) -> None:
    sparse = data / FOLDER.live / "disk.img"
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
    try:
        os.setxattr(sparse, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes for users")

    await keep(data, FOLDER, quiet)

    copy = data / FOLDER.copy / "disk.img"
    assert copy.stat().st_size == 1 << 30
    assert await asyncio.to_thread(size_of, data / FOLDER.copy) < 1 << 20
    assert os.getxattr(copy, "user.note") == b"mine"


async def test_folder_that_is_a_link_is_not_followed_when_it_is_copied(data: Path) -> None:
    (data / FOLDER.live).rename(data / "elsewhere")
    (data / FOLDER.live).symlink_to(data / "elsewhere")

    with pytest.raises(PathRefused, match=r"apps/data/local_x is a link, not a folder"):
        await keep(data, FOLDER, quiet)
    with pytest.raises(PathRefused):
        await asyncio.to_thread(refuse_without_room, data, KEPT, [FOLDER])

    assert not (data / FOLDER.copy).exists()


async def test_link_that_took_the_place_of_the_folder_goes_aside_itself(data: Path) -> None:
    await keep(data, FOLDER, quiet)
    (data / FOLDER.live).rename(data / "elsewhere")
    (data / FOLDER.live).symlink_to(data / "elsewhere")

    await put_back(data, FOLDER, ASIDE)

    assert (data / ASIDE).is_symlink()
    assert not (data / FOLDER.live).is_symlink()
    assert (data / FOLDER.live / "value").read_text() == "41"
    assert (data / "elsewhere" / "value").read_text() == "41"


async def test_folder_that_was_not_there_is_not_there_again(data: Path) -> None:
    (data / FOLDER.live / "value").unlink()
    (data / FOLDER.live).rmdir()
    await keep(data, FOLDER, quiet)
    (data / FOLDER.live).mkdir()

    await put_back(data, FOLDER, ASIDE)
    await put_back(data, FOLDER, ASIDE)

    assert not (data / FOLDER.live).exists()
    assert (data / ASIDE).is_dir()


async def test_folder_that_went_meanwhile_comes_back_and_stays_when_all_is_repeated(data: Path) -> None:
    await keep(data, FOLDER, quiet)
    (data / FOLDER.live / "value").unlink()
    (data / FOLDER.live).rmdir()

    await put_back(data, FOLDER, ASIDE)
    await put_back(data, FOLDER, ASIDE)

    assert (data / FOLDER.live / "value").read_text() == "41"


async def test_copying_again_replaces_what_an_earlier_try_left(data: Path) -> None:
    (data / FOLDER.unfinished).mkdir(parents=True)
    (data / FOLDER.unfinished / "half").write_text("half")

    await keep(data, FOLDER, quiet)

    assert sorted(path.name for path in (data / FOLDER.copy).iterdir()) == ["value"]
    assert not (data / FOLDER.unfinished).exists()


class Killed(BaseException):
    """Where a kill would fall."""


@pytest.fixture
def killed_at_rename(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, bool], None]]:
    """Let the nth renaming be the last thing that happens, before or after it is done."""

    def arm(number: int, done: bool) -> None:
        count = 0
        real = Folder.move

        def move(folder: Folder, name: str, into: Folder, new_name: str) -> None:
            nonlocal count
            count += 1
            if count == number:
                if done:
                    real(folder, name, into, new_name)
                raise Killed
            real(folder, name, into, new_name)

        monkeypatch.setattr(Folder, "move", move)

    yield arm


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("number", [1, 2])
async def test_kill_in_the_middle_of_putting_back_is_made_good_by_the_next_try(
    data: Path, number: int, done: bool, killed_at_rename: Callable[[int, bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(data, FOLDER, quiet)
    (data / FOLDER.live / "value").write_text("broken")
    killed_at_rename(number, done)

    with pytest.raises(Killed):
        await put_back(data, FOLDER, ASIDE)
    monkeypatch.undo()
    await put_back(data, FOLDER, ASIDE)

    assert (data / FOLDER.live / "value").read_text() == "41"
    assert (data / ASIDE / "value").read_text() == "broken"
    assert not (data / FOLDER.copy).exists()


CONFIG = KeptFolder("homeassistant", "kept/core/1/config", stays=("history.db", "backups"))
"""A folder that lies in the data folder itself, and of which some things stay."""
CONFIG_ASIDE = "kept/core/failed-1/config"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Such a folder in a data folder."""
    live = tmp_path / CONFIG.live
    (live / "backups").mkdir(parents=True)
    (live / "deep").mkdir()
    for name in ("value", "history.db", "backups/1.tar", "deep/history.db"):
        (live / name).write_text("41")
    return tmp_path


def changed(live: Path) -> None:
    """What a new version makes of it."""
    for name in ("value", "history.db", "backups/1.tar", "deep/history.db", "backups/2.tar"):
        (live / name).write_text("42")


def assert_put_back(data: Path) -> None:
    """It is as it was, but for what stays."""
    live, aside = data / CONFIG.live, data / CONFIG_ASIDE
    names = ("value", "deep/history.db", "history.db", "backups/1.tar", "backups/2.tar")
    assert {name: (live / name).read_text() for name in names} == dict(
        zip(names, ("41", "41", "42", "42", "42"), strict=True)
    )
    assert sorted(path.name for path in aside.iterdir()) == ["deep", "value"]
    assert not (data / CONFIG.copy).exists()


async def test_what_stays_is_neither_copied_nor_put_back(config: Path) -> None:
    await keep(config, CONFIG, quiet)
    copied = sorted(path.name for path in (config / CONFIG.copy).iterdir())
    changed(config / CONFIG.live)

    await put_back(config, CONFIG, CONFIG_ASIDE)
    await put_back(config, CONFIG, CONFIG_ASIDE)

    assert copied == ["deep", "value"]
    assert_put_back(config)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_kill_loses_nothing_of_what_stays(
    config: Path,
    number: int,
    done: bool,
    killed_at_rename: Callable[[int, bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await keep(config, CONFIG, quiet)
    changed(config / CONFIG.live)
    killed_at_rename(number, done)

    with pytest.raises(Killed):
        await put_back(config, CONFIG, CONFIG_ASIDE)
    monkeypatch.undo()
    await put_back(config, CONFIG, CONFIG_ASIDE)

    assert_put_back(config)


def test_what_stays_needs_no_room(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "shares_blocks", lambda *_: False)
    monkeypatch.setattr(snapshot, "MARGIN_BYTES", 0)
    monkeypatch.setattr(snapshot, "_free", lambda _: 1 << 20)
    (config / CONFIG.live / "history.db").write_bytes(bytes(2 << 20))

    refuse_without_room(config, "kept", [CONFIG])

    with pytest.raises(snapshot.SnapshotRefused):
        refuse_without_room(config, "kept", [KeptFolder(CONFIG.live, CONFIG.copy)])


async def test_copy_that_fails_says_why_and_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(snapshot, "copy_tree", full)

    with pytest.raises(SnapshotFailed, match="apps/data/local_x could not be copied: Input/output error"):
        await keep(data, FOLDER, quiet)

    assert not (data / FOLDER.copy).exists()
    assert not (data / FOLDER.unfinished).exists()


async def test_folder_with_too_much_in_it_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / FOLDER.live / "another").touch()
    real = snapshot.copy_tree
    few = TreeLimits(entries=1)
    monkeypatch.setattr(snapshot, "copy_tree", lambda *given, **more: real(*given, **{**more, "limits": few}))

    with pytest.raises(SnapshotFailed, match="has more than 1 entries"):
        await keep(data, FOLDER, quiet)

    assert not (data / FOLDER.unfinished).exists()


async def test_progress_is_told_in_bytes(data: Path) -> None:
    (data / FOLDER.live / "large").write_bytes(os.urandom(20 * 1024 * 1024))
    told: list[tuple[int, int]] = []

    await keep(data, FOLDER, lambda done, total: told.append((done, total)))

    assert told == sorted(told)
    assert told
    assert all(0 < done <= total for done, total in told)


async def test_cancelled_copy_has_ended_when_its_caller_goes_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()
    ended = threading.Event()

    def endless(*_: object, stop: Callable[[], bool], **__: object) -> None:
        began.set()
        while not stop():
            time.sleep(0.001)
        ended.set()
        raise CopyStopped

    monkeypatch.setattr(snapshot, "copy_tree", endless)
    keeping = asyncio.create_task(keep(data, FOLDER, quiet))
    await asyncio.to_thread(began.wait, 5)
    keeping.cancel()

    async with asyncio.timeout(5):
        await asyncio.wait({keeping})
    assert keeping.cancelled()
    assert ended.is_set()
    assert not (data / FOLDER.unfinished).exists()
    assert not (data / FOLDER.copy).exists()


def test_room_is_asked_for_what_is_written_on_the_disk_and_no_more(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "shares_blocks", lambda *_: False)
    monkeypatch.setattr(snapshot, "MARGIN_BYTES", 0)
    free = BLOCK
    monkeypatch.setattr(snapshot, "_free", lambda _: free)
    with (data / FOLDER.live / "disk.img").open("wb") as file:
        file.truncate(1 << 30)
    refuse_without_room(data, KEPT, [FOLDER, KeptFolder("app_configs/local_x", "apps/kept/local_x/1/config")])

    free = 0
    with pytest.raises(snapshot.SnapshotRefused, match="0 MB are free"):
        refuse_without_room(data, KEPT, [FOLDER])


def test_folder_in_which_folders_move_is_measured_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "shares_blocks", lambda *_: False)
    answers: list[int | None] = [None, None, 5]

    def measure(_: Folder, **__: object) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise TreeChanged("x")
        return answer

    monkeypatch.setattr(snapshot, "size_of", measure)

    refuse_without_room(data, KEPT, [FOLDER])

    assert not answers


def test_file_system_that_shares_blocks_needs_no_room(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "shares_blocks", lambda *_: True)
    monkeypatch.setattr(snapshot, "MARGIN_BYTES", 1 << 62)

    refuse_without_room(data, KEPT, [FOLDER])
