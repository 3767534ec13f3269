"""A folder of archives on the disk: what is in it, and how files go. Everything blocks.

Add-ons may be given the folder to write in, so nothing here goes by paths beyond it. What is not whole yet has a hidden
name that no lister shows (:func:`rooftree_archives.left_over`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from rooftree import Conflict
from rooftree_backups.names import SUFFIX
from rooftree_files import Folder, FolderMissing


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


@frozen
class FolderListing:
    """What is in a folder of archives."""

    archives: Mapping[str, FileState] = field(factory=dict)
    """By their names; what is no text in one is replaced, so that such a file can't be read."""
    hidden: Sequence[str] = ()
    """The names of hidden files."""


def listing(path: Path) -> FolderListing:
    """What is in a folder; nothing where it is not there."""
    states: dict[str, FileState] = {}
    hidden: list[str] = []
    try:
        folder = Folder.open(path)
    except FolderMissing:
        return FolderListing()
    with folder:
        for name in folder.names():
            if name.startswith("."):
                hidden.append(name)
            elif name.endswith(SUFFIX):
                status = folder.status(name)
                if status is not None and stat.S_ISREG(status.st_mode):
                    states[os.fsencode(name).decode(errors="replace")] = FileState.of(status)
    return FolderListing(states, hidden)


def make_folder(data: Path, below: str) -> None:
    """Make a folder of ours below the data folder where it is missing."""
    with Folder.open(data) as root:
        root.make(below).close()


def remove(path: Path, filename: str, state: FileState | None) -> bool:
    """Delete a file, if it is the one that is meant; whether there was one."""
    try:
        with Folder.open(path) as folder:
            if state is not None:
                status = folder.status(filename)
                if status is None or FileState.of(status) != state:
                    return False
            os.unlink(filename, dir_fd=folder.descriptor)
    except (FileNotFoundError, FolderMissing):
        return False
    return True
