"""What is done with vaults now and then: proving a part, and making room."""

from __future__ import annotations

import structlog

from rooftree import Jobs, RooftreeError, Run, Step, Steps, Stopping, job, step
from rooftree.interfaces.backups import BackupDamaged, PartId
from rooftree_backups_vault.proofs import Proofs
from rooftree_backups_vault.stored_backups import StoredBackups
from rooftree_backups_vault.vault_location import VaultLocations
from rooftree_backups_vault.vaults import VaultName, Vaults

log = structlog.get_logger(__name__)


@step("backups_vault.prove/1")
class Prove(Step):
    """Bring a part of a backup back into a scratch place, and look at it."""

    vault: str
    slug: str
    part: PartId
    interruptible = True

    async def do(self, proofs: Proofs) -> None:
        """What came of it is kept with the backup."""
        proof = await proofs.prove(self.vault, self.slug, self.part)
        if not proof.whole:
            raise BackupDamaged(f"The part {self.part.slug} of the backup {self.slug}: {'; '.join(proof.findings)}")

    async def undo(self, before: None) -> None:
        """There is nothing to take back."""


@job("vault_prove", reference="slug")
async def prove(backups: StoredBackups, vault: VaultName, slug: str, part: PartId) -> Steps:
    """Prove that a part of a backup can be brought back."""
    backups.get(vault, slug).part(part)
    return [Prove(vault, slug, part)]


@step("backups_vault.prune/1")
class Prune(Step):
    """Free what no backup needs any more, and check that the rest is whole."""

    vault: str
    interruptible = True

    async def do(self, locations: VaultLocations, run: Run) -> None:
        """What it was stopped in, it goes on with the next time."""
        await locations.get(self.vault).prune()
        run.progress(1, 1)

    async def undo(self, before: None) -> None:
        """What no backup needed is gone."""


@job("vault_prune", reference="vault", makes_room=True)
async def make_room(locations: VaultLocations, vault: VaultName) -> Steps:
    """Make room in a vault."""
    locations.get(vault)
    return [Prune(vault)]


async def make_room_everywhere(jobs: Jobs, vaults: Vaults) -> None:
    """Make room in every vault, as jobs that can be seen; one that is away, or damaged, keeps nobody from the
    others."""
    for name in vaults:
        try:
            await jobs.run(make_room(vault=VaultName(name)))
        except Stopping:
            raise
        except RooftreeError as error:
            log.warning("vault_not_pruned", vault=name, reason=error.message)
