"""Files that are not whole yet: hidden, named after this installation, and deleted when nobody needs them any more.
What a kill has left is deleted with the next look at its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from attrs import asdict

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.mounts import MountDown
from rooftree_archives import WrittenFile, being_made, hidden_name, remove_archive
from rooftree_backups import archive_folder
from rooftree_backups.archive_folder import FileState
from rooftree_backups.places import ArchiveFolder

log = structlog.get_logger(__name__)


async def remove_file(folder: ArchiveFolder, filename: str, state: FileState | None = None) -> bool:
    """Delete a file; whether there was one. A mount may stop answering, which must hold no thread: raises
    ``MountDown``.

    :param state: which file is meant: another one of that name stays
    """
    if not folder.mounted:
        return await asyncio.to_thread(archive_folder.remove, folder.path, filename, state)
    try:
        meant = None if state is None else WrittenFile(**asdict(state))
        return await remove_archive(folder.path / filename, meant)
    except TimeoutError:
        raise MountDown(f"{folder.name} does not answer; {filename} may still be there", mount=folder.name) from None


async def throw_away(folder: ArchiveFolder, filename: str) -> bool:
    """Delete a file that is not whole; whether it is gone. Else it is left for the next look at the folder."""
    try:
        was_there = await remove_file(folder, filename)
    except (RooftreeError, OSError) as error:
        log.warning("unfinished_backup_not_deleted", location=folder.name, file=filename, reason=str(error))
        return False
    if was_there:
        log.info("unfinished_backup_deleted", location=folder.name, file=filename)
    return True


class Unfinished:
    """Those of uploads."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._over = asyncio.Queue[tuple[ArchiveFolder, str]]()

    @contextmanager
    def file(self, folder: ArchiveFolder) -> Iterator[str]:
        """The name for one; it is thrown away after the block's end, unless it has another name by then."""
        name = hidden_name(self._kernel.data.instance_id)
        try:
            with being_made(name):
                yield name
        finally:
            self._over.put_nowait((folder, name))

    async def follow(self) -> None:
        """Throw away those that are over. Never ends."""
        while True:
            await throw_away(*await self._over.get())
