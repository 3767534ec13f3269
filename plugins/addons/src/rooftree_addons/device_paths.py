"""Paths of devices, which strangers write: what is one, and where on the host it leads.

A path counts only as the kernel would write it (below ``/dev`` or ``/sys``, no ``..``, no ``//``), is followed step by
step, never out of ``/dev``, and ends at a node of the host's own device file system: a node that somebody made in a
folder of theirs is none. What sysfs says is read without waiting, out of sysfs only, and no more than a page.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from pathlib import Path
from typing import Final

from attrs import frozen

DEV: Final = "/dev/"
SYS: Final = "/sys/"
MAX_PATH_BYTES: Final = 4095
"""What the kernel takes (PATH_MAX without its NUL)."""
MAX_LINKS: Final = 40
"""As many as the kernel follows."""
ATTRIBUTE_BYTES: Final = 4096
"""What an attribute of sysfs has at most: a page."""


@frozen
class HostTree:
    """Where the host's own file systems are; elsewhere in tests only."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


HOST: Final = HostTree()


def why_not_canonical(path: str) -> str | None:
    """What is wrong with the path of a device, as the end of a sentence; ``None`` for one that may be looked at."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "must be a path in UTF-8"
    if "\0" in path:
        return "must be a path without NUL"
    if size > MAX_PATH_BYTES:
        return f"must be a path of at most {MAX_PATH_BYTES} bytes"
    if not path.startswith((DEV, SYS)) or posixpath.normpath(path) != path:
        return "must be a path below /dev or /sys, without '..', '.' or a doubled or last '/'"
    return None


def node_at(path: str, tree: HostTree = HOST) -> tuple[str, os.stat_result] | None:
    """The node at a path below ``/dev``, and what it is; links are followed as long as they stay there.

    ``None`` where there is none, or where it is not of the host's device file system: ``/dev/shm`` and whatever else
    is mounted below ``/dev`` is no place for devices. Blocks for a moment.
    """
    if why_not_canonical(path) is not None or not path.startswith(DEV):
        return None
    steps = path.removeprefix(DEV).split("/")[::-1]
    done: list[str] = []
    links = 0
    try:
        device = tree.dev.stat().st_dev
        while steps:
            done.append(steps.pop())
            here = tree.dev.joinpath(*done)
            status = here.lstat()
            if status.st_dev != device:
                return None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                done.pop()
                target = _below_dev(str(here.readlink()), done, tree) if links <= MAX_LINKS else None
                if target is None:
                    return None
                done.clear()
                steps.extend(target[::-1])
            elif steps and not stat.S_ISDIR(status.st_mode):
                return None
    except OSError:
        return None
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return DEV + "/".join(done), status


def _below_dev(target: str, folder: list[str], tree: HostTree) -> list[str] | None:
    """The steps from ``/dev`` to where a link in that folder leads; ``None`` for one that leads out of it."""
    if target.startswith("/"):
        for root in (DEV, f"{tree.dev}/"):
            if target.startswith(root):
                target, folder = target.removeprefix(root), []
                break
        else:
            return None
    steps = list(folder)
    for step in target.split("/"):
        if step == "..":
            if not steps:
                return None
            steps.pop()
        elif step not in {"", "."}:
            steps.append(step)
    return steps or None


def read_attribute(path: Path, tree: HostTree = HOST) -> str | None:
    """What an attribute of sysfs says; ``None`` where there is none. Never waits: what is no plain file of sysfs (a
    pipe that somebody mounted there) is not opened at all."""
    try:
        sysfs = tree.sys.stat().st_dev
        node = os.open(os.path.realpath(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(node)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != sysfs:
            return None
        opened = os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(opened, ATTRIBUTE_BYTES).decode(errors="replace")
        finally:
            os.close(opened)
    except OSError:
        return None
    finally:
        os.close(node)


def read_table(path: Path) -> list[str]:
    """The lines of one of the kernel's tables in ``/proc``; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def is_shown(path: Path) -> bool:
    """Whether sysfs shows it."""
    return path.exists()


def name_of(path: Path) -> str | None:
    """What the kernel calls a device that sysfs shows there; ``None`` where it shows none."""
    return Path(os.path.realpath(path)).name if path.exists() else None


def folder_of(path: Path) -> Path:
    """The folder in which a device really stands that sysfs shows there: a partition's is its disk."""
    return Path(os.path.realpath(path)).parent


def entries(folder: Path) -> list[Path]:
    """What is in a folder of sysfs, by name; nothing where there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def is_taken(path: str, tree: HostTree = HOST) -> bool:
    """Whether the kernel says that somebody has a block device for himself: by a mount, as swap, as a part of another,
    in whatever mount namespace (open(2): ``O_EXCL``). Nothing is read, and it is let go at once."""
    node = node_at(path, tree)
    if node is None or not stat.S_ISBLK(node[1].st_mode):
        return False
    real = tree.dev / node[0].removeprefix(DEV)
    try:
        opened = os.open(real, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return error.errno == errno.EBUSY
    os.close(opened)
    return False
