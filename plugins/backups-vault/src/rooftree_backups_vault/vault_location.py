"""A vault as a place for backups: listed, made, restored, exported and deleted like any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from attrs import evolve

from rooftree import Kernel, RooftreeError, Secret, Service, unstructure
from rooftree.interfaces.backups import (
    BackupDamaged,
    BackupHead,
    BackupReader,
    BackupWriter,
    Progress,
)
from rooftree.interfaces.vaults import Snapshot
from rooftree_backups_vault.exports import export
from rooftree_backups_vault.proofs import Proofs
from rooftree_backups_vault.stored_backups import (
    HEAD_FILE,
    TAG,
    HeadCut,
    StoredBackup,
    StoredBackups,
    StoredHead,
    runs_of,
)
from rooftree_backups_vault.vault_reader import VaultReader
from rooftree_backups_vault.vault_writer import vault_writer
from rooftree_backups_vault.vaults import Vaults

log = structlog.get_logger(__name__)

SCRATCH: Final = "tmp/vaults"
UNFINISHED_FOR: Final = timedelta(days=2)
"""How long a backup may take to be made: what is still without a head then never gets one."""


class VaultLocation:
    """See :class:`~rooftree.interfaces.backups.BackupLocation`."""

    def __init__(self, kernel: Kernel, vaults: Vaults, backups: StoredBackups, proofs: Proofs, name: str) -> None:
        self._kernel = kernel
        self._vaults = vaults
        self._backups = backups
        self._proofs = proofs
        self._name = name
        self._changing = asyncio.Lock()
        """Held while a backup is made, and while room is made: the latter takes away what no backup has yet."""

    @property
    def name(self) -> str:
        return self._name

    def backups(self) -> Sequence[tuple[BackupHead, int]]:
        """What is there; from memory."""
        return [(backup.head, backup.added_bytes) for backup in self._backups.of(self._name)]

    def facts(self, slug: str) -> Mapping[str, Any]:
        """What proved it: whether all that was brought back of it was whole, ``None`` before anything was; and each.
        Where somebody has removed a part's snapshot, it is not."""
        backup = self._backups.get(self._name, slug)
        is_whole = all(proof.whole for proof in backup.proofs) if backup.proofs else None
        is_there = all(str(part.number) in backup.snapshots for part in backup.parts)
        return {"verified": is_whole if is_there else False, "proofs": unstructure(backup.proofs)}

    async def reload(self) -> None:
        """Look at what is in the vault: what somebody else put there is listed, what is gone is not any more."""
        snapshots = await self._driver.snapshots(self._access, TAG)
        runs = runs_of(snapshots)
        known = {backup.run: backup for backup in self._backups.of(self._name)}
        gone = [backup.head.slug for run, backup in known.items() if run not in runs or runs[run].head is None]
        await self._backups.drop(self._name, gone)
        for tag, run in runs.items():
            if run.head is None:
                continue
            backup = known.get(tag) or await self._read(tag, run.head)
            if backup is not None:
                parts = {number: snapshot.id for number, snapshot in run.parts.items()}
                await self._backups.put(evolve(backup, head_snapshot=run.head.id, snapshots=parts))

    async def _head(self, head: Snapshot) -> StoredHead:
        """What a head says; raises as :meth:`StoredHead.read`, and what the driver does."""
        content = bytearray()
        async for piece in self._driver.content(self._access, head.id, HEAD_FILE):
            content += piece
        return StoredHead.read(bytes(content))

    async def _read(self, tag: str, head: Snapshot) -> StoredBackup | None:
        """A backup that somebody else has made here, or an earlier installation of ours."""
        try:
            stored = await self._head(head)
        except (BackupDamaged, RooftreeError) as error:
            log.warning("vault_backup_not_read", vault=self._name, snapshot=head.id, reason=error.message)
            return None
        return StoredBackup(
            vault=self._name, run=tag, head=stored.head, head_snapshot=head.id, parts=stored.parts, snapshots={}
        )

    @property
    def _driver(self) -> Any:
        return self._vaults.driver(self._name)

    @property
    def _access(self) -> Any:
        return self._vaults.access(self._name)

    @asynccontextmanager
    async def _writer(self, slug: str) -> AsyncIterator[BackupWriter]:
        async with (
            self._changing,
            vault_writer(
                self._name, slug, self._access, self._driver, self._backups, self._kernel.data.path,
                f"{SCRATCH}/{self._name}",
            ) as writer,
        ):  # fmt: skip
            yield writer

    def writer(self, slug: str, password: Secret | None) -> AbstractAsyncContextManager[BackupWriter]:
        """Make a backup. The vault is encrypted with a key of its own, whatever the password."""
        return self._writer(slug)

    @asynccontextmanager
    async def _reader(self, slug: str) -> AsyncIterator[BackupReader]:
        yield VaultReader(self._backups.get(self._name, slug), self._access, self._driver, self._proofs)

    def reader(self, slug: str, password: Secret | None) -> AbstractAsyncContextManager[BackupReader]:
        return self._reader(slug)

    async def export(self, slug: str, archive: Path, progress: Progress) -> None:
        """Write it as an ordinary archive: each part is brought into a scratch place, and packed from there."""
        async with self._reader(slug) as reader:
            await export(reader, archive, self._kernel.data.path, progress)

    async def delete(self, slug: str) -> None:
        """Remove a backup. What only it has needed is freed when room is made the next time."""
        backup = self._backups.find(self._name, slug)
        if backup is None:
            return
        # The head first: without it there is no backup, whatever happens then.
        async with self._changing:
            await self._driver.forget(self._access, [backup.head_snapshot])
            await self._backups.drop(self._name, [slug])
            await self._driver.forget(self._access, list(backup.snapshots.values()))

    async def prune(self) -> None:
        """Free what no backup needs, snapshots of backups that were never finished among it. Young ones stay: another
        installation may be making a backup in the same vault."""
        async with self._changing:
            runs = runs_of(await self._driver.snapshots(self._access, TAG))
            before = self._kernel.clock.now() - UNFINISHED_FOR
            known = {backup.run for backup in self._backups.of(self._name)}
            unfinished = list[Snapshot]()
            for run in (run for tag, run in runs.items() if tag not in known):
                if run.head is None:
                    unfinished += run.parts.values()
                elif await self._is_cut(run.head):
                    unfinished += (*run.parts.values(), run.head)
            await self._driver.forget(self._access, [snapshot.id for snapshot in unfinished if snapshot.time < before])
            await self._driver.prune(self._access)

    async def _is_cut(self, head: Snapshot) -> bool:
        """Whether a head ends in the middle, and is none. Any other that can't be read may be a later Rooftree's, or
        readable again tomorrow."""
        try:
            await self._head(head)
        except HeadCut:
            return True
        except RooftreeError:
            return False
        return False


class VaultLocations:
    """The vaults as places for backups."""

    def __init__(self, kernel: Kernel, vaults: Vaults, backups: StoredBackups, proofs: Proofs) -> None:
        self._kernel = kernel
        self._vaults = vaults
        self._backups = backups
        self._proofs = proofs
        self._locations: dict[str, VaultLocation] = {}

    def get(self, name: str) -> VaultLocation:
        """That of a vault; raises ``NotFound``."""
        self._vaults.get(name)
        if name not in self._locations:
            self._locations[name] = VaultLocation(self._kernel, self._vaults, self._backups, self._proofs, name)
        return self._locations[name]

    def all(self) -> list[VaultLocation]:
        return [self.get(name) for name in self._vaults]

    async def forget(self, name: str) -> None:
        """Know nothing of a vault any more, and of what is in it."""
        await self._vaults.forget(name)
        self._locations.pop(name, None)
        await self._backups.drop(name, [backup.head.slug for backup in self._backups.of(name)])

    async def look(self) -> None:
        """Look at what is in the vaults that can be reached."""
        for location in self.all():
            try:
                await location.reload()
            except RooftreeError as error:
                log.warning("vault_not_looked_at", vault=location.name, reason=error.message)


VAULT_LOCATIONS = Service[VaultLocations]("backups-vault.locations/1")
