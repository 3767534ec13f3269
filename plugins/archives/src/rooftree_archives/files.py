"""Archives as files, in folders that may stop answering: everything is done by a worker, which can be left behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree.interfaces.backups import Progress
from rooftree_archives.worker_process import WorkerConnection, archive_worker

REMOVAL_S: Final = 10.0
"""Seconds that a file may take to be removed."""
HIDDEN: Final = ".rooftree-"
PARTIAL: Final = ".partial"


def hidden_name() -> str:
    """A name for a file that is not whole yet: no lister shows it, and :func:`remove_leftovers` knows it."""
    return f"{HIDDEN}{secrets.token_hex(8)}{PARTIAL}"


@frozen
class CopiedFile:
    """What the disk has of a copy."""

    size_bytes: int
    changed_ns: int
    inode: int


async def copy_archive(source: Path, target: Path, hidden: str, progress: Progress) -> CopiedFile:
    """Copy an archive's file. The copy has its name once it was read back; an existing file stays.

    Raises ``ArchiveNotWritten``, ``ArchiveExists``, ``BackupDamaged`` where something else was read back, ``NotFound``,
    ``WorkerEnded`` where a folder does not answer.

    :param hidden: what the copy is called until then: :func:`hidden_name`
    """
    async with archive_worker() as worker:
        copied = await worker.call(
            "copy", progress, source=str(source.parent), filename=source.name, target=str(target.parent), hidden=hidden,
            name=target.name,
        )  # fmt: skip
    return CopiedFile(copied["size"], copied["changed_ns"], copied["inode"])


async def remove_archive(path: Path) -> bool:
    """Remove a file; whether there was one. Raises ``TimeoutError`` where its folder does not answer."""
    async with archive_worker() as worker, asyncio.timeout(REMOVAL_S):
        return bool(await worker.call("remove", folder=str(path.parent), name=path.name))


class OpenArchive:
    """A file that is open in a worker.

    :ivar size: in bytes
    """

    def __init__(self, worker: WorkerConnection, size: int) -> None:
        self._worker = worker
        self.size = size

    async def read(self, begin: int, size: int) -> bytes:
        """So many bytes from there on, fewer where it ends. Raises ``WorkerEnded``."""
        return bytes(await self._worker.call("read", begin=begin, size=size))


@asynccontextmanager
async def open_archive(path: Path) -> AsyncIterator[OpenArchive]:
    """A file whose bytes are to be sent somewhere. Raises ``NotFound``."""
    async with archive_worker() as worker:
        yield OpenArchive(worker, await worker.call("open_file", folder=str(path.parent), name=path.name))
