"""What is in a folder takes the place of what was there, which is kept until nothing can fail any more.

The folder itself stays: containers have it mounted, and would go on seeing the old one. So each thing in it is renamed,
out and in. Mount points in it, and the folders that lead to them, stay, and so does what lies on what is mounted there.
Who writes there meanwhile hurts nobody: what is new goes aside with the old.

Everything here goes from open folders and blocks. Names are kept in the journal as text with a character for each byte
(Latin-1), for a name on a disk need not be text.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import frozen

from rooftree_files import Folder

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
MOST_ENTRIES: Final = 100_000
BESIDE: Final = ".rooftree-restore-"
"""What the names of folders begin with that hold what is staged and replaced, where the live folder is on a disk of its
own; they are in that."""


@frozen
class EntrySwap:
    """Folders, relative to the data folder."""

    live: str
    staged: str
    replaced: str
    """Where what was there goes."""


@frozen
class BeforeEntries:
    """The paths of what changes places, each relative to its folder."""

    old: tuple[str, ...]
    new: tuple[str, ...]


def look(data: Path, folders: EntrySwap) -> BeforeEntries:
    """What would change places now."""
    mounts = _mounts_below(data / folders.live)
    with Folder.open(data) as root:
        old = _entries(root, folders.live, "", mounts)
        new = _entries(root, folders.staged, "", mounts)
        return BeforeEntries(tuple(map(_text, old)), tuple(map(_text, new)))


def swap(data: Path, folders: EntrySwap, before: BeforeEntries) -> None:
    """Let them change places; may be repeated until it has worked."""
    with Folder.open(data) as root:
        _make_all(root, folders)
        for path in map(_path, before.old):
            if not _is_there(root, folders.replaced, path):
                _move(root, path, folders.live, folders.replaced)
        for path in map(_path, before.new):
            if _is_there(root, folders.staged, path):
                _move_over(root, path, folders.staged, folders)


def swap_back(data: Path, folders: EntrySwap, before: BeforeEntries) -> None:
    """Let all be as it was, after none, half or all of :func:`swap`; may be repeated."""
    with Folder.open(data) as root:
        _make_all(root, folders)
        for path in map(_path, before.new):
            if not _is_there(root, folders.staged, path):
                _move(root, path, folders.live, folders.staged)
        for path in map(_path, before.old):
            if _is_there(root, folders.replaced, path):
                _move_over(root, path, folders.replaced, folders)


def _make_all(root: Folder, folders: EntrySwap) -> None:
    root.make(folders.live).close()
    for folder in (folders.staged, folders.replaced, _late(folders)):
        root.make(folder, 0o700).close()


def _late(folders: EntrySwap) -> str:
    """Where that goes which somebody has put in a place that is needed."""
    return f"{folders.replaced}.late"


def _move_over(root: Folder, path: str, source: str, folders: EntrySwap) -> None:
    """Move to the live folder; what somebody has put there meanwhile goes aside."""
    if _is_there(root, folders.live, path):
        with suppress(FileNotFoundError), _parent(root, _late(folders), path) as late:
            late.remove(PurePosixPath(path).name)
        _move(root, path, folders.live, _late(folders))
    _move(root, path, source, folders.live)


def _move(root: Folder, path: str, source: str, target: str) -> None:
    name = PurePosixPath(path).name
    with suppress(FileNotFoundError), _parent(root, source, path) as here, _parent(root, target, path) as there:
        here.move(name, there, name)


def _parent(root: Folder, folder: str, path: str) -> Folder:
    """The folder that holds an entry, made where it is missing."""
    return root.make(str(PurePosixPath(folder, path).parent))


def _is_there(root: Folder, folder: str, path: str) -> bool:
    return root.status(str(PurePosixPath(folder, path))) is not None


def _entries(root: Folder, folder: str, below: str, mounts: frozenset[str]) -> Iterator[str]:
    """The entries that can be renamed whole: where something is mounted in one, those in that."""
    try:
        names = root.names(str(PurePosixPath(folder, below)), most=MOST_ENTRIES)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in sorted(names):
        path = f"{below}/{name}" if below else name
        if path in mounts or path.startswith(BESIDE):
            continue
        if any(mount.startswith(f"{path}/") for mount in mounts) and _is_folder(root, folder, path):
            yield from _entries(root, folder, path, mounts)
        else:
            yield path


def _is_folder(root: Folder, folder: str, path: str) -> bool:
    status = root.status(str(PurePosixPath(folder, path)))
    return status is not None and stat.S_ISDIR(status.st_mode)


def _mounts_below(folder: Path) -> frozenset[str]:
    """What is mounted below a folder, relative to it (proc(5): ``/proc/[pid]/mountinfo``)."""
    beginning = os.fsencode(f"{os.path.realpath(folder)}/")  # ours: its parents are
    lines = MOUNT_TABLE.read_bytes().splitlines()  # ours: the kernel's
    points = [_unescaped(line.split(b" ")[4]) for line in lines]
    return frozenset(os.fsdecode(point[len(beginning) :]) for point in points if point.startswith(beginning))


def _unescaped(field: bytes) -> bytes:
    for escaped, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escaped, plain)
    return field


def _text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


def _path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))
