"""The steps that make a backup: open, a part each, publish. They share what the workshop keeps open for the backup.

Nothing of it is listed before it was read back. Whatever goes wrong, what is kept still is let go, what was written
goes, and the house is no longer frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Protocol

import structlog
from attrs import frozen

from rooftree import Failed, RooftreeError, Run, Secret, Step, step
from rooftree.interfaces.backups import (
    BackupHead,
    BackupMade,
    BackupPart,
    BackupWriter,
    PartKind,
    PartWishes,
    StoredPart,
)
from rooftree_archives import ArchiveNotWritten, WorkerEnded
from rooftree_backups.failed_parts import FailedPart, with_failed_parts
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.places import ArchiveFolder
from rooftree_backups.workshop import Making

log = structlog.get_logger(__name__)


class BackupFailed(Failed):
    """A backup could not be made."""

    status = 400


@step("backups.open/1")
class Open(Step):
    """Open a new backup, under a name that nobody sees."""

    slug: str
    locations: tuple[str, ...]
    """Where it is written, the first being its primary place."""
    filename: str
    protected: bool
    compressed: bool
    missing: tuple[FailedPart, ...]
    stage = "addon_repositories"

    async def do(self, run: Run, backups: KeptBackups) -> None:
        password = backups.workshop.password(self.slug)
        if self.protected and password is None:
            raise BackupFailed("The backup was to be protected, and its password is not known any more")
        writers: dict[str, BackupWriter] = {}
        async with AsyncExitStack() as closing:
            for number, location in enumerate(self.locations):
                try:
                    writers[location] = await self._open(backups, location, password, closing)
                except (RooftreeError, OSError) as error:
                    if number == 0:
                        raise
                    run.note(error if isinstance(error, RooftreeError) else Failed(f"{location}: {error}"))
            making = Making(
                writers=writers,
                closing=closing.pop_all(),
                failed=list(self.missing),
                reads_copies=writers.keys() <= backups.places.names(),
            )
        backups.workshop.begin(self.slug, making)

    async def _open(
        self, backups: KeptBackups, location: str, password: Secret | None, closing: AsyncExitStack
    ) -> BackupWriter:
        place = await backups.places.require(location)
        if isinstance(place, ArchiveFolder):
            version = await backups.parts.core_version()
            writer = backups.places.archives.writer(
                place.path, self.filename, password=password, core_version=version, compressed=self.compressed
            )
        else:
            writer = place.writer(self.slug, password)
        return await closing.enter_async_context(writer)

    async def undo(self, _: None, backups: KeptBackups) -> None:
        await backups.workshop.end(self.slug)


async def save_part(
    run: Run, backups: KeptBackups, slug: str, part: BackupPart, *, wishes: PartWishes, can_fail: bool
) -> None:
    """Read a part while it is kept still, into every place.

    :param can_fail: whether the backup is made without the part where that fails, but for a disk that takes no more
    """
    making = backups.workshop.making(slug)
    try:
        await _read(run, backups, making, part, wishes)
    except (ArchiveNotWritten, WorkerEnded, OSError):
        raise
    except RooftreeError as error:
        if not can_fail:
            raise
        log.warning("part_left_out", part=part.id.slug, kind=part.id.kind, reason=error.message)
        making.failed.append(FailedPart.of(part.id, error))
        run.note(error)


async def _read(run: Run, backups: KeptBackups, making: Making, part: BackupPart, wishes: PartWishes) -> None:
    owner = await backups.parts.owner(part.id.kind)
    count = len(making.writers)
    async with owner.hold(part.id.slug, wishes) as contents:
        for number, (location, writer) in enumerate(tuple(making.writers.items())):

            def progress(done: int, total: int, number: int = number) -> None:
                run.progress(number + (done / total if total else 0), count)

            try:
                stored = await writer.add(part, contents, progress)
            except RooftreeError as error:
                if number == 0:
                    raise
                del making.writers[location]  # a further place costs nothing but itself
                run.note(error)
                continue
            if number == 0:
                making.stored[f"{part.id.kind}/{part.id.slug}"] = stored
                making.exclude_database = making.exclude_database or contents.exclude_database


class _PartStep(Protocol):
    """A step that backs up a part."""

    @property
    def slug(self) -> str: ...

    @property
    def part(self) -> BackupPart: ...


def _acts_on(step: _PartStep) -> str:
    return step.part.id.slug


async def _save(step: _PartStep, run: Run, backups: KeptBackups) -> None:
    """Save it, or make the backup without it."""
    await save_part(run, backups, step.slug, step.part, wishes=PartWishes(), can_fail=True)


async def _let_go(step: _PartStep, _: None, backups: KeptBackups) -> None:
    """End what a kill may have left kept still of it."""
    owner = (await backups.parts.owners()).get(step.part.id.kind)
    if owner is not None:
        await owner.release(step.part.id.slug)


@step("backups.save_core/1")
class SaveCore(Step):
    """Back up Home Assistant Core."""

    slug: str
    part: BackupPart
    exclude_database: bool | None
    stage = "home_assistant"
    weight = 20
    interruptible = True
    undo = _let_go

    async def do(self, run: Run, backups: KeptBackups) -> None:
        wishes = PartWishes(exclude_database=self.exclude_database)
        await save_part(run, backups, self.slug, self.part, wishes=wishes, can_fail=False)


@step("backups.save_addon/1")
class SaveAddon(Step):
    """Back up an add-on."""

    slug: str
    part: BackupPart
    stage = "addons"
    weight = 10
    interruptible = True
    acts_on = _acts_on
    undo = _let_go

    async def do(self, run: Run, backups: KeptBackups) -> None:
        wishes = PartWishes(from_copy=backups.workshop.making(self.slug).reads_copies)
        await save_part(run, backups, self.slug, self.part, wishes=wishes, can_fail=True)


@step("backups.save_folder/1")
class SaveFolder(Step):
    """Back up a folder."""

    slug: str
    part: BackupPart
    stage = "folders"
    weight = 10
    interruptible = True
    acts_on = _acts_on
    do = _save
    undo = _let_go


@step("backups.save_settings/1")
class SaveSettings(Step):
    """Back up the mounts and the logins at registries."""

    slug: str
    part: BackupPart
    stage = "supervisor_config"
    interruptible = True
    acts_on = _acts_on
    do = _save
    undo = _let_go


@frozen(kw_only=True)
class HeadDraft:
    """What is known of a backup's head before its parts are in it."""

    name: str
    date: datetime
    type: str
    compressed: bool
    protected: bool
    extra: Mapping[str, Any]


@step("backups.publish/1")
class Publish(Step):
    """Read all of the backup back, and let it be listed."""

    slug: str
    draft: HeadDraft
    stage = "finishing_file"
    weight = 20
    interruptible = True

    async def do(self, run: Run, backups: KeptBackups) -> None:
        making = backups.workshop.making(self.slug)
        head = await self._head(backups, making)
        count = len(making.writers)
        for number, (location, writer) in enumerate(making.writers.items()):

            def progress(done: int, total: int, number: int = number) -> None:
                run.progress(number + (done / total if total else 0), count)

            try:
                await writer.publish(head, progress)
            except RooftreeError as error:
                if number == 0:
                    raise
                run.note(error)
                continue
            await _list(backups, location)
        await backups.workshop.end(self.slug)
        backups.kernel.publish(BackupMade(self.slug))

    async def _head(self, backups: KeptBackups, making: Making) -> BackupHead:
        facts = await backups.parts.facts()
        stored: Mapping[PartKind, list[StoredPart]] = {
            kind: [part for part in making.stored.values() if part.part.id.kind is kind] for kind in PartKind
        }
        core = next((part.part for part in stored[PartKind.CORE]), None)
        draft = self.draft
        return BackupHead(
            slug=self.slug,
            name=draft.name,
            date=draft.date,
            type="full" if draft.type == "full" else "partial",
            supervisor_version=facts.supervisor_version,
            protected=draft.protected,
            compressed=draft.compressed,
            core_version=core.version if core is not None else None,
            exclude_database=making.exclude_database,
            folders=tuple(part.part.id.slug for part in stored[PartKind.FOLDER]),
            addons=tuple(part.part for part in stored[PartKind.ADDON]),
            repositories=facts.repositories,
            has_supervisor=bool(stored[PartKind.SUPERVISOR]),
            core_size_bytes=core.size_bytes if core is not None else 0,
            extra=with_failed_parts(draft.extra, making.failed),
        )

    async def undo(self, _: None, backups: KeptBackups) -> None:
        """What was published was read back before: it stays. The rest goes with what is open."""
        await backups.workshop.end(self.slug)


async def _list(backups: KeptBackups, location: str) -> None:
    """A backup is there now: let it be listed."""
    place = await backups.places.require(location)
    if isinstance(place, ArchiveFolder):
        await backups.index.reload(place)
