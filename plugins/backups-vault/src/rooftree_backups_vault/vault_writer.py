"""Making a backup in a vault: a snapshot of each part, and last the head, which makes a backup of them.

Folders are stored where they lie, so that the next backup finds what has not changed. What lies nowhere (documents,
copies of databases) is put into a scratch folder that has the same name each time, for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog
from attrs import evolve

from rooftree import RooftreeError
from rooftree.interfaces.backups import BackupHead, BackupPart, PartContents, PartTree, Progress, StoredPart
from rooftree.interfaces.vaults import (
    Omission,
    SnapshotRequest,
    StoreDocument,
    StoredSnapshot,
    VaultAccess,
    VaultDriver,
)
from rooftree_backups_vault import scratch
from rooftree_backups_vault.stored_backups import (
    HEAD_FILE,
    HEAD_TAG,
    PART,
    RUN,
    TAG,
    StoredBackup,
    StoredBackups,
    StoredFile,
    StoredHead,
    StoredTree,
    VaultPart,
)
from rooftree_files import Folder, mountpoints_below

log = structlog.get_logger(__name__)

DOCUMENTS: Final = "documents"
FILES: Final = "files"
IMAGE: Final = "image.tar"


@asynccontextmanager
async def vault_writer(
    vault: str, slug: str, access: VaultAccess, driver: VaultDriver, backups: StoredBackups, data: Path, place: str
) -> AsyncIterator[VaultWriter]:
    """A backup that is being made in a vault; its snapshots go when the block ends before it is published.

    :param place: a folder below ``data``, of this vault alone
    """
    backups.refuse_taken(vault, slug)
    run = uuid4().hex
    writer: VaultWriter | None = None
    try:
        async with driver.document(access, HEAD_FILE, (TAG, HEAD_TAG, f"{RUN}{run}")) as store_head:
            writer = VaultWriter(vault, run, access, driver, backups, data, place, store_head)
            yield writer
    finally:
        await asyncio.to_thread(scratch.remove, data / place)
        if writer is not None and not writer.is_published and writer.snapshots:
            await _forget(access, driver, f"{RUN}{run}")


async def _forget(access: VaultAccess, driver: VaultDriver, run: str) -> None:
    """Remove what belongs to no backup, with the head that may be there by now: one without its parts would be listed.
    Where that fails now, it is removed with the next pruning, or is a backup with all there is to one."""
    try:
        snapshots = [snapshot for snapshot in await driver.snapshots(access, TAG) if run in snapshot.tags]
        for is_head in (True, False):  # one after the other: what is forgotten together goes in any order
            ids = [snapshot.id for snapshot in snapshots if (HEAD_TAG in snapshot.tags) is is_head]
            await driver.forget(access, ids)
    except RooftreeError as error:
        log.warning("vault_snapshots_left_behind", run=run, reason=error.message)


class VaultWriter:
    """A backup that is being made; see :class:`~rooftree.interfaces.backups.BackupWriter`."""

    def __init__(
        self, vault: str, run: str, access: VaultAccess, driver: VaultDriver, backups: StoredBackups, data: Path,
        place: str, store_head: StoreDocument,
    ) -> None:  # fmt: skip
        self._vault = vault
        self._run = run
        self._access = access
        self._driver = driver
        self._backups = backups
        self._data = data
        self._place = place
        self._store_head = store_head
        self._parts: list[VaultPart] = []
        self.snapshots: dict[str, str] = {}
        """Of the parts, by their numbers."""
        self.is_published = False

    async def add(self, part: BackupPart, contents: PartContents, progress: Progress) -> StoredPart:
        number = len(self._parts)
        place = f"{self._place}/{part.id.kind}-{part.id.slug.replace('/', '_')}"
        stored = await asyncio.to_thread(_laid_out, self._data, place, part, contents, number)
        omissions = await asyncio.to_thread(_omissions, self._data, contents)
        paths = [*(tree.path for tree in stored.trees), *([place] if stored.documents or stored.files else [])]
        snapshot = await self._store(paths, omissions, f"{PART}{number}", progress)
        self.snapshots[str(number)] = snapshot.id
        stored = evolve(
            stored,
            part=evolve(part, size_bytes=snapshot.total_bytes),
            total_bytes=snapshot.total_bytes,
            added_bytes=snapshot.added_bytes,
        )
        self._parts.append(stored)
        return StoredPart(part=stored.part, stored_bytes=snapshot.added_bytes, digest=f"snapshot:{snapshot.id}")

    async def publish(self, head: BackupHead, progress: Progress) -> None:
        """Make a backup of what was stored. It asks for no password: the vault has a key of its own."""
        head = evolve(head, protected=False)
        stored = StoredHead(head=head, parts=tuple(self._parts))
        snapshot = await self._store_head(stored.written())
        self.is_published = True  # whether or not we can keep that in mind: the next look at the vault finds it
        await self._backups.put(
            StoredBackup(
                vault=self._vault,
                run=self._run,
                head=head,
                head_snapshot=snapshot.id,
                parts=stored.parts,
                snapshots=self.snapshots,
            )
        )

    async def _store(
        self, paths: Sequence[str], omissions: Sequence[Omission], tag: str, progress: Progress
    ) -> StoredSnapshot:
        request = SnapshotRequest(
            base=self._data, paths=tuple(paths), omissions=tuple(omissions), tags=(TAG, f"{RUN}{self._run}", tag)
        )
        return await self._driver.store(self._access, request, progress)


def _laid_out(data: Path, place: str, part: BackupPart, contents: PartContents, number: int) -> VaultPart:
    """Put what lies nowhere into the scratch folder; where everything lies."""
    scratch.remove(data / place)
    files = {**contents.files, **({IMAGE: contents.image} if contents.image is not None else {})}
    with Folder.open(data) as folder:
        trees = [
            StoredTree(name=tree.name, path=tree.source.path)
            for tree in contents.trees
            if folder.is_folder(tree.source.path)
        ]
    documents = contents.documents or ({} if files or trees else {"empty": b""})
    for name, content in documents.items():
        scratch.write(data / place / DOCUMENTS / name, content)
    for name, path in files.items():
        scratch.take(path, data / place / FILES / name)
    return VaultPart(
        part=part,
        number=number,
        documents=tuple(StoredFile(name=name, path=f"{place}/{DOCUMENTS}/{name}") for name in documents),
        files=tuple(StoredFile(name=name, path=f"{place}/{FILES}/{name}") for name in files),
        trees=tuple(trees),
        total_bytes=0,
        added_bytes=0,
    )


def _omissions(data: Path, contents: PartContents) -> Sequence[Omission]:
    """What of the trees is not stored: what the domain leaves out, what stands elsewhere, and what is mounted. Globs of
    a path from the root are left away: no path of a backup is such a one."""
    omissions: list[Omission] = []
    for tree in contents.trees:
        folder = tree.source.path
        globs = [glob for glob in tree.excluded if tree.matching != "tail" or glob[:1] != "/"]
        omissions += (Omission(folder=folder, pattern=glob, matching=tree.matching) for glob in globs)
        inside = [*_replaced(tree, contents.files), *map(str, mountpoints_below(data / folder))]
        omissions += (Omission(folder=folder, pattern=path, matching="exact") for path in inside)
    return omissions


def _replaced(tree: PartTree, files: Mapping[str, Path]) -> Sequence[str]:
    """The paths below a tree in whose place other files stand."""
    prefix = f"{tree.name}/" if tree.name else ""
    return [name.removeprefix(prefix) for name in files if name.startswith(prefix)]
