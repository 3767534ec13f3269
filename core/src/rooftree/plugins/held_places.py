"""Folders of the data folder that a plugin holds: nobody can write to them, or something is mounted there.

A plugin names those in the file ``held`` of its own folder before it makes them, a path relative to the data folder in
each line. Once it is uninstalled nobody else knows of them, and who deletes the data folder would fail at the one kind
and empty the other: so they are let go when it is purged. Everything here blocks, and nothing asks what is mounted.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

HELD: Final = "held"
"""The file, in a plugin's own folder."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # sys/mount.h
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h
_SET_FLAGS: Final = 0x40086602
_IMMUTABLE: Final = 0x10


def release_held(data: Path, folder: Path) -> None:
    """Unmount what is mounted on the folders that a plugin holds, whoever uses it, and let those that are immutable be
    written to, or be gone where they are empty. May be repeated; raises ``OSError``.

    :param folder: the plugin's own
    """
    try:
        text = (folder / HELD).read_text(errors="surrogateescape")  # ours: the plugin's own folder
    except FileNotFoundError:
        return
    for line in text.splitlines():
        place = PurePosixPath(line)
        if place.parts and not place.is_absolute() and ".." not in place.parts:
            with suppress(FileNotFoundError, NotADirectoryError), _opened(data, place.parts[:-1]) as around:
                _unmount(around, place.name)
                _release(around, place.name)


@contextmanager
def _opened(data: Path, parts: Sequence[str]) -> Iterator[int]:
    """A folder below the data folder, entered from one to the next: no link leads elsewhere."""
    here = os.open(data, _FOLDER)  # ours: the data folder itself
    try:
        for part in parts:
            above, here = here, os.open(part, _FOLDER, dir_fd=here)
            os.close(above)
        yield here
    finally:
        os.close(here)


def _unmount(around: int, name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    path = f"/proc/self/fd/{around}/{name}"
    while libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        pass  # there may be several over each other
    number = ctypes.get_errno()
    if number == errno.EPERM and not _is_mounted(around, name):
        return  # who is not root is told no more than that, whatever there is
    if number not in {errno.EINVAL, errno.ENOENT}:
        raise _refused(number, "it can't be unmounted", name)


def _is_mounted(around: int, name: str) -> bool:
    """Whether something is mounted there, as the kernel lists it (proc(5): ``/proc/[pid]/mountinfo``)."""
    place = os.fsencode(Path(f"/proc/self/fd/{around}").readlink() / name)  # ours: it is open
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in place)
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()  # ours: the kernel's
    return any(line.split(b" ")[4] == escaped for line in lines)


def _refused(number: int, what: str, name: str) -> OSError:
    """An error that says who could do it."""
    who = "; it takes root: run this as root" if number in {errno.EPERM, errno.EACCES} else ""
    return OSError(number, f"{what}: {os.strerror(number)}{who}", name)


def _release(around: int, name: str) -> None:
    descriptor = os.open(name, _FOLDER, dir_fd=around)
    flags = array.array("i", [0, 0])
    try:
        with suppress(OSError):  # a file system without such flags
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        if flags[0] & _IMMUTABLE:
            try:
                fcntl.ioctl(descriptor, _SET_FLAGS, array.array("i", [flags[0] & ~_IMMUTABLE, 0]))
            except OSError as error:
                raise _refused(error.errno or 0, "nobody can write to it, and that can't be ended", name) from None
            with suppress(OSError):  # it is not empty
                os.rmdir(name, dir_fd=around)
    finally:
        os.close(descriptor)
