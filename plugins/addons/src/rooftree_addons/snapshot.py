"""Copies of an add-on's folders, from before an update.

A copy is made by ``cp``, which keeps owners, modes, times, extended attributes, holes, and links between files, never
follows a symbolic link, and shares the blocks where the file system can (reflink): then it costs no room and no time.
Hard links would cost neither anywhere, but what the add-on writes into such a file would change the copy too.

Everything here is about paths below one data folder. A copy that is not whole has a name that says so, and is begun
anew; folders change places by renaming, so that each is there whole or not at all, whenever the power fails.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Failed
from rooftree.child_process import child_process

KEPT_FOLDER: Final = "apps/kept"
"""Where copies lie, below the data folder: next to ``apps/data``, and in no container."""
UNFINISHED: Final = ".unfinished"
MARGIN_BYTES: Final = 64 * 1024 * 1024
"""What must stay free besides the copy."""
_FICLONE: Final = 0x40049409  # ioctl_ficlone(2)
_NO_CLONES: Final = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
_MEASURE_EVERY_S: Final = 0.5


class SnapshotRefused(Failed):
    """There is no room to keep an add-on's data as it is. ``extra_fields``: ``needed``, ``free`` (bytes)."""

    status = 400
    error_key = "app_update_no_room_error"


class SnapshotFailed(Failed):
    """An add-on's data could not be copied, or not be put back."""

    error_key = "app_snapshot_error"


@frozen
class KeptFolder:
    """One folder of an add-on and the place of its copy, both relative to the data folder."""

    live: str
    copy: str

    @property
    def unfinished(self) -> str:
        """Where the copy is made."""
        return self.copy + UNFINISHED


def size_of(folder: Path) -> int:
    """Bytes that a tree takes on its disk: holes and further names of a file are not counted. 0 where it is not there.
    Blocks: call it in a thread."""
    seen: set[tuple[int, int]] = set()
    total = 0
    with suppress(FileNotFoundError):
        for _, folders, files, descriptor in os.fwalk(f"{folder}/."):  # so that it may itself be a link of its owner's
            for name in (*folders, *files):
                total += _size_at(name, descriptor, seen)
    return total


def _size_at(name: str, folder: int, seen: set[tuple[int, int]]) -> int:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:  # it went while we looked
        return 0
    if (found.st_dev, found.st_ino) in seen:
        return 0
    seen.add((found.st_dev, found.st_ino))
    return found.st_blocks * 512  # stat(2): in units of 512 bytes, whatever the disk's are


def shares_blocks(source: Path, target: Path) -> bool:
    """Whether a copy from one folder to the other can share blocks with its original, found out with files that have
    no name. Blocks."""
    try:
        with tempfile.TemporaryFile(dir=source) as original, tempfile.TemporaryFile(dir=target) as copy:
            original.write(b"\0" * 4096)
            original.flush()
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
    except OSError as error:
        if error.errno in _NO_CLONES:
            return False
        raise
    return True


def refuse_without_room(data: Path, folders: Iterable[str]) -> None:
    """Raise :class:`SnapshotRefused` unless these folders can be copied. Blocks."""
    place = data / KEPT_FOLDER
    while not place.exists():  # to look must change nothing
        place = place.parent
    needed = sum(size_of(data / folder) for folder in folders if not _costs_nothing(data / folder, place))
    free = shutil.disk_usage(place).free
    if needed and free < needed + MARGIN_BYTES:
        raise SnapshotRefused(
            f"The add-on's data is kept until its new version has proved itself, which takes {_megabytes(needed)}; "
            f"{_megabytes(free)} are free. Make room, and try again",
            needed=needed,
            free=free,
        )


def _costs_nothing(folder: Path, place: Path) -> bool:
    return not folder.is_dir() or shares_blocks(folder, place)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


async def keep(data: Path, folder: KeptFolder, progress: Callable[[int, int], None]) -> None:
    """Copy a folder, unless it is not there. What an earlier try left is replaced; a cancelled one ends ``cp``.

    :param progress: told the bytes that are copied, and all there are
    """
    live, unfinished, copy = (data / path for path in (folder.live, folder.unfinished, folder.copy))
    await asyncio.to_thread(_make_way, copy, unfinished)
    if not await asyncio.to_thread(live.is_dir):
        return
    watching = asyncio.create_task(_measure(live, unfinished, progress), name="measure a copy")
    try:
        await _copy(live, unfinished)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    await _finish(unfinished, copy)


def _make_way(copy: Path, unfinished: Path) -> None:
    _make(copy.parent)
    for left in (copy, unfinished):
        if left.exists():
            shutil.rmtree(left)


async def _finish(unfinished: Path, copy: Path) -> None:
    """Let a copy have its name once it is on the disk: cp does not see to that. Only its own file system is waited for;
    another may be one that does not answer."""
    async with child_process("sync", "-f", str(unfinished), env=_environment()) as child:
        if await child.wait() != 0:
            raise SnapshotFailed(f"The copy {unfinished.name} could not be written to the disk")
    await asyncio.to_thread(unfinished.rename, copy)


async def _measure(live: Path, copy: Path, progress: Callable[[int, int], None]) -> None:
    """Say now and then how far a copy is; the larger the tree, the more rarely."""
    loop = asyncio.get_running_loop()
    total = await asyncio.to_thread(size_of, live)
    while True:
        began = loop.time()
        progress(await asyncio.to_thread(size_of, copy), total)
        await asyncio.sleep(max(_MEASURE_EVERY_S, 10 * (loop.time() - began)))


async def _copy(source: Path, target: Path) -> None:
    """Copy a tree with all there is to know of it; ``target`` is made by this."""
    options = ["-a"]
    if await _is_coreutils():
        options = ["--archive", "--reflink=auto", "--sparse=always", "--no-target-directory"]
    command = ["cp", *options, "--", f"{source}/.", str(target)]
    async with child_process(*command, stderr=asyncio.subprocess.PIPE, env=_environment()) as child:
        _, said = await child.communicate()
    if child.returncode != 0:
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        reason = said.decode(errors="replace").strip().splitlines() or ["cp said nothing"]
        raise SnapshotFailed(f"The data in {source.name} could not be copied: {reason[-1]}")


async def _is_coreutils() -> bool:
    """Whether ``cp`` is the one of GNU; that of busybox copies as well, but knows neither holes nor shared blocks."""
    async with child_process("cp", "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                             env=_environment()) as child:  # fmt: skip
        said, _ = await child.communicate()
    return b"coreutils" in said


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


async def put_back(data: Path, folder: KeptFolder, aside: str) -> None:
    """Put a copy in the place of the folder it was made of, which is set aside as ``aside``, relative to ``data``.

    May be repeated until it has worked. A folder that there was no copy of was not there: it only goes aside.
    """
    live, copy, set_aside = data / folder.live, data / folder.copy, data / aside
    try:
        if not await asyncio.to_thread(set_aside.exists):
            if await asyncio.to_thread(live.is_dir):
                await _move(live, set_aside)
            else:
                await asyncio.to_thread(_make, set_aside)  # says that this was done, when all is repeated
        if await asyncio.to_thread(copy.is_dir):
            await asyncio.to_thread(drop, data, folder.live)  # what a power cut left of it: it is aside, whole
            await _move(copy, live)
    except OSError as error:
        raise SnapshotFailed(f"The data in {folder.live} could not be put back from {folder.copy}: {error}") from None


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _move(source: Path, target: Path) -> None:
    """Rename a folder; where the target lies on another disk, copy it there first."""
    await asyncio.to_thread(_make, target.parent)
    try:
        await asyncio.to_thread(source.rename, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        unfinished = target.with_name(target.name + UNFINISHED)
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        await _copy(source, unfinished)
        await _finish(unfinished, target)
        await asyncio.to_thread(shutil.rmtree, source)


def drop(data: Path, folder: str) -> None:
    """Delete a folder; nothing to do when it is gone. Blocks."""
    with suppress(FileNotFoundError):
        shutil.rmtree(data / folder)
