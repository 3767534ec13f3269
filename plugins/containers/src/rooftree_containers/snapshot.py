"""Copies of a container's folders, from before an update.

A copy keeps owners, modes, times, extended attributes, holes, and links between files, never follows a symbolic link,
and shares the blocks where the file system can (reflink): then it costs no room and no time. Hard links would cost
neither anywhere, but what the container writes into such a file would change the copy too.

Everything here is about paths below one data folder, looked up without following links: another container that
runs meanwhile may write in these folders. A copy that is not whole has a name that says so, and is begun anew; folders
change places by renaming, so that each is there whole or not at all, whenever the power fails.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import frozen

from rooftree import Failed, RooftreeError
from rooftree_containers.long_work import in_thread
from rooftree_files import Folder, PathRefused, RemovalIncomplete, TreeChanged, copy_tree, shares_blocks, size_of
from rooftree_workers import child_process

UNFINISHED: Final = ".unfinished"
MARGIN_BYTES: Final = 64 * 1024 * 1024
"""What must stay free besides the copy."""
TRIES: Final = 3
"""How often a folder is measured in which somebody moves folders about."""
_STEP_BYTES: Final = 4 * 1024 * 1024
"""After so much more, a copy says how far it is."""


class SnapshotRefused(Failed):
    """There is no room to keep the data as it is. ``extra_fields``: ``needed``, ``free`` (bytes)."""

    status = 400
    error_key = "update_no_room_error"


class SnapshotFailed(Failed):
    """Data could not be copied, or not be put back."""

    error_key = "snapshot_error"


@frozen
class KeptFolder:
    """One folder of a container and the place of its copy, both relative to the data folder."""

    live: str
    copy: str
    stays: tuple[str, ...] = ()
    """The names of what in the folder is not copied, and stays as it is when the copy is put back."""

    @property
    def unfinished(self) -> str:
        """Where the copy is made."""
        return self.copy + UNFINISHED


def refuse_without_room(
    data: Path, kept: str, folders: Iterable[KeptFolder], refused: type[SnapshotRefused] = SnapshotRefused
) -> None:
    """Raise ``refused`` unless these folders can be copied to the folder ``kept``, relative to the data folder.
    Blocks."""
    with Folder.open(data) as root, _nearest(root, kept) as place:
        needed = sum(_room_for(root, folder, place) for folder in folders)
        free = _free(place)
    if needed and free < needed + MARGIN_BYTES:
        raise refused(
            f"What it has stored is kept until its new version has proved itself, which takes {_megabytes(needed)}; "
            f"{_megabytes(free)} are free. Make room, and try again",
            needed=needed,
            free=free,
        )


def _nearest(root: Folder, path: str) -> Folder:
    """The folder at ``path``, or that of those above it which is there: to look must change nothing."""
    place = PurePosixPath(path)
    while place.parts:
        try:
            return root.folder(str(place))
        except FileNotFoundError:
            place = place.parent
    return _again(root)


def _again(folder: Folder) -> Folder:
    """The same folder, to be closed by itself."""
    return Folder(os.dup(folder.descriptor), folder.name)


def _room_for(root: Folder, folder: KeptFolder, place: Folder) -> int:
    try:
        with root.folder(folder.live) as live:
            return 0 if shares_blocks(live, place) else _measured(live, folder.stays)
    except FileNotFoundError:
        return 0


def _measured(folder: Folder, stays: Collection[str]) -> int:
    for _ in range(TRIES - 1):
        with suppress(TreeChanged):
            return size_of(folder, skip=stays)
    return size_of(folder, skip=stays)


def _free(folder: Folder) -> int:
    described = os.fstatvfs(folder.descriptor)
    return described.f_bavail * described.f_frsize


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


async def keep(data: Path, folder: KeptFolder, progress: Callable[[int, int], None]) -> None:
    """Copy a folder, unless it is not there. What an earlier try left is replaced; a cancelled one ends at once.

    :param progress: told the bytes that are copied, and all there are
    """
    await asyncio.to_thread(_make_way, data, folder)
    if await asyncio.to_thread(_is_there, data, folder.live):
        await _copy(data, folder.live, folder.unfinished, progress, folder.stays)
        await _finish(data, folder.unfinished, folder.copy)


def _make_way(data: Path, folder: KeptFolder) -> None:
    with Folder.open(data) as root, _parent(root, folder.copy) as parent:
        for path in (folder.copy, folder.unfinished):
            parent.remove(PurePosixPath(path).name)


def _parent(root: Folder, path: str) -> Folder:
    """The folder above one of ours, made where it is missing."""
    above = PurePosixPath(path).parent
    return root.make(str(above), 0o700) if above.parts else _again(root)


def _above(root: Folder, path: str) -> Folder:
    """The folder above what lies there; raises ``FileNotFoundError``."""
    above = PurePosixPath(path).parent
    return root.folder(str(above)) if above.parts else _again(root)


def _is_there(data: Path, path: str) -> bool:
    """Whether a folder lies there; raises ``PathRefused`` for anything else."""
    try:
        with Folder.open(data) as root:
            root.folder(path).close()
    except FileNotFoundError:
        return False
    return True


async def _copy(
    data: Path, source: str, target: str, progress: Callable[[int, int], None], stays: Collection[str] = ()
) -> None:
    """Copy a tree with all there is to know of it; ``target`` is made by this, and gone when it fails."""
    loop = asyncio.get_running_loop()

    def tell(done: int, total: int) -> None:
        loop.call_soon_threadsafe(progress, done, total)

    await in_thread(lambda stop: _copy_now(data, source, target, stays, stop, tell))


def _copy_now(
    data: Path,
    source: str,
    target: str,
    stays: Collection[str],
    stop: Callable[[], bool],
    tell: Callable[[int, int], None],
) -> None:
    name = PurePosixPath(target).name
    with Folder.open(data) as root, root.folder(source) as original, _parent(root, target) as parent:
        try:
            total, reported = _measured(original, stays), 0

            def progress(done: int) -> None:
                nonlocal reported
                if done >= reported + _STEP_BYTES:
                    reported = done
                    tell(done, total)

            with parent.make(name, 0o700) as copy:
                copy_tree(original, copy, stop=stop, progress=progress, skip=stays)
        except BaseException as error:
            with suppress(RooftreeError, OSError):
                parent.remove(name)
            if isinstance(error, OSError | PathRefused | TreeChanged):
                raise SnapshotFailed(f"The data in {source} could not be copied: {_reason(error)}") from error
            raise


def _reason(error: OSError | RooftreeError) -> str:
    return error.message if isinstance(error, RooftreeError) else error.strerror or str(error)


async def _finish(data: Path, unfinished: str, copy: str) -> None:
    """Let a copy have its name once it is on the disk. Only its own file system is waited for; another may be one that
    does not answer."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    async with child_process("sync", "-f", str(data / unfinished), env=environment) as child:
        if await child.wait() != 0:
            raise SnapshotFailed(f"The copy {unfinished} could not be written to the disk")
    if unfinished != copy:
        await asyncio.to_thread(_rename, data, unfinished, copy)


async def put_back(data: Path, folder: KeptFolder, aside: str) -> None:
    """Put a copy in the place of the folder it was made of, which is set aside as ``aside``, relative to ``data``.

    May be repeated until it has worked. A folder that there was no copy of was not there: it only goes aside. What else
    lies in its place (a link, if somebody put one there) goes aside as it is.
    """
    try:
        if await asyncio.to_thread(mode_at, data, aside) is None:
            if await asyncio.to_thread(mode_at, data, folder.live) is not None:
                await move(data, folder.live, aside)
            else:
                await asyncio.to_thread(_make, data, aside)  # says that this was done, when all is repeated
        if await asyncio.to_thread(mode_at, data, folder.copy) is not None:
            await asyncio.to_thread(_take_along, data, aside, folder)
            with suppress(RemovalIncomplete):  # a mount point is emptied, and stays
                await asyncio.to_thread(drop, data, folder.live)  # what a power cut left of it: it is aside, whole
            await move(data, folder.copy, folder.live)
    except (OSError, PathRefused) as error:
        raise SnapshotFailed(
            f"The data in {folder.live} could not be put back from {folder.copy}: {_reason(error)}"
        ) from None


def _take_along(data: Path, aside: str, folder: KeptFolder) -> None:
    """Put what was not copied into the copy, which has to be whole before it is in the place of its folder."""
    if not stat.S_ISDIR(mode_at(data, aside) or 0):
        return
    with Folder.open(data) as root, root.folder(aside) as failed, root.folder(folder.copy) as copy:
        for name in folder.stays:
            if failed.status(name) is not None:
                failed.move(name, copy, name)


def mode_at(data: Path, path: str) -> int | None:
    """What lies there, or ``None``."""
    with Folder.open(data) as root:
        status = root.status(path)
        return None if status is None else status.st_mode


def _make(data: Path, folder: str) -> None:
    with Folder.open(data) as root:
        root.make(folder, 0o700).close()


async def move(data: Path, source: str, target: str) -> None:
    """Rename a folder; where the target lies on another disk, or something is mounted at one of them, copy it."""
    try:
        await asyncio.to_thread(_rename, data, source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EBUSY} or not stat.S_ISDIR(await _known_mode(data, source)):
            raise
        unfinished = target + UNFINISHED
        if await asyncio.to_thread(mode_at, data, target) is not None:  # what is mounted there is filled as it is
            unfinished = target
        else:
            await asyncio.to_thread(drop, data, unfinished)
        await _copy(data, source, unfinished, lambda _, __: None)
        await _finish(data, unfinished, target)
        with suppress(RemovalIncomplete):
            await asyncio.to_thread(drop, data, source)


async def _known_mode(data: Path, path: str) -> int:
    return await asyncio.to_thread(mode_at, data, path) or 0


def _rename(data: Path, source: str, target: str) -> None:
    """Rename; the folders above the target are made where they are missing: those above a live folder always are."""
    with (
        Folder.open(data) as root,
        _above(root, source) as parent,
        _parent(root, target) as into,
    ):
        parent.move(PurePosixPath(source).name, into, PurePosixPath(target).name)


def drop(data: Path, folder: str) -> None:
    """Delete what lies there; nothing to do when it is gone. Blocks. Raises
    :class:`~rooftree_files.RemovalIncomplete`."""
    with suppress(FileNotFoundError), Folder.open(data) as root, _above(root, folder) as parent:
        parent.remove(PurePosixPath(folder).name)
