"""The folders that something is mounted on: empty, and so that nobody can write into them while nothing is.

A folder that the file system calls immutable (FS_IOC_SETFLAGS, as ``chattr +i`` does) takes no file, whoever writes,
and can be renamed or replaced by nobody: not even by an add-on that owns the folder around it. Where the file system
has no such flag, the folder is one that only root can write to.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Failed, Invalid
from rooftree.interfaces.mounts import MountUse
from rooftree_files import Folder, PathRefused
from rooftree_mounts.mount_table import MountTable

MOUNTS: Final = "mounts"
"""Where they are mounted, relative to the data folder."""
RECOVERED: Final = "local_recovery"
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h
_SET_FLAGS: Final = 0x40086602
_IMMUTABLE: Final = 0x10
_NO_SUCH_FLAG: Final = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS}


class TargetNotEmpty(Invalid):
    """Something lies where something is to be mounted, and would be hidden by it. ``extra_fields``: ``name``,
    ``path``."""

    error_key = "mount_target_not_empty_error"


class TargetNotDirectory(Invalid):
    """What lies where something is to be mounted is no folder. ``extra_fields``: ``name``, ``path``."""

    error_key = "mount_target_not_directory_error"


@frozen
class Places:
    """Where one mount is, relative to the data folder."""

    name: str
    own: str
    """Where it is mounted."""
    shown: str | None
    """Where add-ons see it; ``None`` for backups."""

    @classmethod
    def of(cls, name: str, usage: MountUse) -> Places:
        """Those of a mount."""
        return cls(name, f"{MOUNTS}/{name}", None if usage == "backup" else f"{usage}/{name}")

    @classmethod
    def of_trial(cls, name: str) -> Places:
        """Where a configuration is tried while another one is in use; no mount is called so."""
        return cls(f"{name}.trial", f"{MOUNTS}/{name}.trial", None)

    @property
    def both(self) -> tuple[str, ...]:
        return (self.own,) if self.shown is None else (self.own, self.shown)


def every_place(name: str) -> tuple[str, ...]:
    """Wherever a mount of that name may have been, whatever its usage was."""
    trial = Places.of_trial(name)
    return tuple(dict.fromkeys((*Places.of(name, "media").both, *Places.of(name, "share").both, *trial.both)))


def refuse_occupied(data: Path, places: Places) -> None:
    """Raise :class:`TargetNotEmpty` or :class:`TargetNotDirectory` where something is in the way. Touches nothing, and
    nothing that is mounted. Blocks."""
    table = MountTable.read()
    with Folder.open(data) as root:
        for place in places.both:
            if table.at(data / place) is None:
                _refuse_occupied(root, data, places.name, place)


def _refuse_occupied(root: Folder, data: Path, name: str, place: str) -> None:
    path = str(data / place)
    try:
        status = root.status(place)
        if status is None:
            return
        with root.folder(place) as folder:
            entry = _first_entry(folder)
    except (PathRefused, NotADirectoryError):
        raise TargetNotDirectory(
            f"{path} is no folder, so nothing can be mounted there; move it away", name=name, path=path
        ) from None
    if entry is not None:
        raise TargetNotEmpty(
            f"{path} is not empty: {entry[:80]!r} is in it, and would be hidden by what is mounted there. Move it away",
            name=name,
            path=path,
        )


def _first_entry(folder: Folder) -> str | None:
    with os.scandir(folder.descriptor) as entries:  # ours: a folder that is open
        return next((entry.name for entry in entries), None)


def prepare(data: Path, places: Places) -> None:
    """Have an empty folder at each place, into which nobody can write. May be repeated; leaves what is mounted alone.

    Raises as :func:`refuse_occupied` does. Blocks.
    """
    table = MountTable.read()
    with Folder.open(data) as root:
        for place in places.both:
            if table.at(data / place) is None:
                _refuse_occupied(root, data, places.name, place)
                with root.make(place) as folder:
                    set_immutable(folder.descriptor, True)
                _refuse_occupied(root, data, places.name, place)  # whoever wrote there in between did so before it was


def existing(data: Path, places: Places) -> list[str]:
    """At which of them there is something. Blocks."""
    table = MountTable.read()
    with Folder.open(data) as root:
        return [place for place in places.both if table.at(data / place) or root.status(place) is not None]


def clear(data: Path, places: Places, *, keep: Collection[str] = ()) -> None:
    """Take the empty folders away, but for those to keep; one that stays can be written to again. Nothing that is
    mounted is touched. May be repeated. Blocks."""
    table = MountTable.read()
    with Folder.open(data) as root:
        for place in places.both:
            if table.at(data / place) is None:
                _clear(root, place, keep=place in keep)


def _clear(root: Folder, place: str, *, keep: bool) -> None:
    parent, _, name = place.rpartition("/")
    with suppress(PathRefused, FileNotFoundError, NotADirectoryError), root.folder(parent) as around:
        with around.folder(name) as folder:
            set_immutable(folder.descriptor, False)
        if not keep:
            with suppress(OSError):  # it is not empty
                os.rmdir(name, dir_fd=around.descriptor)


def local_data(data: Path, places: Places) -> list[str]:
    """At which places something lies that would be hidden. Blocks."""
    occupied = []
    table = MountTable.read()
    with Folder.open(data) as root:
        for place in places.both:
            try:
                if table.at(data / place) is None:
                    _refuse_occupied(root, data, places.name, place)
            except (TargetNotEmpty, TargetNotDirectory):
                occupied.append(place)
    return occupied


def move_local_data(data: Path, places: Places, beside: str) -> list[str]:
    """Move what lies in the way into a folder beside, which is new: ``<name>_local_recovery``, or with ``_2``, ``_3`` …
    behind it. What lies at a second place becomes a folder in that one, called after where it lay.

    :param beside: where that folder is to be, relative to the data folder: ``media``
    :returns: where it all is now, relative to the data folder; none where nothing was in the way
    """
    occupied = sorted(local_data(data, places), key=lambda place: place != places.shown)
    moved: list[str] = []
    with Folder.open(data) as root, root.make(beside) as around:
        for place in occupied:
            parent, _, name = place.rpartition("/")
            with root.folder(parent) as above:
                with suppress(PathRefused), above.folder(name) as folder:
                    set_immutable(folder.descriptor, False)
                if not moved:
                    target = _free_name(around, f"{places.name}_{RECOVERED}")
                    _move(above, name, around, target)
                    moved.append(f"{beside}/{target}")
                else:
                    with around.folder(moved[0].rpartition("/")[2]) as first:
                        inside = _free_name(first, parent.rpartition("/")[2])
                        _move(above, name, first, inside)
                    moved.append(f"{moved[0]}/{inside}")
    return moved


def _move(above: Folder, name: str, into: Folder, target: str) -> None:
    try:
        above.move(name, into, target)
    except OSError as error:
        raise Failed(f"{name} could not be moved to {into.name}/{target}: {error.strerror}") from error


def _free_name(folder: Folder, wanted: str) -> str:
    number = 1
    name = wanted
    while folder.status(name) is not None:
        number += 1
        name = f"{wanted}_{number}"
    return name


def set_immutable(descriptor: int, immutable: bool) -> bool:
    """Let nobody write into a folder, or everybody who may; whether the file system can do that. Blocks."""
    flags = array.array("i", [0, 0])
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        wanted = flags[0] | _IMMUTABLE if immutable else flags[0] & ~_IMMUTABLE
        if wanted != flags[0]:
            fcntl.ioctl(descriptor, _SET_FLAGS, array.array("i", [wanted, 0]))
    except OSError as error:
        if error.errno not in _NO_SUCH_FLAG:
            raise
        return False
    return True
