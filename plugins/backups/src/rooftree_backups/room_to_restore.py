"""Whether what is unpacked has room on each disk that it is unpacked on: asked before anything is read, and where a
disk turns out to be full on the way."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rooftree import Failed
from rooftree.interfaces.backups import StoredPart

MARGIN_BYTES: Final = 256 * 1024 * 1024
"""What must stay free besides what is unpacked."""
MIB: Final = 1024 * 1024


class NoRoomToRestore(Failed):
    """What is in the backup can't be unpacked beside what is there. ``extra_fields``: ``disk`` (where it is mounted),
    ``needed``, ``free`` (bytes)."""

    status = 400
    error_key = "backup_no_room_error"


def unpacked_bytes(part: StoredPart) -> int:
    """What a part takes at least when it is unpacked."""
    return max(part.stored_bytes, part.part.size_bytes)


def refuse_without_room(needed: Mapping[Path, int]) -> None:
    """Raise :class:`NoRoomToRestore` where what is unpacked has certainly no room. Blocks.

    :param needed: bytes, by a folder on the disk that they are unpacked on
    """
    for disk, size_bytes in _by_disk(needed).items():
        free = shutil.disk_usage(disk).free
        if free < size_bytes + MARGIN_BYTES:
            raise _no_room(disk, size_bytes, free, "takes at least")


def refuse_full(needed: Mapping[Path, int]) -> None:
    """Raise :class:`NoRoomToRestore` where a disk, on which something could not be written, is full by now. Blocks.

    :param needed: what is still to be unpacked, in bytes, by a folder on its disk
    """
    for disk, size_bytes in _by_disk(needed).items():
        free = shutil.disk_usage(disk).free
        if free < size_bytes:
            raise _no_room(disk, size_bytes, free, "takes as much as")


def _no_room(disk: Path, needed: int, free: int, words: str) -> NoRoomToRestore:
    missing = max(needed + MARGIN_BYTES - free, 0)
    return NoRoomToRestore(
        f"A backup is unpacked beside what is there, so that nothing is lost where it fails; on the disk at {disk} "
        f"that {words} {needed / MIB:,.0f} MiB, {free / MIB:,.0f} MiB are free, and {missing / MIB:,.0f} MiB are "
        "missing (some has to stay free). Make room, or restore its parts one by one",
        disk=str(disk),
        needed=needed,
        free=free,
    )


def _by_disk(needed: Mapping[Path, int]) -> dict[Path, int]:
    sums: dict[Path, int] = {}
    for folder, size_bytes in needed.items():
        disk = _mount_point(folder)
        sums[disk] = sums.get(disk, 0) + size_bytes
    return sums


def _mount_point(folder: Path) -> Path:
    """Where the disk is mounted that a folder lies on; the folders are ours, their parents too."""
    place = folder.resolve()  # ours: no add-on can change it
    while not place.is_mount():  # ours: see above
        place = place.parent
    return place
