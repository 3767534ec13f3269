"""Making a backup: which parts it has, where it goes, and the job with a child for each part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from rooftree import CONDITIONS, Invalid, JobCall, Lock, Secret, Step, Steps, job
from rooftree.interfaces.backups import BackupPart, BackupRequest
from rooftree.interfaces.mounts import MountDown
from rooftree_backups.copying import copies_to
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import CLOUD, LOCAL, SUFFIX, BackupFilename, BackupSlug, key_of
from rooftree_backups.parts import Selection
from rooftree_backups.places import ArchiveFolder
from rooftree_backups.saving import HeadDraft, Open, Publish, SaveAddon, SaveCore, SaveFolder, SaveSettings

BACKUP_LOCK: Final = Lock("backups", "all")
"""Held by whoever backs up, restores or freezes: one at a time."""
FULL: Final = "backup_manager_full_backup"
PARTIAL: Final = "backup_manager_partial_backup"


@frozen(kw_only=True)
class BackupOrder:
    """A backup that is to be made."""

    slug: str
    date: datetime
    request: BackupRequest
    protected: bool = False


@job("backup_store_homeassistant", reference="slug")
async def save_core(slug: str, part: BackupPart, exclude_database: bool | None) -> Steps:
    return [SaveCore(slug, part, exclude_database)]


@job("backup_addon_save", reference="addon")
async def save_addon(addon: str, slug: str, part: BackupPart) -> Steps:
    return [SaveAddon(slug, part)]


@job("backup_store_addons", reference="slug")
async def save_addons(slug: str, parts: Sequence[BackupPart]) -> Steps:
    return [save_addon(addon=part.id.slug, slug=slug, part=part) for part in parts]


@job("backup_folder_save", reference="folder")
async def save_folder(folder: str, slug: str, part: BackupPart) -> Steps:
    return [SaveFolder(slug, part)]


@job("backup_store_folders", reference="slug")
async def save_folders(slug: str, parts: Sequence[BackupPart]) -> Steps:
    return [save_folder(folder=part.id.slug, slug=slug, part=part) for part in parts]


@job("backup_store_supervisor_config", reference="slug")
async def save_settings(slug: str, part: BackupPart) -> Steps:
    return [SaveSettings(slug, part)]


@job(FULL, reference="slug", locks=lambda slug, order: {BACKUP_LOCK}, conditions=("running",), when_busy="refuse")
async def full_backup(backups: KeptBackups, slug: str, order: BackupOrder) -> Steps:
    return await _plan(backups, order)


@job(PARTIAL, reference="slug", locks=lambda slug, order: {BACKUP_LOCK}, conditions=("running",), when_busy="refuse")
async def partial_backup(backups: KeptBackups, slug: str, order: BackupOrder) -> Steps:
    return await _plan(backups, order)


def order_of(backups: KeptBackups, request: BackupRequest, password: Secret | None) -> BackupOrder:
    """An order for a backup, with a slug of its own. An empty password is none."""
    date = backups.kernel.clock.now()
    protected = password is not None and bool(password.reveal())
    return BackupOrder(slug=BackupSlug.made_of(date, request.name), date=date, request=request, protected=protected)


def creation(backups: KeptBackups, order: BackupOrder, password: Secret | None) -> JobCall[None]:
    """The job that makes a backup."""
    kind = full_backup if order.request.type == "full" else partial_backup
    call = kind(slug=order.slug, order=order)
    return call.during(backups.workshop.with_password(order.slug, password))


async def _plan(backups: KeptBackups, order: BackupOrder) -> list[Step | JobCall[None]]:
    request = order.request
    locations = _locations(backups, request)
    filename = request.filename or f"{order.slug}{SUFFIX}"
    BackupFilename.check(filename)
    written, copied, source = await _ways(backups, locations)
    if {LOCAL, CLOUD} & {*written[:1], *copied}:
        await backups.kernel.service(CONDITIONS).require(FULL if request.type == "full" else PARTIAL, ["free_space"])
    await _refuse_taken(backups, written, filename)
    selection = await backups.parts.select(request)
    draft = HeadDraft(
        name=request.name,
        date=order.date,
        type=request.type,
        compressed=request.compressed,
        protected=order.protected,
        extra=dict(request.extra),
    )
    steps: list[Step | JobCall[None]] = [
        Open(order.slug, written, filename, order.protected, request.compressed, selection.missing),
        *_parts(order, selection),
        Publish(order.slug, draft),
    ]
    if copied:
        steps.append(copies_to(order.slug, (source, filename), copied, filename))
    return steps


def _parts(order: BackupOrder, selection: Selection) -> list[JobCall[None]]:
    slug, calls = order.slug, list[JobCall[None]]()
    if selection.core is not None:
        wishes = order.request.wishes
        calls.append(save_core(slug=slug, part=selection.core, exclude_database=wishes.exclude_database))
    if selection.addons:
        calls.append(save_addons(slug=slug, parts=selection.addons))
    if selection.folders:
        calls.append(save_folders(slug=slug, parts=selection.folders))
    if selection.supervisor is not None:
        calls.append(save_settings(slug=slug, part=selection.supervisor))
    return calls


def _locations(backups: KeptBackups, request: BackupRequest) -> tuple[str, ...]:
    if request.locations is None:
        return (backups.places.default(),)
    if not request.locations:
        raise Invalid("location: name at least one place, or leave the key out for where backups usually go")
    return tuple(dict.fromkeys(map(key_of, request.locations)))


async def _ways(backups: KeptBackups, locations: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Where the backup is written while its parts are read, and where its file is copied to afterwards, and from
    which folder: one is enough to copy to all others, and what is no folder takes no files."""
    folders, down = list[str](), list[str]()
    for number, name in enumerate(locations):
        try:
            place = await backups.places.require(name)
        except MountDown:
            if number == 0:
                raise
            down.append(name)  # the copy says so when its turn has come, and costs nothing but itself
        else:
            folders += [name] if isinstance(place, ArchiveFolder) else []
    copied = (*folders[1:], *down)
    return tuple(name for name in locations if name not in copied), copied, next(iter(folders), "")


async def _refuse_taken(backups: KeptBackups, locations: tuple[str, ...], filename: str) -> None:
    """Refuse before anything is read what could not be written in the end."""
    for location in locations:
        taken = {file.filename for file in backups.index.of(location)}
        if filename in taken:
            raise Invalid(f"filename: there is a file {filename} in {location} already, and it stays")
