"""A folder of archives on the disk: what is in it, and how files come into it and go. Everything blocks.

Add-ons may be given the folder to write in, so nothing here goes by paths beyond it. What is not whole yet has a hidden
name that no lister shows, and goes at the next start.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Conflict, Failed
from rooftree_backups.names import SUFFIX
from rooftree_files import Folder, FolderMissing

UNFINISHED: Final = ".rooftree-backup-"
"""What the names of files begin with that are not whole yet."""
PIECE_BYTES: Final = 1024 * 1024


class FilenameTaken(Conflict):
    """Another backup's file has that name. ``extra_fields``: ``filename``."""

    error_key = "backup_file_exists_error"
    status = 400


@frozen(kw_only=True)
class FileState:
    """What tells whether a file is another than before."""

    size_bytes: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """The state of a file as the disk has it."""
        return cls(size_bytes=status.st_size, changed_ns=status.st_mtime_ns, inode=status.st_ino)


def archives_in(path: Path) -> Mapping[str, FileState]:
    """The archives in a folder, by their names; none where it is not there."""
    states: dict[str, FileState] = {}
    try:
        folder = Folder.open(path)
    except FolderMissing:
        return states
    with folder:
        for name in folder.names():
            if name.endswith(SUFFIX) and not name.startswith("."):
                status = folder.status(name)
                if status is not None and stat.S_ISREG(status.st_mode):
                    states[name] = FileState.of(status)
    return states


def state_of(path: Path, filename: str) -> FileState | None:
    """One file of a folder; ``None`` where it is none, or is gone."""
    try:
        with Folder.open(path) as folder:
            status = folder.status(filename)
    except FolderMissing:
        return None
    return FileState.of(status) if status is not None and stat.S_ISREG(status.st_mode) else None


def make_folder(data: Path, below: str) -> None:
    """Make a folder of ours below the data folder where it is missing."""
    with Folder.open(data) as root:
        root.make(below).close()


def unfinished_name() -> str:
    """A name for a file that is not whole yet."""
    return f"{UNFINISHED}{secrets.token_hex(8)}"


def create(path: Path, name: str) -> int:
    """A new file, open for reading and writing; the descriptor is the caller's to close."""
    with Folder.open(path) as folder:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=folder.descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def publish(path: Path, name: str, filename: str, replaces: FileState | None = None) -> FileState:
    """Give a file that is whole its name. Raises :class:`FilenameTaken` where something has it already, unless that is
    the very file that this one replaces."""
    with Folder.open(path) as folder:
        here = folder.descriptor
        status = folder.status(filename)
        if status is not None and FileState.of(status) != replaces:
            raise _taken(filename)
        if status is None:
            _link_or_rename(here, name, filename)
        else:
            os.rename(name, filename, src_dir_fd=here, dst_dir_fd=here)
        with suppress(OSError):  # network file systems need not know how
            os.fsync(here)
        published = folder.status(filename)
        if published is None:
            raise Failed(f"The file {filename} went while it got its name")
        return FileState.of(published)


def _link_or_rename(here: int, name: str, filename: str) -> None:
    """Give the file its name without taking one from another that came meanwhile, where the file system can."""
    try:
        os.link(name, filename, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
    except FileExistsError:
        raise _taken(filename) from None
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}:
            raise
        os.rename(name, filename, src_dir_fd=here, dst_dir_fd=here)
    else:
        os.unlink(name, dir_fd=here)


def _taken(filename: str) -> FilenameTaken:
    return FilenameTaken(f"There is a file {filename} there already, and it stays", filename=filename)


def remove(path: Path, filename: str) -> bool:
    """Delete a file; whether there was one."""
    try:
        with Folder.open(path) as folder:
            os.unlink(filename, dir_fd=folder.descriptor)
    except (FileNotFoundError, FolderMissing):
        return False
    return True


def sweep(path: Path) -> int:
    """Delete what was never finished; how many files that were."""
    try:
        folder = Folder.open(path)
    except FolderMissing:
        return 0
    with folder:
        names = [name for name in folder.names() if name.startswith(UNFINISHED)]
        for name in names:
            folder.remove(name)
    return len(names)
