"""Copies of a backup in further places: a copy that fails costs nothing but itself."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from attrs import asdict

from rooftree import Failed, JobCall, RooftreeError, Run, Step, Steps, job, step
from rooftree_archives import copy_archive, hidden_name
from rooftree_backups.archive_folder import FileState
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.places import ArchiveFolder
from rooftree_backups.unfinished import throw_away

COPIES: Final = "backup_copy_to_additional_locations"
COPY: Final = "backup_copy_to_location"


class CopyFailed(Failed):
    """A backup could not be copied to a further place. ``extra_fields``: ``location``."""

    error_key = "backup_copy_failed_error"


@step("backups.copy/1")
class CopyTo(Step):
    """Copy the backup to a further place."""

    slug: str
    location: str
    source: str
    filename: str
    """That of the source's file."""
    target: str
    """That of the copy's."""
    stage = "copy_additional_locations"
    weight = 5
    interruptible = True

    async def before(self, backups: KeptBackups) -> str:
        return hidden_name(backups.kernel.data.instance_id)

    async def do(self, run: Run, backups: KeptBackups) -> None:
        try:
            await self._copy(run, backups, run.before(str))
        except (RooftreeError, OSError) as error:
            reason = error.message if isinstance(error, RooftreeError) else (error.strerror or str(error))
            run.note(CopyFailed(f"The backup could not be copied to {self.location}: {reason}", location=self.location))

    async def _copy(self, run: Run, backups: KeptBackups, unfinished: str) -> None:
        source, target = await backups.places.folder(self.source), await backups.places.require(self.location)
        assert source is not None, "what is copied is a file"
        if not isinstance(target, ArchiveFolder):
            raise Failed(f"{self.location} takes no files")
        head = next((file.head for file in backups.index.of(self.source) if file.filename == self.filename), None)
        if head is None:
            raise Failed(f"there is no file {self.filename} in {self.source} to copy")
        copied = await copy_archive(source.path / self.filename, target.path / self.target, unfinished, run.progress)
        await backups.index.add(self.location, self.target, FileState(**asdict(copied)), head)

    async def undo(self, unfinished: str, backups: KeptBackups) -> None:
        with suppress(RooftreeError):  # a place that is away: the next look at it finds what is left
            target = await backups.places.require(self.location)
            if isinstance(target, ArchiveFolder):
                await throw_away(target, unfinished)


@job(COPY, reference="slug")
async def copy_to(slug: str, location: str, source: str, filename: str, target: str) -> Steps:
    return [CopyTo(slug, location, source, filename, target)]


@job(COPIES, reference="slug")
async def copy_all(slug: str, source: str, filename: str, locations: tuple[str, ...], target: str) -> Steps:
    return [
        copy_to(slug=slug, location=location, source=source, filename=filename, target=target) for location in locations
    ]


def copies_to(slug: str, source: tuple[str, str], locations: tuple[str, ...], target: str) -> JobCall[None]:
    """The job that copies a backup's file to further places.

    :param source: the place that it is copied from, and the file's name there
    :param target: the name of the copies
    """
    location, filename = source
    return copy_all(slug=slug, source=location, filename=filename, locations=locations, target=target)
