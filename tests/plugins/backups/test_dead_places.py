"""Files and places that can't be looked at cost only themselves: a FUSE file system whose server answers nothing stands
for a network share that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.backups import BackupHead
from rooftree_archives import reader
from rooftree_archives.worker_process import WorkerEnded, WorkerSilent
from rooftree_backups import mounted_folder
from tests.plugins.backups.house import House, house
from tests.plugins.backups.plain_archives import raw_backup, write_archive
from tests.requirements import needs
from tests.rig.waiting import until

SHARE = Path(__file__).parents[2] / "rig" / "fuse_share.py"
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


async def test_file_that_ends_the_worker_costs_itself(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    look = reader._indexes

    async def looked(paths: Sequence[Path]) -> Any:
        if any(path.name == f"{TWO}.tar" for path in paths):
            raise WorkerEnded("it ran out of memory")
        return await look(paths)

    monkeypatch.setattr(reader, "_indexes", looked)
    await asyncio.to_thread(write_three, home.local)

    await home.reload()

    assert (await home.listed()).keys() == {ONE, THREE}
    assert "ran out of memory" in unreadable(home)[0]


# --- places -----------------------------------------------------------------------------------------------------------


@contextmanager
def share_at(folder: Path) -> Iterator[Any]:
    """A share, mounted there; its server."""
    server = subprocess.Popen([sys.executable, str(SHARE), str(folder)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline()
        yield server
    finally:
        server.kill()
        server.communicate()
        subprocess.run(["umount", "--lazy", "--no-canonicalize", str(folder)], check=False)


@needs(os.geteuid() == 0 and Path("/dev/fuse").exists(), "needs root, and /dev/fuse")
async def test_place_that_dies_while_it_is_listed_holds_no_thread_and_nobody_else(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_folder, "LIST_S", 0.5)
    nas = home.mounts.add("nas")
    with share_at(nas) as server:
        await home.reload()
        os.kill(server.pid, signal.SIGUSR1)
        await asyncio.to_thread(write_three, home.local)
        threads = threading.active_count()

        for _ in range(3):
            async with asyncio.timeout(10):
                await home.reload()

        assert (await home.listed()).keys() == {ONE, TWO, THREE}
        assert threading.active_count() <= threads + 1
        os.kill(server.pid, signal.SIGUSR2)


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
