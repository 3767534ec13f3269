"""Folders of archives on mounts, looked into with a deadline: neither a thread nor whoever waits is held by a server
that is gone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import orjson

from rooftree import Unavailable
from rooftree_backups import folder_listing
from rooftree_backups.archive_folder import FileState, FolderListing
from rooftree_workers import DisposableProcesses, Hanging

LIST_S: Final = 60.0
"""Seconds that listing a folder may take."""
READ_S: Final = 600.0
"""Seconds that reading what is new in it may take."""


class LocationHangs(Unavailable):
    """A place for backups does not answer in time. ``extra_fields``: ``location``."""

    error_key = "backup_location_hangs_error"


class MountedFolders:
    """Looks into them."""

    def __init__(self) -> None:
        self._processes = DisposableProcesses()
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def listing(self, location: str, path: Path) -> FolderListing:
        """What is in a folder. Raises :class:`LocationHangs`, and ``OSError`` where it can't be looked at."""
        answer = os.memfd_create("listing")
        command = (sys.executable, "-I", "-S", "-X", "utf8", folder_listing.__file__, str(path), str(answer))
        about = f"the backups in {location}"
        try:
            ended = await self._processes.run(about, *command, within_s=LIST_S, pass_fds=(answer,))
            if ended.code != 0:
                raise OSError(ended.errors.decode(errors="replace").strip().rpartition("\n")[2][:300] or ended.reason)
            return await asyncio.to_thread(_understood, answer)
        except Hanging as error:
            raise _hangs(location, str(error)) from error
        finally:
            os.close(answer)

    async def within[T](self, location: str, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of work that is done in processes; work that hangs is cancelled and not waited for. Raises
        :class:`LocationHangs`."""
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=READ_S)
        except BaseException:
            self._leave(task)
            raise
        if not done:
            self._leave(task)
            raise _hangs(location, f"what is new there could not be read within {READ_S:g} s")
        return task.result()

    def _leave(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        task.cancel()


def _understood(answer: int) -> FolderListing:
    said = orjson.loads(os.pread(answer, os.fstat(answer).st_size, 0))
    states = {
        name: FileState(size_bytes=size, changed_ns=changed, inode=inode)
        for name, (size, changed, inode) in said["archives"].items()
    }
    return FolderListing(states, said["hidden"])


def _hangs(location: str, reason: str) -> LocationHangs:
    return LocationHangs(f"{location} does not answer: {reason}", location=location)
