"""Copies of a backup in further places: a copy that fails costs nothing but itself."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from rooftree import Failed, JobCall, RooftreeError, Run, Step, Steps, job, step
from rooftree_backups import archive_folder
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.places import ArchiveFolder
from rooftree_workers import to_thread_stoppable

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

    async def before(self) -> str:
        return archive_folder.unfinished_name()

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
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(run.progress, done, total)

        head = next((file.head for file in backups.index.of(self.source) if file.filename == self.filename), None)
        if head is None:
            raise Failed(f"there is no file {self.filename} in {self.source} to copy")
        with ThreadPoolExecutor(1, "copy") as threads:
            await _copied(threads, (source.path, self.filename), target.path, unfinished, progress)
        state = await asyncio.to_thread(archive_folder.publish, target.path, unfinished, self.target)
        await backups.index.add(self.location, self.target, state, head)

    async def undo(self, unfinished: str, backups: KeptBackups) -> None:
        with suppress(RooftreeError, OSError):  # a place that is away is swept when it is there again
            target = await backups.places.require(self.location)
            if isinstance(target, ArchiveFolder):
                await asyncio.to_thread(archive_folder.remove, target.path, unfinished)


async def _copied(threads: Executor, source: Any, target: Any, unfinished: str, progress: Any) -> None:
    try:
        await to_thread_stoppable(threads, lambda stop: archive_folder.copy(source, target, unfinished, stop, progress))
    except BaseException:
        with suppress(OSError):
            archive_folder.remove(target, unfinished)
        raise


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
