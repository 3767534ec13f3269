"""Taking a backup that is elsewhere into a vault: an archive of the existing supervisor's, or one of ours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final
from uuid import uuid4

from rooftree import CallMemory, Kernel, Lock, Run, Secret, Service, Step, Steps, job, step
from rooftree.interfaces.backups import BACKUPS
from rooftree_archives import carry
from rooftree_backups_vault.stored_backups import StoredBackups
from rooftree_backups_vault.vault_location import VaultLocations
from rooftree_backups_vault.vaults import VaultName, Vaults

PLACE: Final = "tmp/vault-imports"
_PASSWORDS: Final = CallMemory[Secret]("passwords of backups that are imported")


class Imports:
    """Backups that are being taken into a vault, and the passwords that open them, in memory alone."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def with_password(self, slug: str, password: Secret | None) -> AbstractContextManager[None]:
        """Have a password for as long as the job runs."""
        return _PASSWORDS.of({} if password is None else {slug: password})

    def password(self, slug: str) -> Secret | None:
        """The password of one of them."""
        return _PASSWORDS.get(slug)


IMPORTS = Service[Imports]("backups-vault.imports/1")


@step("backups_vault.take_in/1")
class TakeIn(Step):
    """Take a backup that is elsewhere into a vault."""

    vault: str
    slug: str
    location: str | None
    interruptible = True

    async def before(self, backups: StoredBackups) -> bool:
        """Whether it is there already."""
        return backups.find(self.vault, self.slug) is not None

    async def do(self, run: Run, imports: Imports, locations: VaultLocations) -> None:
        """Part by part; there is no backup in the vault before all are."""
        kernel = imports.kernel
        backups = kernel.service(BACKUPS)
        async with (
            await backups.reader(self.slug, self.location, imports.password(self.slug)) as reader,
            locations.get(self.vault).writer(self.slug, None) as writer,
        ):
            await carry(reader, writer, kernel.data.path, f"{PLACE}/{uuid4().hex}", run.progress)

    async def undo(self, was_there: bool, locations: VaultLocations) -> None:
        """Remove it, if it was taken in."""
        if not was_there:
            await locations.get(self.vault).delete(self.slug)


@job("vault_import", reference="slug", locks=lambda vault, slug, location: {Lock("backup in a vault", slug)})
async def take_in(vaults: Vaults, backups: StoredBackups, vault: VaultName, slug: str, location: str | None) -> Steps:
    """Take a backup into a vault."""
    vaults.get(vault)
    backups.refuse_taken(vault, slug)
    return [TakeIn(vault, slug, location)]
