"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from attrs import field, frozen, validators

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.backups import BACKUPS, BackupLocation
from rooftree.interfaces.mounts import MOUNTS
from rooftree.interfaces.vaults import GROUP, VaultDriver
from rooftree_backups_vault import scratch
from rooftree_backups_vault.exports import EXPORTS
from rooftree_backups_vault.imports import IMPORTS, Imports
from rooftree_backups_vault.imports import PLACE as IMPORTS_SCRATCH
from rooftree_backups_vault.proofs import PROOFS, SCRATCH, Proofs
from rooftree_backups_vault.recovery_kit import RECOVERY_KITS, RecoveryKits
from rooftree_backups_vault.routes import routes
from rooftree_backups_vault.single_files import SINGLE_FILES, SingleFiles
from rooftree_backups_vault.stored_backups import STORED_BACKUPS, StoredBackup, StoredBackups
from rooftree_backups_vault.upkeep import make_room_everywhere
from rooftree_backups_vault.vault_location import SCRATCH as BACKUPS_SCRATCH
from rooftree_backups_vault.vault_location import VAULT_LOCATIONS, VaultLocations
from rooftree_backups_vault.vaults import VAULTS, Vault, Vaults


def _cron(_: object, __: object, value: str) -> None:
    try:
        Task("prove_at", _nothing, cron=value)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("task prove_at: cron ")) from None


async def _nothing() -> None:
    """What a task is checked with."""


@frozen
class VaultSettings:
    """``[plugins.backups-vault]`` in rooftree.toml."""

    prove_at: str = field(default="30 3 * * *", validator=_cron)
    """When a part of each vault is brought back for proof, as in crontab(5); within the hour after it."""
    prune_every_days: int = field(default=7, validator=[validators.ge(1), validators.le(365)])
    """How often room is made of what no backup needs any more."""


class BackupsVaultPlugin(Plugin):
    """Vaults: backups in which nothing is stored twice, each proved by bringing it back, by drivers in the group
    ``rooftree.vaults``."""

    name = "backups-vault"
    provides = (VAULTS, STORED_BACKUPS, PROOFS, VAULT_LOCATIONS, SINGLE_FILES, IMPORTS, RECOVERY_KITS)
    optional = (MOUNTS, BACKUPS)
    settings = VaultSettings

    async def setup(self, kernel: Kernel) -> None:
        """Load the drivers. No vault is looked at: one may be far away."""
        self.kernel = kernel
        self.told = kernel.settings(VaultSettings)
        kept = await kernel.collection(Vault)
        drivers = await kernel.drivers(GROUP, VaultDriver)
        self.vaults = Vaults(kernel, drivers, kept, await kernel.folder() / "cache")
        backups = StoredBackups(kernel, await kernel.collection(StoredBackup))
        self.proofs = Proofs(kernel, self.vaults, backups)
        self.locations = VaultLocations(kernel, self.vaults, backups, self.proofs)
        for place in (
            SCRATCH,
            BACKUPS_SCRATCH,
            EXPORTS,
            IMPORTS_SCRATCH,
        ):  # what a kill has left there is of no use to anybody
            await asyncio.to_thread(scratch.remove, kernel.data.path / place)
        kernel.provide(VAULTS, self.vaults)
        kernel.provide(STORED_BACKUPS, backups)
        kernel.provide(PROOFS, self.proofs)
        kernel.provide(VAULT_LOCATIONS, self.locations)
        kernel.provide(SINGLE_FILES, SingleFiles(kernel.data.path, self.vaults, backups))
        kernel.provide(IMPORTS, Imports(kernel))
        kernel.provide(RECOVERY_KITS, RecoveryKits(self.vaults))

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Prove, make room, and see what others have put into the vaults."""
        yield Task("prove backups", self.proofs.nightly, cron=self.told.prove_at, jitter=timedelta(hours=1))
        yield Task("make room in vaults", self.prune, every=timedelta(days=self.told.prune_every_days))
        yield Task("look at vaults", self.locations.look, every=timedelta(hours=20))

    async def prune(self) -> None:
        """Make room in every vault."""
        await make_room_everywhere(self.kernel.jobs, self.vaults)

    @hookimpl
    def backup_locations(self) -> list[BackupLocation]:
        """The vaults."""
        return list(self.locations.all())
