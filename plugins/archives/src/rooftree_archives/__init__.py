"""The archive format of backups: one ``.tar`` with an inner archive for each part, as the existing supervisor has it.

A library, for the daemon (everything is done in a child process, one for each archive) and for programs without one.
The names are loaded when they are asked for: the child process is of this package, too, and starts without the kernel.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rooftree_archives.carrying import carry as carry
    from rooftree_archives.files import OpenArchive as OpenArchive
    from rooftree_archives.files import WrittenFile as WrittenFile
    from rooftree_archives.files import being_made as being_made
    from rooftree_archives.files import copy_archive as copy_archive
    from rooftree_archives.files import hidden_name as hidden_name
    from rooftree_archives.files import left_over as left_over
    from rooftree_archives.files import name_archive as name_archive
    from rooftree_archives.files import open_archive as open_archive
    from rooftree_archives.files import receive_archive as receive_archive
    from rooftree_archives.files import remove_archive as remove_archive
    from rooftree_archives.reader import ArchiveIndex as ArchiveIndex
    from rooftree_archives.reader import archive_reader as archive_reader
    from rooftree_archives.reader import read_indexes as read_indexes
    from rooftree_archives.reader import verify_archive as verify_archive
    from rooftree_archives.unpacking import UnpackLimits as UnpackLimits
    from rooftree_archives.worker_process import ArchiveExists as ArchiveExists
    from rooftree_archives.worker_process import ArchiveNotWritten as ArchiveNotWritten
    from rooftree_archives.worker_process import WorkerEnded as WorkerEnded
    from rooftree_archives.writer import archive_writer as archive_writer

_HOMES: Final = {
    "ArchiveExists": "worker_process",
    "ArchiveIndex": "reader",
    "ArchiveNotWritten": "worker_process",
    "OpenArchive": "files",
    "UnpackLimits": "unpacking",
    "WorkerEnded": "worker_process",
    "WrittenFile": "files",
    "archive_reader": "reader",
    "archive_writer": "writer",
    "being_made": "files",
    "carry": "carrying",
    "copy_archive": "files",
    "hidden_name": "files",
    "left_over": "files",
    "name_archive": "files",
    "open_archive": "files",
    "read_indexes": "reader",
    "receive_archive": "files",
    "remove_archive": "files",
    "verify_archive": "reader",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'rooftree_archives' has no attribute {name!r}")
    return getattr(import_module(f"rooftree_archives.{home}"), name)
