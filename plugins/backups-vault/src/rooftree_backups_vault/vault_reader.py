"""Reading a backup in a vault: its documents, its parts into a folder, and the proof that they can be brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final
from uuid import uuid4

from rooftree.interfaces.backups import (
    BackupDamaged,
    BackupHead,
    PartId,
    Progress,
    StagedTrees,
    StoredPart,
    Verification,
)
from rooftree.interfaces.vaults import VaultAccess, VaultDriver
from rooftree_backups_vault import scratch
from rooftree_backups_vault.proofs import Proofs
from rooftree_backups_vault.stored_backups import StoredBackup, StoredFile, VaultPart
from rooftree_backups_vault.vault_writer import IMAGE

MOST_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
RAW: Final = ".restored"
ROOT: Final = "root"


class VaultReader:
    """A backup that is open; see :class:`~rooftree.interfaces.backups.BackupReader`."""

    def __init__(self, backup: StoredBackup, access: VaultAccess, driver: VaultDriver, proofs: Proofs) -> None:
        self._backup = backup
        self._access = access
        self._driver = driver
        self._proofs = proofs

    @property
    def head(self) -> BackupHead:
        """What it says of itself."""
        return self._backup.head

    @property
    def parts(self) -> Sequence[StoredPart]:
        """What is in it."""
        return [
            StoredPart(part=part.part, stored_bytes=part.added_bytes, digest=f"snapshot:{self._backup.snapshot(part)}")
            for part in self._backup.parts
        ]

    async def documents(self, part: PartId) -> Mapping[str, bytes]:
        """The small files of a part."""
        stored = self._backup.part(part)
        return {document.name: await self._small(stored, document) for document in stored.documents}

    async def _small(self, part: VaultPart, document: StoredFile) -> bytes:
        content = bytearray()
        async with aclosing(self._driver.content(self._access, self._backup.snapshot(part), document.path)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > MOST_DOCUMENT_BYTES:
                    raise BackupDamaged(f"{document.name} is larger than {MOST_DOCUMENT_BYTES // 1024**2} MiB")
        return bytes(content)

    async def unpack(self, part: PartId, into: Path, progress: Progress) -> StagedTrees:
        """Bring a part into a folder."""
        stored = self._backup.part(part)
        progress(0, stored.total_bytes)
        staged = await unpack(self._driver, self._access, self._backup.snapshot(stored), stored, into)
        progress(stored.total_bytes, stored.total_bytes)
        return staged

    async def verify(self, progress: Progress) -> Verification:
        """Bring every part into a scratch place and look at it; what came of it is kept with the backup."""
        total, done = sum(part.total_bytes for part in self._backup.parts), 0
        findings: list[str] = []
        for part in self._backup.parts:
            proof = await self._proofs.prove(self._backup.vault, self._backup.head.slug, part.part.id)
            findings += proof.findings if not proof.whole else ()
            done += part.total_bytes
            progress(done, total)
        return Verification(whole=not findings, authenticated=True, findings=tuple(findings))


async def unpack(driver: VaultDriver, access: VaultAccess, snapshot: str, part: VaultPart, into: Path) -> StagedTrees:
    """Bring a part of a snapshot into a folder, as :class:`~rooftree.interfaces.backups.StagedPart` has it."""
    raw = into / f"{RAW}-{uuid4().hex}"
    try:
        await driver.restore(access, snapshot, part.paths, raw)
        return await asyncio.to_thread(_staged, part, raw, into)
    finally:
        await asyncio.to_thread(scratch.remove, raw)


def _staged(part: VaultPart, raw: Path, into: Path) -> StagedTrees:
    """Put what was brought back where it is looked for; all of it is in folders of ours that nobody else can enter."""
    trees = [tree.name or ROOT for tree in part.trees]
    for tree in part.trees:
        _move(raw / tree.path, into / "trees" / (tree.name or ROOT), part)
    for document in part.documents:
        _move(raw / document.path, into / "documents" / document.name, part)
    has_image = False
    for file in part.files:
        is_image = file.name == IMAGE
        has_image |= is_image
        _move(raw / file.path, into / (file.name if is_image else _in_tree(part, file)), part)
    return StagedTrees(trees=tuple(trees), has_image=has_image, size_bytes=part.total_bytes)


def _in_tree(part: VaultPart, file: StoredFile) -> str:
    first, _, rest = file.name.partition("/")
    names = {tree.name for tree in part.trees}
    return f"trees/{first}/{rest}" if first in names else f"trees/{ROOT}/{file.name}"


def _move(source: Path, target: Path, part: VaultPart) -> None:
    if not scratch.is_there(source):
        raise BackupDamaged(f"{target.name} of the part {part.part.id.slug} is not in its snapshot")
    scratch.move(source, target)
