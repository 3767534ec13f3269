"""What an archive is on its way: hidden, whole without the part that failed, gone when nobody publishes it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve

from rooftree.errors import Failed
from rooftree.interfaces.backups import PartContents, PartLeftOut, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.model import Secret
from rooftree_archives import (
    ArchiveExists,
    WorkerEnded,
    archive_reader,
    archive_writer,
    left_over,
    verify_archive,
)
from rooftree_archives.worker_process import archive_worker
from tests.plugins.archives.trees import ADDON, MIB, SHARE, described, head, quiet, unpack_folder, write_folder

TREE = PartContents(trees=(PartTree(source=DataPath("share"), name=""),))
ADDON_TREE = PartContents(trees=(PartTree(source=DataPath("addon"), name="data"),))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "share").mkdir(parents=True)
    (folder / "share/text.txt").write_text("hello")
    (folder / "addon").mkdir()
    (folder / "addon/state").write_bytes(os.urandom(3 * MIB))
    return folder


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_nothing_has_the_name_before_it_is_published_and_nothing_else_stays(data: Path, backups: Path) -> None:
    async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
        await writer.add(SHARE, TREE, quiet)
        (hidden,) = names(backups)
        assert hidden.startswith(".")
        assert not hidden.endswith(".tar")
        await writer.publish(head(folders=("share",)), quiet)
        assert names(backups) == ["a.tar"]
    assert names(backups) == ["a.tar"]


async def test_what_is_not_published_goes(data: Path, backups: Path) -> None:
    async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
        await writer.add(SHARE, TREE, quiet)
    assert names(backups) == []

    with pytest.raises(ZeroDivisionError):
        async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
            await writer.add(SHARE, TREE, quiet)
            raise ZeroDivisionError
    assert names(backups) == []


@pytest.mark.parametrize("password", [None, "p"])
async def test_a_part_that_fails_leaves_the_archive_whole(data: Path, backups: Path, password: str | None) -> None:
    secret = None if password is None else Secret(password)
    absent = PartContents(
        trees=(PartTree(source=DataPath("addon"), name="data"), PartTree(source=DataPath("absent"), name="config"))
    )
    async with archive_writer(backups / "a.tar", data_folder=data, password=secret) as writer:
        await writer.add(SHARE, TREE, quiet)
        size = (backups / names(backups)[0]).stat().st_size
        with pytest.raises(PartLeftOut, match="absent"):
            await writer.add(ADDON, absent, quiet)
        assert (backups / names(backups)[0]).stat().st_size == size
        await writer.publish(head(folders=("share",), protected=bool(password)), quiet)

    assert (await verify_archive(backups / "a.tar", secret)).whole
    async with archive_reader(backups / "a.tar", secret) as reader:
        assert [stored.part.id for stored in reader.parts] == [SHARE.id]


async def test_a_part_that_failed_can_be_tried_again(data: Path, backups: Path) -> None:
    async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
        (data / "addon").rename(data / "away")
        with pytest.raises(PartLeftOut):
            await writer.add(ADDON, ADDON_TREE, quiet)
        (data / "away").rename(data / "addon")
        await writer.add(ADDON, ADDON_TREE, quiet)
        await writer.publish(head(addons=(ADDON,)), quiet)

    assert (await verify_archive(backups / "a.tar", None)).whole


async def test_a_name_that_is_taken_is_an_error_and_the_file_stays(data: Path, backups: Path) -> None:
    (backups / "a.tar").write_bytes(b"the good backup")

    with pytest.raises(ArchiveExists):
        await write_folder(backups / "a.tar", data)

    assert names(backups) == ["a.tar"]
    assert (backups / "a.tar").read_bytes() == b"the good backup"
    await write_folder(backups / "a.tar", data, replace=True)
    assert (await verify_archive(backups / "a.tar", None)).whole


async def test_a_protection_that_was_asked_for_is_a_condition(data: Path, backups: Path) -> None:
    for password, protected in ((None, True), (Secret(""), True), (Secret("p"), False)):
        async with archive_writer(backups / "a.tar", data_folder=data, password=password) as writer:
            await writer.add(SHARE, TREE, quiet)
            with pytest.raises(Failed, match="not protected"):
                await writer.publish(head(folders=("share",), protected=protected), quiet)
    assert names(backups) == []


async def test_what_a_head_lists_has_to_be_there(data: Path, backups: Path) -> None:
    async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
        await writer.add(SHARE, TREE, quiet)
        with pytest.raises(Failed, match="ssl"):
            await writer.publish(head(folders=("share", "ssl")), quiet)
    assert names(backups) == []


@pytest.mark.parametrize("password", [None, "p"])
@pytest.mark.parametrize("where", [0, 1030, 1536 + 140, 200_000, -20_000])
async def test_what_was_altered_on_the_disk_is_noticed_before_it_is_published(
    data: Path, backups: Path, password: str | None, where: int
) -> None:
    secret = None if password is None else Secret(password)
    async with archive_writer(
        backups / "a.tar", data_folder=data, password=secret, version=2, compressed=False
    ) as writer:
        await writer.add(ADDON, ADDON_TREE, quiet)
        with (backups / names(backups)[0]).open("r+b") as file:
            file.seek(where, os.SEEK_SET if where >= 0 else os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        with pytest.raises(Failed):
            await writer.publish(head(addons=(ADDON,), protected=bool(password), compressed=False), quiet)
    assert names(backups) == []


async def test_only_what_its_owner_left_and_nobody_makes_is_left_over(data: Path, backups: Path) -> None:
    mine, others = ".rooftree-me-0123456789abcdef.partial", ".rooftree-you-0123456789abcdef.partial"
    strangers = [".other", ".rooftree-me", ".rooftree-restore-me", "a.tar", ".rooftree-me-1.tar"]
    async with archive_writer(backups / "a.tar", data_folder=data, password=None, owner="me") as writer:
        (being_made,) = names(backups)

        assert left_over([mine, others, being_made, *strangers], "me") == [mine]
        assert left_over([mine, others, being_made, *strangers], "you") == [others]
        await writer.add(SHARE, TREE, quiet)
        await writer.publish(head(folders=("share",)), quiet)
    assert left_over([being_made], "me") == [being_made]


async def test_a_worker_that_dies_is_told_and_nothing_stays(data: Path, backups: Path) -> None:
    with pytest.raises(WorkerEnded):
        async with archive_writer(backups / "a.tar", data_folder=data, password=None) as writer:
            await writer.add(SHARE, TREE, quiet)
            for worker in workers_of(os.getpid()):
                os.kill(worker, signal.SIGKILL)
            await writer.add(ADDON, ADDON_TREE, quiet)
    assert names(backups) == []


def workers_of(parent: int) -> list[int]:
    children = (int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    workers = (pid for pid in children if b"rooftree_archives.worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return [pid for pid in workers if os.getsid(pid) == pid]


async def test_it_can_be_cancelled_while_it_is_read(data: Path, backups: Path) -> None:
    with (data / "addon/state").open("wb") as file:
        file.truncate(1)
    (data / "addon/large").write_bytes(os.urandom(64 * MIB))
    begun = asyncio.Event()

    async def make() -> None:
        async with archive_writer(backups / "a.tar", data_folder=data, password=Secret("p")) as writer:
            await writer.add(ADDON, ADDON_TREE, lambda done, total: begun.set())

    work = asyncio.create_task(make())
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert names(backups) == []
    assert workers_of(os.getpid()) == []


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.plugins.archives.test_writer import make_and_be_killed
asyncio.run(make_and_be_killed(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
"""


async def make_and_be_killed(data: Path, backups: Path, share: float) -> None:
    """End this process, as a kill does, when so much of the work is done (beyond 1: of reading it back)."""

    def watch(phase: int, done: int, total: int) -> None:
        if phase + min(done / total, 1) >= share:
            os.kill(os.getpid(), signal.SIGKILL)

    part = evolve(SHARE, size_bytes=(data / "share/large").stat().st_size)
    async with archive_writer(backups / "a.tar", data_folder=data, password=Secret("p")) as writer:
        await writer.add(part, TREE, lambda done, total: watch(0, done, total))
        if share == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        await writer.publish(head(folders=("share",), protected=True), lambda done, total: watch(1, done, total))


@pytest.mark.parametrize("share", [0.01, 0.5, 1, pytest.param(math.nextafter(1, 2), id="read back")])
async def test_a_kill_leaves_nothing_listed_no_worker_and_nothing_after_the_next_start(
    data: Path, backups: Path, share: float
) -> None:
    (data / "share/large").write_bytes(os.urandom(16 * MIB if share <= 1 else 96 * MIB))  # reading is quick
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(data), str(backups), str(share), cwd=Path(__file__).parents[3]
    )
    assert await process.wait() == -signal.SIGKILL

    assert not [name for name in names(backups) if name.endswith(".tar")]
    for name in left_over(names(backups)):
        (backups / name).unlink()
    assert names(backups) == []
    await write_folder(backups / "a.tar", data)
    assert described(await unpack_folder(backups / "a.tar", backups / "back")) == described(data / "share")


async def test_a_folder_that_is_not_there_is_told(data: Path, backups: Path) -> None:
    with pytest.raises(Failed, match="no folder"):
        await write_folder(backups / "absent/a.tar", data)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_worker_that_can_not_be_started_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def absent(_: object) -> None:
        raise FileNotFoundError("there is no such program")

    monkeypatch.setattr("rooftree_workers.disposable.confined", absent)
    before = open_files()

    with pytest.raises(FileNotFoundError) as refused:
        async with archive_worker():
            pass

    assert refused.value.__traceback__ is not None  # which holds what was made on the way
    assert open_files() == before
