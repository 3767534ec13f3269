"""The routes that put backups back."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from rooftree import UNSET, JobCall, Principal, Role, Routes, Secret, Unset, role
from rooftree.interfaces.backups import BackupDamaged, WrongPassword
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.models import Folder
from rooftree_backups.names import BackupSlug, LocationName, key_of
from rooftree_backups.places import refuse_strangers
from rooftree_backups.restore_selection import RestoreRequest, copy_to_read
from rooftree_backups.restoring import RestoreOrder, restoration

restore_routes = Routes()
BACKUP = role(Role.BACKUP)


@frozen(kw_only=True)
class FullRestoreRequest:
    """All of a backup."""

    password: Secret | None = None
    background: bool | None = None
    location: LocationName | Unset | None = UNSET
    settings: bool | None = None
    """Whether mounts and logins at registries come back too; unless told, with everything, and with Core."""


@frozen(kw_only=True)
class PartialRestoreRequest(FullRestoreRequest):
    """Parts of a backup."""

    addons: list[str] | None = None
    folders: list[Folder | Literal["homeassistant"]] | None = None
    """``homeassistant`` is an older word for the next one."""
    homeassistant: bool | None = None


@frozen
class BegunRestore:
    """A restore that has ended, or goes on in the background."""

    job_id: str


@restore_routes.post("/backups/{backup}/restore/full", access=BACKUP, refuses=(WrongPassword, BackupDamaged))
async def restore_full(
    backups: KeptBackups, caller: Principal, backup: BackupSlug, body: FullRestoreRequest
) -> JobCall[BegunRestore]:
    """Let everything be as it was when the backup was made; add-ons that were not there are uninstalled."""
    return await _restoration(
        backups, caller, backup, body, RestoreRequest(full=True, settings=body.settings is not False)
    )


@restore_routes.post("/backups/{backup}/restore/partial", access=BACKUP, refuses=(WrongPassword, BackupDamaged))
async def restore_partial(
    backups: KeptBackups, caller: Principal, backup: BackupSlug, body: PartialRestoreRequest
) -> JobCall[BegunRestore]:
    """Put back what is named."""
    folders = body.folders or []
    core = bool(body.homeassistant) or "homeassistant" in folders
    request = RestoreRequest(
        full=False,
        core=core,
        settings=core if body.settings is None else body.settings,
        addons=tuple(dict.fromkeys(body.addons or ())),
        folders=tuple(dict.fromkeys(folder for folder in folders if folder != "homeassistant")),
    )
    return await _restoration(backups, caller, backup, body, request)


async def _restoration(
    backups: KeptBackups, caller: Principal, slug: BackupSlug, body: FullRestoreRequest, request: RestoreRequest
) -> JobCall[BegunRestore]:
    location = None if isinstance(body.location, Unset) else key_of(body.location)
    copy = copy_to_read(await backups.catalogue.get(slug), location)
    refuse_strangers(caller, copy.location)
    call = restoration(backups, slug, RestoreOrder(request=request, location=location), body.password)
    return call.in_background(bool(body.background)).answering(BegunRestore)
