"""Removing backups, from some of their places or from all."""

from __future__ import annotations

from typing import Final

from rooftree import JobCall, Lock, NotFound, Run, Step, Steps, job, step
from rooftree_backups.catalogue import Backup
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.places import ArchiveFolder
from rooftree_backups.unfinished import remove_file

REMOVAL: Final = "backup_remove"


class BackupFileGone(NotFound):
    """The file of a backup is not there any more. ``extra_fields``: ``location``."""


@step("backups.remove_copy/1")
class RemoveCopy(Step):
    """Delete a backup in one place."""

    slug: str
    location: str
    filename: str | None

    async def do(self, run: Run, backups: KeptBackups) -> None:
        place = await backups.places.require(self.location)
        if not isinstance(place, ArchiveFolder):
            await place.delete(self.slug)
            await backups.forget_gone()
            return
        assert self.filename is not None, "what is in a folder is a file"
        was_there = await self._remove_file(backups, place, self.filename)
        await backups.forget_gone()
        if not was_there:
            raise BackupFileGone(f"The file {self.filename} was not there any more", location=self.location)

    async def _remove_file(self, backups: KeptBackups, place: ArchiveFolder, filename: str) -> bool:
        """Delete the file that the index means, and no other one that has its name by now."""
        for _ in range(2):
            file = backups.index.file(self.location, filename)
            if file is None or file.head is None or file.head.slug != self.slug:
                return False
            if await remove_file(place, filename, file.state):
                await backups.index.drop(self.location, filename)
                return True
            await backups.catalogue.reload_location(self.location)
        return False


@job(REMOVAL, reference="slug", locks=lambda slug, copies: {Lock("backup", slug)}, recovery="forward", makes_room=True)
async def remove_copies(slug: str, copies: tuple[tuple[str, str | None], ...]) -> Steps:
    """
    :param copies: places, each with the file's name where it is one
    """
    return [RemoveCopy(slug, location, filename) for location, filename in copies]


def removal(backup: Backup, locations: frozenset[str] | None = None) -> JobCall[None]:
    """The job that removes a backup from the places named; those that don't hold it are left out.

    :param locations: ``None`` for all
    """
    copies = [copy for copy in backup.copies if locations is None or copy.location in locations]
    return remove_copies(slug=backup.head.slug, copies=tuple((copy.location, copy.filename) for copy in copies))
