"""Archives as files, in folders that may stop answering: everything is done by a worker, which can be left behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from attrs import asdict, frozen

from rooftree.interfaces.backups import Progress
from rooftree_archives.worker_process import WorkerClient, archive_worker

REMOVAL_S: Final = 10.0
"""Seconds that a file may take to be removed."""
_HIDDEN: Final = ".rooftree-"
_PARTIAL: Final = ".partial"
_BEING_MADE: Final = set[str]()


def hidden_name(owner: str = "") -> str:
    """A name for a file that is not whole yet: no lister shows it, and :func:`left_over` knows it.

    :param owner: who sweeps it if a kill leaves it there; a share may be in use by several installations
    """
    return f"{_HIDDEN}{owner}-{secrets.token_hex(8)}{_PARTIAL}"


@contextmanager
def being_made(hidden: str) -> Iterator[None]:
    """While the block lasts, a file of that name is not left over."""
    _BEING_MADE.add(hidden)
    try:
        yield
    finally:
        _BEING_MADE.discard(hidden)


def left_over(names: Iterable[str], owner: str = "") -> list[str]:
    """Those of a folder's names that a kill has left there: the owner's own, that nobody here is making."""
    beginning = f"{_HIDDEN}{owner}-"
    return [
        name for name in names if name.startswith(beginning) and name.endswith(_PARTIAL) and name not in _BEING_MADE
    ]


@frozen
class WrittenFile:
    """What the disk has of a file that was written."""

    size_bytes: int
    changed_ns: int
    inode: int


async def copy_archive(source: Path, target: Path, hidden: str, progress: Progress) -> WrittenFile:
    """Copy an archive's file. The copy has its name once it was read back; an existing file stays.

    Raises ``ArchiveNotWritten``, ``ArchiveExists``, ``BackupDamaged`` where something else was read back, ``NotFound``,
    ``WorkerEnded`` where a folder does not answer.

    :param hidden: what the copy is called until then: :func:`hidden_name`
    """
    with being_made(hidden):
        async with archive_worker() as worker:
            written = await worker.call(
                "copy", progress, source=str(source.parent), filename=source.name, target=str(target.parent),
                hidden=hidden, name=target.name,
            )  # fmt: skip
    return WrittenFile(**written)


class ReceivedFile:
    """A file that is written as it comes."""

    def __init__(self, worker: WorkerClient) -> None:
        self._worker = worker

    async def write(self, piece: bytes) -> None:
        """Write what comes next. Raises ``ArchiveNotWritten``, ``WorkerEnded``."""
        await self._worker.send(piece)

    async def complete(self) -> None:
        """Have all of it on the disk. Raises as :meth:`write`."""
        await self._worker.call("complete")


@asynccontextmanager
async def receive_archive(path: Path) -> AsyncIterator[ReceivedFile]:
    """Write a new file with a hidden name, as it comes. It stays there at the block's end, whole or not. Raises
    ``ArchiveNotWritten``, ``WorkerEnded`` where its folder does not answer."""
    async with archive_worker() as worker:
        await worker.call("receive", folder=str(path.parent), hidden=path.name)
        yield ReceivedFile(worker)


async def name_archive(path: Path, name: str, replaces: WrittenFile | None = None) -> WrittenFile:
    """Give a file that is whole the name that it is to have in its folder.

    Raises ``ArchiveExists`` where something has that name, unless it is the very file that this one replaces,
    ``ArchiveNotWritten``, ``WorkerEnded``.
    """
    async with archive_worker() as worker:
        named = await worker.call(
            "name", folder=str(path.parent), hidden=path.name, name=name, replaces=replaces and asdict(replaces)
        )
    return WrittenFile(**named)


async def remove_archive(path: Path, state: WrittenFile | None = None) -> bool:
    """Remove a file; whether there was one. Raises ``TimeoutError`` where its folder does not answer.

    :param state: which file is meant: another one of that name stays
    """
    expected = state and asdict(state)
    async with archive_worker() as worker, asyncio.timeout(REMOVAL_S):
        return bool(await worker.call("remove", folder=str(path.parent), name=path.name, expected=expected))


class OpenArchive:
    """A file that is open in a worker.

    :ivar size: in bytes
    """

    def __init__(self, worker: WorkerClient, size: int) -> None:
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
