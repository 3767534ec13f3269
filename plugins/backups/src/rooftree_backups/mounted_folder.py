"""Looking into folders of archives on mounts, with a deadline: neither a thread nor whoever waits is held by a server
that is gone."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from rooftree import Unavailable
from rooftree_backups import folder_listing
from rooftree_backups.archive_folder import FileState
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
        self._left: set[asyncio.Task[Any]] = set()

    async def archives_in(self, location: str, path: Path) -> Mapping[str, FileState]:
        """The archives in a folder, by their names. Raises :class:`LocationHangs`, and ``OSError`` where it can't be
        looked at."""
        command = (sys.executable, "-I", "-S", "-X", "utf8", folder_listing.__file__, str(path))
        try:
            ended = await self._processes.run(f"the backups in {location}", *command, within_s=LIST_S)
        except Hanging as error:
            raise _hangs(location, str(error)) from error
        if ended.code != 0:
            raise OSError(ended.errors.decode(errors="replace").strip().rpartition("\n")[2][:300] or ended.reason)
        return {
            name: FileState(size_bytes=size, changed_ns=changed, inode=inode)
            for name, (size, changed, inode) in json.loads(ended.output).items()
        }

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
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.cancel()


def _hangs(location: str, reason: str) -> LocationHangs:
    return LocationHangs(f"{location} does not answer: {reason}", location=location)
