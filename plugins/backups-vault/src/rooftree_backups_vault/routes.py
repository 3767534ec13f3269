"""The routes of the vaults, beside those of backups, which show what is in them."""

from __future__ import annotations

from typing import Annotated, Final

from rooftree import FreeText, Invalid, JobCall, JobStarted, Media, Role, Routes, Stream, role
from rooftree.interfaces.backups import PartId, PartKind
from rooftree.interfaces.vaults import VaultExists, VaultLocked, VaultMissing, VaultUnreachable
from rooftree_backups_vault.imports import Imports, take_in
from rooftree_backups_vault.models import (
    EntryListing,
    ImportRequest,
    KeyCheck,
    KitPage,
    ProofRequest,
    PutBackRequest,
    ShownVault,
    VaultListing,
    VaultMade,
    VaultRequest,
)
from rooftree_backups_vault.proofs import Proofs
from rooftree_backups_vault.put_back import put_back
from rooftree_backups_vault.recovery_kit import RecoveryKits
from rooftree_backups_vault.single_files import SingleFiles
from rooftree_backups_vault.stored_backups import StoredBackups
from rooftree_backups_vault.upkeep import make_room, prove
from rooftree_backups_vault.vault_location import VaultLocations
from rooftree_backups_vault.vaults import VaultName, Vaults

routes = Routes()
_OWNER: Final = role(Role.ADMIN)
"""Who has a vault's key has all that was ever in the house: add-ons with the role backup make backups, and no more."""

_PART: Final = "/kernel/v1/vaults/{vault}/backups/{slug}/parts/{kind}/{part}"


@routes.get("/kernel/v1/vaults", access=_OWNER)
def vaults(vaults: Vaults, backups: StoredBackups) -> VaultListing:
    """All vaults, with what is in them and what proved that."""
    return VaultListing([ShownVault.of(name, vaults.get(name), backups.of(name)) for name in vaults])


@routes.get("/kernel/v1/vaults/{vault}", access=_OWNER)
def vault(vaults: Vaults, backups: StoredBackups, vault: VaultName) -> ShownVault:
    """One of them."""
    return ShownVault.of(vault, vaults.get(vault), backups.of(vault))


@routes.post("/kernel/v1/vaults", access=_OWNER, refuses=(VaultExists, VaultLocked, VaultMissing, VaultUnreachable))
async def create_vault(
    vaults: Vaults, locations: VaultLocations, backups: StoredBackups, kits: RecoveryKits, body: VaultRequest
) -> VaultMade:
    """Make a vault, or take one up, and answer with its recovery kit."""
    if body.existing and body.key is None:
        raise Invalid("key is missing: a vault that exists is opened with the key that it was made with")
    vault = await vaults.add(body.name, body.as_vault(vaults.now()), existing=body.existing)
    if body.existing:
        await locations.get(body.name).reload()
    return VaultMade(ShownVault.of(body.name, vault, backups.of(body.name)), kits.page(body.name))


@routes.delete("/kernel/v1/vaults/{vault}", access=_OWNER)
async def forget_vault(locations: VaultLocations, vault: VaultName) -> None:
    """Know nothing of a vault any more. What it holds stays where it is, and can be taken up again with its key."""
    await locations.forget(vault)


@routes.get("/kernel/v1/vaults/{vault}/recovery-kit", access=_OWNER)
def kit(kits: RecoveryKits, vault: VaultName) -> KitPage:
    """The page with which the owner gets at a vault when this machine is gone."""
    return KitPage(kits.page(vault))


@routes.post("/kernel/v1/vaults/{vault}/check", access=_OWNER, refuses=(VaultLocked, VaultMissing, VaultUnreachable))
async def check_key(vaults: Vaults, vault: VaultName, body: KeyCheck) -> None:
    """Prove that a key opens the vault: the one given, such as from a recovery kit, or the vault's own."""
    await vaults.check(vault, body.key)


@routes.post("/kernel/v1/vaults/{vault}/reload", access=_OWNER, refuses=(VaultUnreachable,))
async def reload(locations: VaultLocations, vault: VaultName) -> None:
    """Look anew at what is in a vault."""
    await locations.get(vault).reload()


@routes.post("/kernel/v1/vaults/{vault}/prove", access=_OWNER)
def prove_backup(proofs: Proofs, vault: VaultName, body: ProofRequest) -> JobCall[JobStarted | None]:
    """Bring a part of a backup back into a scratch place, and look at it: the one that is named, or the part whose turn
    it is. In the background; what came of it is shown with the vault."""
    backup, part = proofs.chosen(vault, body.slug, body.part_id())
    return prove(vault=vault, slug=backup, part=part).in_background(body.background)


@routes.post("/kernel/v1/vaults/{vault}/prune", access=_OWNER)
def prune(vaults: Vaults, vault: VaultName) -> JobCall[None]:
    """Free what no backup needs any more, and check that the rest is whole."""
    vaults.get(vault)
    return make_room(vault=vault)


@routes.post("/kernel/v1/vaults/{vault}/import", access=_OWNER)
def import_backup(imports: Imports, vault: VaultName, body: ImportRequest) -> JobCall[JobStarted | None]:
    """Take a backup that is elsewhere into a vault."""
    call = take_in(vault=vault, slug=body.slug, location=body.location)
    return call.during(imports.with_password(body.slug, body.password)).in_background(body.background)


@routes.get(f"{_PART}/entries", access=_OWNER)
async def entries(
    files: SingleFiles, vault: VaultName, slug: str, kind: PartKind, part: FreeText, path: str = ""
) -> EntryListing:
    """What lies in a folder of a part of a backup; without ``path``, its folders."""
    return EntryListing(await files.entries(vault, slug, PartId(kind=kind, slug=part), path))


@routes.get(f"{_PART}/file", access=_OWNER)
async def file(
    files: SingleFiles, vault: VaultName, slug: str, kind: PartKind, part: FreeText, path: str = ""
) -> Annotated[Stream, Media("application/octet-stream")]:
    """A file of a part of a backup."""
    return Stream(await files.content(vault, slug, PartId(kind=kind, slug=part), path), "application/octet-stream")


@routes.post(f"{_PART}/put-back", access=_OWNER)
def put_file_back(vault: VaultName, slug: str, kind: PartKind, part: FreeText, body: PutBackRequest) -> JobCall[None]:
    """Bring a file or folder back to where it was; what lies there now stays beside it."""
    return put_back(vault=vault, slug=slug, part=PartId(kind=kind, slug=part), path=body.path)
