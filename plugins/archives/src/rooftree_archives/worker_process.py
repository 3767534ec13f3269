"""The daemon's side of a worker: a child process that is asked, one call at a time, and ends with the block.

A worker touches disks and shares that may stop answering, and then not even SIGKILL ends it: it is left behind, and
nobody waits for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson

from rooftree.errors import Conflict, Failed, NotFound, RooftreeError
from rooftree.interfaces.backups import BackupDamaged, PartLeftOut, Progress, WrongPassword
from rooftree_archives.wire import LENGTH, RAW
from rooftree_workers import DisposableProcesses

SILENT_S: Final = 600.0
"""Seconds that a worker may say nothing. Bytes that move are told ten times a second; what may take longer is only that
a slow disk is flushed."""
_PROCESSES: Final = DisposableProcesses()


class ArchiveNotWritten(Failed):
    """An archive can't be written: the disk is full, or fails."""

    error_key = "backup_file_error"


class ArchiveExists(Conflict):
    """There is a file of that name."""

    status = 400


class WorkerEnded(Failed):
    """The process that works on an archive ended before its time, or was interrupted."""


class WorkerSilent(WorkerEnded):
    """The disk or share that an archive is on does not answer."""


_FAULTS: Final[Mapping[str, type[RooftreeError]]] = {
    "damaged": BackupDamaged,
    "password": WrongPassword,
    "source": PartLeftOut,
    "target": ArchiveNotWritten,
    "exists": ArchiveExists,
    "missing": NotFound,
    "refused": Failed,
}


class WorkerClient:
    """A running worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()
        self._interrupted = False

    async def call(self, operation: str, progress: Progress | None = None, **arguments: Any) -> Any:
        """Have something done. A call that is cancelled is the last one: the worker ends with its block."""
        text = orjson.dumps({"call": operation, **arguments})
        return await self._ask(LENGTH.pack(len(text)), text, progress)

    async def send(self, piece: bytes) -> None:
        """Have bytes written to the file that is received."""
        await self._ask(LENGTH.pack(len(piece) | RAW), piece, None)

    async def _ask(self, header: bytes, content: bytes, progress: Progress | None) -> Any:
        async with self._turn:
            if self._interrupted:
                raise WorkerEnded("The work on the archive was interrupted")
            self._interrupted = True
            try:
                self._writer.writelines([header, content])
                await self._writer.drain()
                while "progress" in (message := await self._message()):
                    if progress is not None:
                        progress(*message["progress"])
            except TimeoutError:
                raise WorkerSilent(f"The disk or share did not answer for {SILENT_S:g} s") from None
            except (OSError, asyncio.IncompleteReadError):
                raise WorkerEnded(
                    "The process that works on the archive ended; it may have run out of memory"
                ) from None
            self._interrupted = False
        if "fault" in message:
            raise _FAULTS[message["fault"]](message["message"])
        return message["result"]

    async def _message(self) -> dict[str, Any]:
        async with asyncio.timeout(SILENT_S):
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            data = await self._reader.readexactly(length & ~RAW)
        return {"result": data} if length & RAW else dict(orjson.loads(data))


@asynccontextmanager
async def archive_worker() -> AsyncIterator[WorkerClient]:
    """A worker for the length of the block; it does not outlive the daemon, unless the kernel holds it."""
    ours, theirs = socket.socketpair()
    command = (sys.executable, "-I", "-X", "utf8", "-m", "rooftree_archives.worker", str(theirs.fileno()))
    environment = {"PATH": os.environ.get("PATH", os.defpath), "MALLOC_ARENA_MAX": "1"}
    with ours, theirs:
        async with _PROCESSES.running("an archive", *command, env=environment, pass_fds=(theirs.fileno(),)):
            theirs.close()
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                yield WorkerClient(reader, writer)
            finally:
                writer.close()
