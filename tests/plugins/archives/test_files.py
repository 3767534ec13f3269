"""Archives as files: copied, read and removed by a process, in folders that may stop answering."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rooftree.errors import NotFound
from rooftree_archives import (
    ArchiveExists,
    ArchiveNotWritten,
    WorkerEnded,
    archive_writer,
    copy_archive,
    file_copy,
    hidden_name,
    open_archive,
    remove_archive,
)
from rooftree_archives.faults import Damaged
from rooftree_files import Folder
from tests.plugins.archives.test_writer import workers_of
from tests.plugins.archives.trees import MIB, quiet
from tests.rig.dead_share import Share
from tests.rig.waiting import until
from tests.torture.requirements import small_disk


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "from").mkdir()
    file = tmp_path / "from/a.tar"
    file.write_bytes(os.urandom(3 * MIB + 5))
    return file


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has ten minutes here."""
    monkeypatch.setattr("rooftree_archives.worker_process.SILENT_S", 1.5)
    monkeypatch.setattr("rooftree_archives.files.REMOVAL_S", 1.5)


async def test_copy_is_the_same_file_for_root_alone_and_tells_how_far_it_is(archive: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    copied = await copy_archive(archive, tmp_path / "b.tar", hidden_name(), lambda *done: told.append(done))

    copy = tmp_path / "b.tar"
    assert copy.read_bytes() == archive.read_bytes()
    status = copy.stat()
    assert oct(status.st_mode & 0o777) == "0o600"
    assert (copied.size_bytes, copied.changed_ns, copied.inode) == (
        status.st_size, status.st_mtime_ns, status.st_ino
    )  # fmt: skip
    assert told == sorted(told)
    assert {total for _, total in told} == {2 * copied.size_bytes}


async def test_copy_takes_no_name_from_another_file(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("another")

    with pytest.raises(ArchiveExists):
        await copy_archive(archive, tmp_path / "b.tar", hidden_name(), quiet)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "from"]
    assert (tmp_path / "b.tar").read_text() == "another"


async def test_copy_that_has_no_room_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        with pytest.raises(ArchiveNotWritten, match="No space left"):
            await copy_archive(archive, disk / "b.tar", hidden_name(), quiet)
        assert list(disk.iterdir()) == []


def test_copy_that_is_read_back_as_something_else_is_none(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_copy, "_read_back", lambda *_: b"something else")
    (tmp_path / "to").mkdir()
    with (
        Folder.open(archive.parent) as source,
        Folder.open(tmp_path / "to") as target,
        pytest.raises(Damaged, match="not what was read back"),
    ):
        file_copy.copy_file(source, "a.tar", target, hidden_name(), "b.tar", quiet)
    assert list((tmp_path / "to").iterdir()) == []


async def test_file_is_read_piece_by_piece(archive: Path) -> None:
    async with open_archive(archive) as file:
        pieces = [await file.read(begin, MIB) for begin in range(0, file.size, MIB)]
    assert b"".join(pieces) == archive.read_bytes()


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert await remove_archive(tmp_path / "a.tar") is False
    with pytest.raises(NotFound):
        async with open_archive(tmp_path / "a.tar"):
            pass


async def test_file_is_removed(archive: Path) -> None:
    assert await remove_archive(archive) is True
    assert not archive.exists()


# --- a share whose server is gone -------------------------------------------------------------------------------------


@asynccontextmanager
async def no_thread_held() -> AsyncIterator[None]:
    """What is done in the block ends in time, and leaves the one thread free that there is."""
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        async with asyncio.timeout(20):
            yield
            await asyncio.to_thread(int)


def held() -> bool:
    """Whether the kernel holds a worker of ours for the server's answer."""
    return any("wait_answer" in Path(f"/proc/{worker}/wchan").read_text() for worker in workers_of(os.getpid()))


async def test_archive_on_a_share_that_is_gone_is_not_waited_for(
    dead_share: Share, tmp_path: Path, impatient: Any
) -> None:
    folder = dead_share.folder
    async with no_thread_held():
        with pytest.raises(WorkerEnded, match="did not answer"):
            async with archive_writer(folder / "a.tar", data_folder=tmp_path, password=None):
                pass


async def test_copy_to_a_share_that_is_gone_can_be_cancelled(dead_share: Share, archive: Path) -> None:
    folder = dead_share.folder
    copying = asyncio.create_task(copy_archive(archive, folder / "a.tar", hidden_name(), quiet))

    async def is_held() -> bool:
        return await asyncio.to_thread(held)

    await until(is_held, within_s=20, what="a worker that the kernel holds")
    async with no_thread_held():
        copying.cancel()
        await asyncio.wait({copying})
    assert copying.cancelled()


async def test_copy_from_a_share_that_goes_ends_and_leaves_nothing(
    dead_share: Share, tmp_path: Path, impatient: Any
) -> None:
    folder = dead_share.folder
    (tmp_path / "to").mkdir()
    async with no_thread_held():
        with pytest.raises(WorkerEnded, match="did not answer"):
            await copy_archive(folder / "hello.txt", tmp_path / "to/a.tar", hidden_name(), quiet)
    assert list((tmp_path / "to").iterdir()) == []


async def test_file_on_a_share_that_goes_while_it_is_sent_is_not_waited_for(dead_share: Share, impatient: Any) -> None:
    folder = dead_share.folder
    dead_share.answer()
    async with no_thread_held(), open_archive(folder / "hello.txt") as file:
        dead_share.die()
        with pytest.raises(WorkerEnded, match="did not answer"):
            await file.read(0, file.size)


async def test_removal_from_a_share_that_is_gone_is_given_up(dead_share: Share, impatient: Any) -> None:
    folder = dead_share.folder
    async with no_thread_held():
        with pytest.raises((TimeoutError, WorkerEnded)):
            await remove_archive(folder / "a.tar")
