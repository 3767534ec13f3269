"""The routes of Backup."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Literal

from rooftree import (
    UNSET,
    Header,
    JobCall,
    Media,
    NotFound,
    Principal,
    Proxied,
    RawBody,
    Role,
    Routes,
    Unset,
    role,
)
from rooftree.interfaces.backups import BackupRequest, PartKind, PartWishes
from rooftree.interfaces.callers import OBSERVER
from rooftree.interfaces.mounts import MountNotFound
from rooftree_backups.archive_folder import FilenameTaken
from rooftree_backups.creation import creation, order_of
from rooftree_backups.download import ArchiveGone, download_name, exported, open_in, send_file
from rooftree_backups.failed_parts import without_ours
from rooftree_backups.freezing import freeze_all, thaw_all
from rooftree_backups.kept_backups import BackupOptions, KeptBackups
from rooftree_backups.models import (
    BackupDetails,
    BackupList,
    BackupsInfo,
    BackupSummary,
    FreezeRequest,
    FullBackupRequest,
    NewBackup,
    OptionsChange,
    PartialBackupRequest,
    RemovalRequest,
    UploadedBackup,
)
from rooftree_backups.names import LOCAL, SUFFIX, BackupFilename, BackupSlug, LocationName, key_of
from rooftree_backups.places import ArchiveFolder, refuse_strangers
from rooftree_backups.removal import removal
from rooftree_backups.upload import (
    MOST_BYTES,
    UploadRefused,
    UploadTargets,
    file_of,
    looked_at,
    receive,
    refuse_taken,
    take_in,
)

routes = Routes()
BACKUP = role(Role.BACKUP)
ANYBODY = role(Role.DEFAULT) | OBSERVER

type Locations = LocationName | list[LocationName | None] | Unset | None


def _keys(location: Locations) -> tuple[str, ...] | None:
    """The places that a client names; ``None`` where it names none."""
    if isinstance(location, Unset):
        return None
    named = location if isinstance(location, list) else [location]
    return tuple(dict.fromkeys(key_of(name) for name in named))


@routes.get("/backups", access=BACKUP)
async def list_backups(backups: KeptBackups) -> BackupList:
    """All backups."""
    return BackupList(await _summaries(backups))


@routes.get("/backups/info", access=ANYBODY)
async def info(backups: KeptBackups) -> BackupsInfo:
    """All backups, and what is set for them."""
    return BackupsInfo(backups=await _summaries(backups), days_until_stale=backups.options.days_until_stale)


async def _summaries(backups: KeptBackups) -> list[BackupSummary]:
    return [BackupSummary.of(backup) for backup in await backups.catalogue.backups()]


@routes.post("/backups/options", access=BACKUP)
async def set_options(backups: KeptBackups, body: OptionsChange) -> None:
    """Change what is set for all backups."""
    await backups.set_options(BackupOptions(body.days_until_stale))


@routes.post("/backups/reload", access=BACKUP)
async def reload(backups: KeptBackups) -> None:
    """Look anew at what there is in every place."""
    await backups.reload()


@routes.get("/backups/{backup}/info", access=ANYBODY)
async def backup_info(backups: KeptBackups, backup: BackupSlug) -> BackupDetails:
    """One backup."""
    return BackupDetails.of(await backups.catalogue.get(backup))


@routes.delete("/backups/{backup}", access=BACKUP)
async def remove(backups: KeptBackups, caller: Principal, backup: BackupSlug, body: RemovalRequest) -> JobCall[None]:
    """Delete a backup, everywhere or in the places named; those that don't hold it are left out."""
    there = await backups.catalogue.get(backup)
    keys = _keys(body.location)
    refuse_strangers(caller, *(keys if keys is not None else (there.primary.location,)))
    return removal(there, None if keys is None else frozenset(keys))


@routes.post("/backups/freeze", access=BACKUP)
def freeze(body: FreezeRequest) -> JobCall[None]:
    """Keep Core and the add-ons still, for a copy that is made from outside, until ``thaw`` or the deadline."""
    return freeze_all(timeout_s=body.timeout)


@routes.post("/backups/thaw", access=BACKUP)
def thaw() -> JobCall[None]:
    """Let Core and the add-ons go on."""
    return thaw_all()


# --- making one -------------------------------------------------------------------------------------------------------


@routes.post("/backups/new/full", access=BACKUP, refuses=(MountNotFound,))
def full(backups: KeptBackups, caller: Principal, body: FullBackupRequest) -> JobCall[NewBackup]:
    """Back up everything."""
    return _creation(backups, caller, body, _request(body, type="full"))


@routes.post("/backups/new/partial", access=BACKUP, refuses=(MountNotFound,))
async def partial(backups: KeptBackups, caller: Principal, body: PartialBackupRequest) -> JobCall[NewBackup]:
    """Back up what is named."""
    folders = body.folders or []
    addons = tuple(body.addons or ())
    if body.addons == "ALL":
        owner = (await backups.parts.owners()).get(PartKind.ADDON)
        addons = tuple(part.id.slug for part in owner.parts()) if owner is not None else ()
    request = _request(
        body,
        type="partial",
        addons=addons,
        folders=tuple(folder for folder in folders if folder != "homeassistant"),
        core=bool(body.homeassistant) or "homeassistant" in folders,
    )
    return _creation(backups, caller, body, request)


def _request(
    body: FullBackupRequest,
    *,
    type: Literal["full", "partial"],  # the field's name
    addons: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    core: bool = False,
) -> BackupRequest:
    return BackupRequest(
        name=body.name,
        type=type,
        addons=addons,
        folders=folders,
        core=core,
        wishes=PartWishes(exclude_database=body.homeassistant_exclude_database),
        locations=_keys(body.location),
        filename=body.filename,
        compressed=body.compressed is not False,
        extra=without_ours(body.extra or {}),
    )


def _creation(
    backups: KeptBackups, caller: Principal, body: FullBackupRequest, request: BackupRequest
) -> JobCall[NewBackup]:
    refuse_strangers(caller, *map(key_of, request.locations or ()))
    order = order_of(backups, request, body.password)
    background = bool(body.background)

    def answer(job_id: str) -> NewBackup:
        if background:
            return NewBackup(job_id=job_id)
        return NewBackup(job_id=job_id, slug=order.slug, failed=list(backups.workshop.failures(order.slug)) or UNSET)

    return creation(backups, order, body.password).in_background(background).answering(answer)


# --- coming in and going out ------------------------------------------------------------------------------------------


@routes.post(
    "/backups/new/upload",
    access=BACKUP,
    max_body=MOST_BYTES,
    refuses=(UploadRefused, FilenameTaken, MountNotFound),
)
async def upload(
    backups: KeptBackups,
    caller: Principal,
    body: RawBody,
    content_type: Annotated[str | None, Header("Content-Type")],
    location: list[LocationName] | None = None,
    filename: BackupFilename | None = None,
) -> JobCall[UploadedBackup]:
    """Take a backup in: the first part of a form, ``multipart/form-data``."""
    keys = tuple(dict.fromkeys(key_of(name) for name in location or [LocationName(LOCAL)]))
    refuse_strangers(caller, *keys)
    targets = await UploadTargets.of(backups.places, keys)
    folder = await backups.places.folder(targets.received_in)
    assert folder is not None, "that is one"
    with ExitStack() as making:
        unfinished = making.enter_context(backups.unfinished.file(folder))
        await receive(folder, unfinished, file_of(body, content_type or ""))
        head = await looked_at(backups.places, folder, unfinished)
        name = filename or BackupFilename(f"{head.slug}{SUFFIX}")
        await refuse_taken(backups, head, targets, name)
        slug = BackupSlug(head.slug)
        call = take_in(slug=slug, targets=targets, unfinished=unfinished, filename=name)
        return call.during(making.pop_all()).answering(lambda _: UploadedBackup(slug))


@routes.get("/backups/{backup}/download", access=BACKUP, refuses=(ArchiveGone,))
async def download(
    backups: KeptBackups,
    caller: Principal,
    backup: BackupSlug,
    wanted: Annotated[str | None, Header("Range")],
    location: LocationName | None = None,
) -> Annotated[Proxied, Media("application/tar")]:
    """The backup as one file, or a part of that."""
    there = await backups.catalogue.get(backup)
    key = there.primary.location if location is None else key_of(location)
    copy = there.at(key)
    refuse_strangers(caller, key)
    if copy is None:
        raise NotFound(f"The backup {backup} is not in {key}")
    name = download_name(there, copy)
    place = await backups.places.require(key)
    if not isinstance(place, ArchiveFolder):
        file = await exported(backups.kernel, place, backup)
    else:
        assert copy.filename is not None, "what is in a folder is a file"
        try:
            file = await open_in(place, copy.filename)
        except ArchiveGone:
            await backups.catalogue.reload_location(key)
            raise
    return Proxied(lambda exchange: send_file(exchange, file, name, wanted))
