"""Files and places that can't be looked at cost only themselves: a FUSE file system whose server answers nothing stands
for a network share that is gone."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rooftree import RooftreeError
from rooftree.interfaces.backups import BackupDamaged, BackupHead
from rooftree_archives import reader
from rooftree_archives.worker_process import WorkerEnded, WorkerSilent
from rooftree_backups import mounted_folder
from rooftree_files import Folder
from tests.plugins.backups.house import House, house
from tests.plugins.backups.plain_archives import raw_backup, write_archive
from tests.rig.dead_share import share_at
from tests.rig.waiting import until

ONE, TWO, THREE = "11111111", "22222222", "33333333"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, real=True) as running:
        yield running


def write_three(folder: Path) -> None:
    for slug in (ONE, TWO, THREE):
        write_archive(folder / f"{slug}.tar", raw_backup(slug, folders=[]))


def unreadable(home: House) -> list[str]:
    return [problem.message for problem in home.system.problems if problem.type == "backup_unreadable"]


async def test_head_that_nobody_has_thought_of_costs_its_own_file(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    understand = reader.head_of

    def strict(raw: Any, stored: Any) -> BackupHead:
        if raw["slug"] == TWO:
            raise RecursionError("of all things")
        return understand(raw, stored)

    monkeypatch.setattr(reader, "head_of", strict)
    await asyncio.to_thread(write_three, home.local)

    await home.reload()

    assert (await home.listed()).keys() == {ONE, THREE}
    (message,) = unreadable(home)
    assert TWO in message and "of all things" in message


@pytest.mark.parametrize("error", [WorkerEnded("it ran out of memory"), BackupDamaged("it ran out of memory")])
async def test_file_that_is_too_much_for_the_worker_costs_itself(
    home: House, monkeypatch: pytest.MonkeyPatch, error: RooftreeError
) -> None:
    look = reader._indexes

    async def looked(paths: Sequence[Path]) -> Any:
        if any(path.name == f"{TWO}.tar" for path in paths):
            raise error
        return await look(paths)

    monkeypatch.setattr(reader, "_indexes", looked)
    await asyncio.to_thread(write_three, home.local)

    await home.reload()

    assert (await home.listed()).keys() == {ONE, THREE}
    assert "ran out of memory" in unreadable(home)[0]


# --- places -----------------------------------------------------------------------------------------------------------


async def test_place_that_dies_while_it_is_listed_holds_no_thread_and_nobody_else(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_folder, "LIST_S", 0.5)
    nas = home.mounts.add("nas")
    with share_at(nas) as share:
        await home.reload()
        share.die()
        await asyncio.to_thread(write_three, home.local)
        threads = threading.active_count()

        for _ in range(3):
            async with asyncio.timeout(10):
                await home.reload()

        assert (await home.listed()).keys() == {ONE, TWO, THREE}
        assert threading.active_count() <= threads + 1
        share.answer()


async def test_upload_to_a_place_that_dies_holds_no_thread(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_archives.worker_process.SILENT_S", 1.0)
    nas = home.mounts.add("nas")
    with share_at(nas) as share:
        await home.reload()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        share.die()
        async with asyncio.timeout(20):
            answer = await home.client.post(
                "/backups/new/upload?location=nas",
                body=b"--b\r\nContent-Type: application/x-tar\r\n\r\nwhatever\r\n--b--\r\n",
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
            await asyncio.to_thread(int)

        assert answer.status >= 400
        assert "did not answer" in answer.message
        share.answer()


async def test_folder_of_very_many_archives_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    names = {f"{number:0220d}.tar" for number in range(18_000)}
    assert sum(map(len, names)) > 4e6, "more than is kept of what a program prints"
    with Folder.open(folder) as here:
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=here.descriptor))

    listing = await mounted_folder.MountedFolders().listing("nas", folder)

    assert listing.archives.keys() == names


async def test_what_was_known_of_a_place_that_does_not_answer_stays_known(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = home.mounts.add("nas")
    await asyncio.to_thread(write_archive, nas / "one.tar", raw_backup(ONE, folders=[]))
    await home.reload()
    monkeypatch.setattr(mounted_folder, "READ_S", 0.2)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(_: Sequence[Path]) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(reader, "_indexes", hang)
    await asyncio.to_thread(write_archive, nas / "two.tar", raw_backup(TWO, folders=[]))

    async with asyncio.timeout(10):
        await home.reload()

    assert begun.is_set()
    assert (await home.listed()).keys() == {ONE}
    await until(lambda: _true(ended), within_s=10, what="the end of what hung")


async def _true(event: asyncio.Event) -> bool:
    return event.is_set()


async def test_disk_that_is_silent_says_nothing_of_its_files(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: Sequence[Path]) -> Any:
        raise WorkerSilent("it did not answer")

    monkeypatch.setattr(reader, "_indexes", silent)
    await asyncio.to_thread(write_three, home.local)

    await home.reload()

    assert await home.listed() == {}
    assert unreadable(home) == []
