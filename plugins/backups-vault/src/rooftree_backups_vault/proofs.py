"""The proof that a backup can be brought back: each night a part is, into a scratch place, and looked at.

What is restored is verified against the vault's own digests by its program. Then each file that has not changed since
the backup is compared with the one that is there now, byte by byte; and databases, JSON and YAML are opened, by a
process of their own. What can't be opened there and can't be opened here either is none of the backup's faults.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from attrs import frozen

from rooftree import Kernel, NotFound, Problem, RooftreeError, Service, Unavailable
from rooftree.interfaces.backups import PartId
from rooftree.interfaces.vaults import VaultUnreachable
from rooftree_backups_vault import scratch
from rooftree_backups_vault.stored_backups import PartProof, StoredBackup, StoredBackups, VaultPart
from rooftree_backups_vault.vaults import Vaults
from rooftree_workers import child_process

log = structlog.get_logger(__name__)

SCRATCH: Final = "tmp/vault-proofs"
MARGIN_BYTES: Final = 256 * 1024 * 1024
"""What must stay free on the disk besides what is restored."""
MOST_FINDINGS: Final = 20
_MEMORY_BYTES: Final = 1024**3
PROBLEM: Final = "vault_proof_failed"


@frozen
class ProofTurn:
    """The part whose turn it is."""

    backup: StoredBackup
    part: VaultPart


class Proofs:
    """Proves backups."""

    def __init__(self, kernel: Kernel, vaults: Vaults, backups: StoredBackups) -> None:
        self._kernel = kernel
        self._vaults = vaults
        self._backups = backups

    def turn(self, vault: str, slug: str | None = None) -> ProofTurn | None:
        """The part of the newest backup, or of the one that is named, that was proved the longest ago, in whichever
        backup it was. Raises ``NotFound``."""
        backups = self._backups.of(vault)
        newest = max(backups, key=lambda backup: backup.head.date, default=None)
        if slug is not None:
            newest = self._backups.get(vault, slug)
        if newest is None or not newest.parts:
            return None
        last = {proof.part: proof.time for backup in backups for proof in sorted(backup.proofs, key=lambda p: p.time)}
        never = datetime.min.replace(tzinfo=UTC)
        part = min(newest.parts, key=lambda part: (last.get(part.part.id, never), part.total_bytes))
        return ProofTurn(newest, part)

    def chosen(self, vault: str, slug: str | None, part: PartId | None) -> tuple[str, PartId]:
        """The backup and the part that are meant; without either, those whose turn it is. Raises ``NotFound``."""
        if slug is not None and part is not None:
            return slug, self._backups.get(vault, slug).part(part).part.id
        self._vaults.get(vault)
        turn = self.turn(vault, slug)
        if turn is None:
            raise NotFound(f"There is no backup in the vault {vault} yet")
        return turn.backup.head.slug, turn.part.part.id

    async def nightly(self) -> None:
        """Prove a part of each vault; one that can't be reached keeps nobody from the others."""
        for vault in self._vaults:
            turn = self.turn(vault)
            if turn is not None:
                try:
                    await self.prove(vault, turn.backup.head.slug, turn.part.part.id)
                except Unavailable as error:
                    log.warning("vault_proof_put_off", vault=vault, reason=error.message)

    async def prove(self, vault: str, slug: str, part: PartId) -> PartProof:
        """Bring a part back into a scratch place and look at it. What comes of it is a fact of the backup, and a
        problem where it is not whole. Raises ``Unavailable`` where the vault can't be reached, or there is no room."""
        backup = self._backups.get(vault, slug)
        stored = backup.part(part)
        folder = self._kernel.data.path / SCRATCH / uuid4().hex
        await asyncio.to_thread(_room, folder, stored.total_bytes)
        try:
            proof = await self._looked_at(vault, backup, stored, folder)
        finally:
            await asyncio.to_thread(scratch.remove, folder)
        await self._backups.put(self._backups.get(vault, slug).proved(proof))
        self._tell(vault, backup, proof)
        return proof

    async def _looked_at(self, vault: str, backup: StoredBackup, part: VaultPart, folder: Path) -> PartProof:
        now = self._kernel.clock.now()
        try:
            await self._restore(vault, backup, part, folder)
        except VaultUnreachable:
            raise
        except RooftreeError as error:
            return PartProof(part=part.part.id, time=now, whole=False, compared_files=0, compared_bytes=0,
                             opened_files=0, findings=(error.message,))  # fmt: skip
        report = await self._report(folder, part)
        return PartProof(
            part=part.part.id,
            time=now,
            whole=not report["findings"],
            compared_files=report["compared_files"],
            compared_bytes=report["compared_bytes"],
            opened_files=report["opened_files"],
            findings=tuple(report["findings"][:MOST_FINDINGS]),
        )

    async def _restore(self, vault: str, backup: StoredBackup, part: VaultPart, folder: Path) -> None:
        """What fails is tried once more: another installation may have been making room in the same vault, and moved
        what was to be read."""
        access, driver = self._vaults.access(vault), self._vaults.driver(vault)
        try:
            await driver.restore(access, backup.snapshot(part), part.paths, folder)
        except VaultUnreachable:
            raise
        except RooftreeError as error:
            log.warning("vault_proof_tried_again", vault=vault, part=part.part.id.slug, reason=error.message)
            await asyncio.to_thread(scratch.remove, folder)
            await driver.restore(access, backup.snapshot(part), part.paths, folder)

    async def _report(self, folder: Path, part: VaultPart) -> dict[str, Any]:
        """What a process of its own finds: what is restored is somebody else's, and large."""
        trees = [tree.path for tree in part.trees]
        command = (sys.executable, "-I", "-m", "rooftree_backups_vault.proof_reading", str(self._kernel.data.path),
                   str(folder), *trees)  # fmt: skip
        async with child_process(
            *command, limits={"data": _MEMORY_BYTES}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        ) as child:
            output, errors = await child.communicate()
        if child.returncode:
            said = errors.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            return {"compared_files": 0, "compared_bytes": 0, "opened_files": 0,
                    "findings": [f"What was restored could not be looked at: {said[0]}"]}  # fmt: skip
        report: dict[str, Any] = orjson.loads(output)
        return report

    def _tell(self, vault: str, backup: StoredBackup, proof: PartProof) -> None:
        reference = f"{vault}_{proof.part.slug}"
        if proof.whole:
            self._kernel.problems.clear(PROBLEM, "system", reference)
            return
        log.error("vault_proof_failed", vault=vault, backup=backup.head.slug, part=proof.part.slug)
        self._kernel.problems.report(
            Problem(
                PROBLEM,
                "system",
                reference,
                f"The part {proof.part.slug} of the backup {backup.head.slug} in the vault {vault} could not be "
                f"brought back as it was: {proof.findings[0]}. Make another backup, and look at the vault's disk",
            )
        )


def _room(folder: Path, needed: int) -> None:
    free = scratch.free_bytes(folder.parent)
    if free < needed + MARGIN_BYTES:
        raise Unavailable(
            f"There is no room to prove a backup: that takes {needed / 1e6:,.0f} MB for a while, {free / 1e6:,.0f} MB "
            "are free"
        )


PROOFS = Service[Proofs]("backups-vault.proofs/1")
