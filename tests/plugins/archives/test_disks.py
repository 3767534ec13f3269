"""Disks that are full, mounted in the middle of what is archived, or smaller than what is in an archive."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rooftree_archives import ArchiveNotWritten, archive_reader, verify_archive
from rooftree_archives.outer_archive import read_outer
from rooftree_archives.tar_headers import Member, encode
from tests.plugins.archives.test_hostile_archives import METADATA, file, tar
from tests.plugins.archives.trees import MIB, SHARE, described, quiet, unpack_folder, write_folder
from tests.requirements import missing
from tests.torture.requirements import small_disk

GIB = 1024 * MIB


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "share").mkdir(parents=True)
    (folder / "share/noise").write_bytes(os.urandom(MIB))
    return folder


def free(disk: Path) -> int:
    space = os.statvfs(disk)
    return space.f_bavail * space.f_frsize


@pytest.mark.parametrize("room_kib", [4, 600, 1016, 1028])
async def test_a_full_disk_is_told_and_gets_its_space_back(tmp_path: Path, data: Path, room_kib: int) -> None:
    with small_disk(tmp_path / "disk", room_kib + 8) as disk:
        (disk / "older.tar").write_bytes(b"x" * 4096)
        before = free(disk)

        with pytest.raises(ArchiveNotWritten, match="No space left"):
            await write_folder(disk / "a.tar", data, compressed=False)

        assert [path.name for path in disk.iterdir()] == ["older.tar"]
        assert free(disk) == before
        assert (disk / "older.tar").read_bytes() == b"x" * 4096


async def test_a_disk_with_just_enough_room_takes_it(tmp_path: Path, data: Path) -> None:
    with small_disk(tmp_path / "disk", 1100) as disk:
        await write_folder(disk / "a.tar", data, compressed=False)
        assert (await verify_archive(disk / "a.tar", None)).whole


async def test_what_the_disk_has_no_room_for_is_not_unpacked(tmp_path: Path, data: Path) -> None:
    await write_folder(tmp_path / "a.tar", data)
    with small_disk(tmp_path / "disk", 512) as disk:
        before = free(disk)
        with pytest.raises(ArchiveNotWritten, match="no room"):
            await unpack_folder(tmp_path / "a.tar", disk / "in")
        assert before - free(disk) < 64 * 1024  # nothing was begun that could not be ended


@contextmanager
def mounted(target: Path) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "none", str(target)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        missing("needs root, to mount something")
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


async def test_what_is_mounted_inside_is_left_out(tmp_path: Path, data: Path) -> None:
    inner, bound = data / "share/with space", data / "share/bound"
    for folder in (inner, bound):
        folder.mkdir()
    with mounted(inner):
        (inner / "film").write_text("on another disk")
        subprocess.run(["mount", "--bind", str(data), str(bound)], check=True)
        try:
            await write_folder(tmp_path / "a.tar", data)
        finally:
            subprocess.run(["umount", str(bound)], check=True)

    assert described(await unpack_folder(tmp_path / "a.tar", tmp_path / "back")).keys() == {".", "noise"}


async def test_files_larger_than_8_gib_are_what_they_were(tmp_path: Path, data: Path) -> None:
    with (data / "share/disk.img").open("wb") as image:
        image.truncate(20 * GIB)
        for place in (0, 9 * GIB, 20 * GIB - 4096):
            image.seek(place)
            image.write(os.urandom(4096))
    await write_folder(tmp_path / "a.tar", data, compressed=False)
    with tarfile.open(tmp_path / "a.tar") as outer:
        outer.extract("share.tar", tmp_path, filter="data")
    listed = subprocess.run(["tar", "-tvf", tmp_path / "share.tar"], check=True, capture_output=True, text=True).stdout
    assert str(20 * GIB) in listed

    back = await unpack_folder(tmp_path / "a.tar", tmp_path / "back") / "disk.img"

    assert (back.stat().st_size, back.stat().st_blocks * 512 < MIB) == (20 * GIB, True)
    with back.open("rb") as file_back, (data / "share/disk.img").open("rb") as original:
        for place in (0, 9 * GIB, 20 * GIB - 4096):
            file_back.seek(place)
            original.seek(place)
            assert file_back.read(4096) == original.read(4096)


def test_inner_archives_larger_than_8_gib_are_listed(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as archive:
        archive.write(encode(Member(name="media.tar", size=9 * GIB, mtime_ns=1), always_extended=True))
        archive.seek(9 * GIB, os.SEEK_CUR)
        archive.write(tar([file("./backup.json", METADATA)]))

    with (tmp_path / "a.tar").open("rb") as archive, tarfile.open(tmp_path / "a.tar") as theirs:
        assert read_outer(archive.fileno()).inner["media"].size == 9 * GIB
        assert {member.name: member.size for member in theirs}["media.tar"] == 9 * GIB


async def test_an_archive_that_goes_while_it_is_read_can_be_read_to_its_end(tmp_path: Path, data: Path) -> None:
    await write_folder(tmp_path / "a.tar", data)
    async with archive_reader(tmp_path / "a.tar", None) as reader:
        (tmp_path / "a.tar").unlink()
        await reader.unpack(SHARE.id, tmp_path / "back", quiet)

    assert described(tmp_path / "back/trees/root") == described(data / "share")
