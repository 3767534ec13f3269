"""The backups in vaults, as they are known here: what each says of itself, where its parts are, what proved them.

A backup is a number of snapshots with one tag: one of each part, and last the *head*, which says what the parts are.
Without a head there is no backup, so one that was never finished is none. What is known here is a copy of the heads,
and can be read anew from the vault at any time; only the proofs are nowhere else.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson
from attrs import evolve, field, frozen

from rooftree import Collection, Conflict, Kernel, NotFound, Service, document, structure, unstructure
from rooftree.interfaces.backups import BackupDamaged, BackupHead, BackupPart, PartId
from rooftree.interfaces.vaults import Snapshot

TAG: Final = "rooftree"
"""All that is ours in a vault."""
HEAD_TAG: Final = "rooftree-head"
HEAD_FILE: Final = "head.json"
RUN: Final = "run="
PART: Final = "part="
FORMAT: Final = 1
"""Of heads. Heads of a higher one are a later Rooftree's, and are left alone."""


@frozen(kw_only=True)
class StoredTree:
    """A folder of a part."""

    name: str
    """Empty for one that is the part."""
    path: str
    """In the snapshot."""


@frozen(kw_only=True)
class StoredFile:
    """A file that stands in the place of one in a tree, or beside the trees."""

    name: str
    """By its path in the part."""
    path: str
    """In the snapshot."""


@frozen(kw_only=True)
class VaultPart:
    """A part in a vault."""

    part: BackupPart
    number: int
    """In the backup; the tag of its snapshot has it."""
    documents: tuple[StoredFile, ...] = ()
    trees: tuple[StoredTree, ...] = ()
    files: tuple[StoredFile, ...] = ()
    total_bytes: int
    added_bytes: int
    """What the vault has grown by."""

    @property
    def paths(self) -> list[str]:
        """Where all of it is in the snapshot."""
        return [*(tree.path for tree in self.trees), *(file.path for file in (*self.documents, *self.files))]


class HeadCut(BackupDamaged):
    """A head of which the end is missing: who wrote it was killed, so there never was such a backup."""


@frozen(kw_only=True)
class StoredHead:
    """What a head says, as JSON in the vault."""

    format: int = FORMAT
    head: BackupHead
    parts: tuple[VaultPart, ...]

    def written(self) -> bytes:
        """It as a file."""
        return orjson.dumps(unstructure(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def read(cls, content: bytes) -> StoredHead:
        """It from a file; raises :class:`HeadCut`, :class:`BackupDamaged`."""
        try:
            data = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            if _is_beginning(content):
                raise HeadCut(f"What it says of itself was cut off while it was written: {error}") from None
            raise BackupDamaged(f"What it says of itself can't be read: {error}") from None
        try:
            if data["format"] > FORMAT:
                raise BackupDamaged(f"It was made by a later Rooftree: format {data['format']}, known is {FORMAT}")
            return structure(data, cls)
        except BackupDamaged:
            raise
        except Exception as error:  # orjson's and the converter's, which name the field
            raise BackupDamaged(f"What it says of itself can't be read: {error}") from None


def _is_beginning(content: bytes) -> bool:
    """Whether it is JSON but for an end that is missing. What is no JSON at all may be a later Rooftree's."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(content)  # which leaves out half a character at the end
    except UnicodeDecodeError:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return error.pos >= len(text)
    return False


@frozen(kw_only=True)
class PartProof:
    """What came of restoring a part into a scratch place."""

    part: PartId
    time: datetime
    whole: bool
    compared_files: int
    """Held against what is there now, byte by byte: those that have not changed since."""
    compared_bytes: int
    opened_files: int
    """Databases, JSON and YAML that were opened."""
    findings: tuple[str, ...] = ()


@document("backups-vault.backup", version=1)
@frozen(kw_only=True)
class StoredBackup:
    """A backup in a vault; its collection is keyed by the vault's name and the backup's slug."""

    vault: str
    run: str
    """The tag that its snapshots share."""
    head: BackupHead
    head_snapshot: str
    parts: tuple[VaultPart, ...]
    snapshots: Mapping[str, str]
    """Of the parts, by their numbers."""
    proofs: tuple[PartProof, ...] = ()

    def part(self, part: PartId) -> VaultPart:
        """A part of it; raises ``NotFound``."""
        for stored in self.parts:
            if stored.part.id == part:
                return stored
        there = ", ".join(stored.part.id.slug for stored in self.parts)
        raise NotFound(f"The backup {self.head.slug} has no {part.kind} {part.slug}; it has: {there}")

    def snapshot(self, part: VaultPart) -> str:
        """The snapshot of a part; raises :class:`BackupDamaged` where somebody removed it."""
        snapshot = self.snapshots.get(str(part.number))
        if snapshot is None:
            raise BackupDamaged(
                f"The part {part.part.id.slug} of the backup {self.head.slug} is not in the vault any more"
            )
        return snapshot

    @property
    def added_bytes(self) -> int:
        """What the vault has grown by for it."""
        return sum(part.added_bytes for part in self.parts)

    def proved(self, proof: PartProof) -> StoredBackup:
        """The same with a proof more, in the place of the one of that part before."""
        return evolve(self, proofs=(*(known for known in self.proofs if known.part != proof.part), proof))


@frozen
class _Run:
    """The snapshots of one tag."""

    head: Snapshot | None = None
    parts: Mapping[str, Snapshot] = field(factory=dict)
    """By their numbers."""


def runs_of(snapshots: Sequence[Snapshot]) -> Mapping[str, _Run]:
    """The snapshots of a vault, by the backup they are of."""
    runs: dict[str, _Run] = {}
    for snapshot in snapshots:
        words = {tag.partition("=")[0]: tag.partition("=")[2] for tag in snapshot.tags if "=" in tag}
        run = runs.get(words.get("run", ""), _Run())
        if HEAD_TAG in snapshot.tags:
            run = evolve(run, head=snapshot)
        elif "part" in words:
            run = evolve(run, parts={**run.parts, words["part"]: snapshot})
        runs[words.get("run", "")] = run
    return {tag: run for tag, run in runs.items() if tag}


class StoredBackups:
    """The backups of all vaults, from memory."""

    def __init__(self, kernel: Kernel, kept: Collection[StoredBackup]) -> None:
        self._kernel = kernel
        self._kept = kept

    def of(self, vault: str) -> Sequence[StoredBackup]:
        """Those of a vault."""
        return [backup for backup in self._kept.values() if backup.vault == vault]

    def find(self, vault: str, slug: str) -> StoredBackup | None:
        """One of them, or ``None``."""
        return self._kept.get(_key(vault, slug))

    def get(self, vault: str, slug: str) -> StoredBackup:
        """One of them; raises ``NotFound``."""
        backup = self.find(vault, slug)
        if backup is None:
            raise NotFound(f"There is no backup {slug} in the vault {vault}")
        return backup

    def refuse_taken(self, vault: str, slug: str) -> None:
        """Raise ``Conflict`` where there is such a backup."""
        if self.find(vault, slug) is not None:
            raise Conflict(f"There is a backup {slug} in the vault {vault} already")

    async def put(self, backup: StoredBackup) -> None:
        """Know a backup, or what has become of it."""
        await self._kernel.commit(self._kept.put(_key(backup.vault, backup.head.slug), backup))

    async def drop(self, vault: str, slugs: Sequence[str]) -> None:
        """Know of some no more."""
        changes = [self._kept.delete(_key(vault, slug)) for slug in slugs if _key(vault, slug) in self._kept]
        if changes:
            await self._kernel.commit(*changes)


def _key(vault: str, slug: str) -> str:
    return f"{vault}/{slug}"


STORED_BACKUPS = Service[StoredBackups]("backups-vault.stored_backups/1")
