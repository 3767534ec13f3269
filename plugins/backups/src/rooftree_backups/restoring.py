"""Putting a backup back, all of it or parts: one job, with a child for each part.

Everything is unpacked and checked beside what is there before anything is stopped. Then each part takes its place; what
was there is kept until all of them work, and comes back where one does not, or the job is cancelled or killed. What
can't be taken back (settings, add-ons that the backup does not know, tidying) comes last.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import JobCall, Secret, Step, Steps, job
from rooftree.interfaces.backups import BackupHead, BackupSource, PartId, PartKind, StagedPart, StoredPart
from rooftree.interfaces.containers import DataPath
from rooftree_backups.creation import BACKUP_LOCK
from rooftree_backups.entry_swap import BESIDE, EntrySwap
from rooftree_backups.failed_parts import failed_parts
from rooftree_backups.folder_parts import FOLDERS
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.parts import NobodyOwns
from rooftree_backups.restore_selection import (
    RestoreRequest,
    copy_to_read,
    refuse_newer,
    selected,
)
from rooftree_backups.restore_steps import FinishRestore, RestoreSettings, SwapEntries, SweepRestores, Unpack, Unpacking
from rooftree_backups.room_to_restore import refuse_without_room, unpacked_bytes
from rooftree_backups.settings_parts import named

STAGING: Final = "restore"
"""Below the data folder, in no container: what is unpacked, and what it takes the place of."""
TREES: Final[Mapping[PartKind, tuple[str, ...]]] = {
    PartKind.ADDON: ("data", "config"),
    PartKind.CORE: ("data", "root"),
    PartKind.FOLDER: ("root",),
    PartKind.SUPERVISOR: (),
}
"""The trees that a part may have; ``root`` of Core's is that of very old backups."""
FULL: Final = "backup_manager_full_restore"
PARTIAL: Final = "backup_manager_partial_restore"


@frozen(kw_only=True)
class RestoreOrder:
    """A backup, or parts of it, that are to be put back."""

    request: RestoreRequest
    location: str | None
    """Where it is read from; ``None``: where it is looked for first."""


@job("backup_folder_restore", reference="folder")
async def restore_folder(folder: str, staged: str) -> Steps:
    live, _ = FOLDERS[folder]
    return [SwapEntries(folder, EntrySwap(live, f"{staged}/trees/root", f"{staged}/replaced"))]


@job("backup_restore_folders", reference="slug")
async def restore_folders(slug: str, parts: Sequence[StagedPart]) -> Steps:
    return [restore_folder(folder=part.id.slug, staged=part.folder.path) for part in parts]


@job("backup_restore_apps", reference="slug")
async def restore_addons(slug: str, calls: Sequence[JobCall[None]]) -> Steps:
    return list(calls)


@job("backup_remove_delta_apps", reference="slug")
async def remove_others(slug: str, calls: Sequence[JobCall[None]]) -> Steps:
    return list(calls)


@job("backup_restore_supervisor_config", reference="slug")
async def restore_settings(slug: str, folder: str, brings: tuple[str, ...]) -> Steps:
    return [RestoreSettings(slug, folder, brings)]


@job(FULL, reference="slug", locks=lambda slug, order: {BACKUP_LOCK}, conditions=("running",), when_busy="refuse")
async def full_restore(backups: KeptBackups, slug: str, order: RestoreOrder) -> Steps:
    return await _plan(backups, slug, order)


@job(PARTIAL, reference="slug", locks=lambda slug, order: {BACKUP_LOCK}, conditions=("running",), when_busy="refuse")
async def partial_restore(backups: KeptBackups, slug: str, order: RestoreOrder) -> Steps:
    return await _plan(backups, slug, order)


@job("backup_manager_sweep_restores", locks=lambda: {BACKUP_LOCK}, recovery="forward", makes_room=True)
async def sweep_restores() -> Steps:
    return [SweepRestores(STAGING)]


def restoration(backups: KeptBackups, slug: str, order: RestoreOrder, password: Secret | None) -> JobCall[None]:
    """The job that puts a backup back."""
    kind = full_restore if order.request.full else partial_restore
    return kind(slug=slug, order=order).during(backups.workshop.with_password(slug, password))


async def _plan(backups: KeptBackups, slug: str, order: RestoreOrder) -> Steps:
    copy = copy_to_read(await backups.catalogue.get(slug), order.location)
    facts = await backups.parts.facts()
    refuse_newer(copy.head, facts.supervisor_version)
    password = backups.workshop.password(slug)
    async with await backups.places.reader(copy.location, slug, copy.filename, password) as reader:
        head = reader.head
        stored = selected(head, reader.parts, order.request)
        documents = {part.part.id: await reader.documents(part.part.id) for part in stored if _tells(part.part.id)}
    data = backups.kernel.data.path
    staging = await asyncio.to_thread(_Staging.beside, data, stored)
    await asyncio.to_thread(refuse_without_room, staging.needed(data, stored))
    staged = [
        StagedPart(
            id=part.part.id,
            version=part.part.version,
            size_bytes=part.stored_bytes,
            folder=DataPath(staging.folder(part.part.id)),
            documents=documents.get(part.part.id, {}),
            trees=TREES[part.part.id.kind],
            exclude_database=head.exclude_database,
        )
        for part in stored
    ]
    unpackings = tuple(
        Unpacking(
            part=part.part.id,
            name=part.part.name,
            folder=staging.folder(part.part.id),
            stored_bytes=part.stored_bytes,
            unpacked_bytes=unpacked_bytes(part),
        )
        for part in stored
    )
    with_addons = any(part.id.kind is PartKind.ADDON for part in staged)
    return [
        Unpack(slug, copy.location, copy.filename, unpackings, staging.all),
        *await _children(backups, slug, staged),
        *(await _others(backups, slug, head) if order.request.full else []),
        FinishRestore(
            slug,
            staging.all,
            head.repositories if with_addons else (),
            replace_repositories=with_addons and order.request.full,
        ),
    ]


def _tells(part: PartId) -> bool:
    """Whether somebody has to look at its documents before."""
    return part.kind is not PartKind.FOLDER


async def _children(backups: KeptBackups, slug: str, staged: Sequence[StagedPart]) -> list[Step | JobCall[None]]:
    """The parts, in the order in which they need each other."""
    sources = await backups.parts.sources()
    of_kind = {kind: [part for part in staged if part.id.kind is kind] for kind in PartKind}
    calls: list[Step | JobCall[None]] = []
    if folders := of_kind[PartKind.FOLDER]:
        calls.append(restore_folders(slug=slug, parts=folders))
    calls += [_source(sources, PartKind.CORE).restore(part) for part in of_kind[PartKind.CORE]]
    if addons := of_kind[PartKind.ADDON]:
        source = _source(sources, PartKind.ADDON)
        calls.append(restore_addons(slug=slug, calls=[source.restore(part) for part in addons]))
    calls += [
        restore_settings(slug=slug, folder=part.folder.path, brings=named(part.documents))
        for part in of_kind[PartKind.SUPERVISOR]
    ]
    return calls


async def _others(backups: KeptBackups, slug: str, head: BackupHead) -> list[Step | JobCall[None]]:
    """Add-ons that were not there when everything was backed up; one that was, and failed, stays as it is."""
    source = (await backups.parts.sources()).get(PartKind.ADDON)
    failed = {part.slug for part in failed_parts(head) if part.kind is PartKind.ADDON}
    known = failed | {addon.id.slug for addon in head.addons}
    others = [part.id.slug for part in source.parts() if part.id.slug not in known] if source is not None else []
    if source is None or not others:
        return []
    return [remove_others(slug=slug, calls=[source.remove(other) for other in others])]


def _source(sources: Mapping[PartKind, BackupSource], kind: PartKind) -> BackupSource:
    if kind not in sources:
        raise NobodyOwns(f"There is nobody now who could restore what is called {kind}")
    return sources[kind]


@frozen
class _Staging:
    """Where parts are unpacked: on the disk of what they take the place of, so that they can be renamed there."""

    usual: str
    beside_live: Mapping[PartId, str]
    numbers: Mapping[PartId, int]

    @classmethod
    def beside(cls, data: Path, parts: Sequence[StoredPart]) -> _Staging:
        """Names that no other restore has. Blocks."""
        own = secrets.token_hex(8)
        elsewhere = {
            part.part.id: f"{FOLDERS[part.part.id.slug][0]}/{BESIDE}{own}"
            for part in parts
            if part.part.id.kind is PartKind.FOLDER and _is_elsewhere(data, FOLDERS[part.part.id.slug][0])
        }
        return cls(f"{STAGING}/{own}", elsewhere, {part.part.id: number for number, part in enumerate(parts)})

    def folder(self, part: PartId) -> str:
        """Where a part is unpacked."""
        return f"{self.beside_live.get(part, self.usual)}/{self.numbers[part]}"

    def needed(self, data: Path, parts: Sequence[StoredPart]) -> dict[Path, int]:
        """Bytes that are unpacked, by a folder on their disk that is there."""
        sums: dict[Path, int] = {}
        for part in parts:
            is_elsewhere = part.part.id in self.beside_live
            folder = data / FOLDERS[part.part.id.slug][0] if is_elsewhere else data
            sums[folder] = sums.get(folder, 0) + unpacked_bytes(part)
        return sums

    @property
    def all(self) -> tuple[str, ...]:
        """The folders that hold them."""
        return (self.usual, *self.beside_live.values())


def _is_elsewhere(data: Path, live: str) -> bool:
    """Whether a folder lies on another disk than the data folder."""
    try:
        return (data / live).stat().st_dev != data.stat().st_dev  # ours: no add-on can change what is there
    except FileNotFoundError:
        return False
