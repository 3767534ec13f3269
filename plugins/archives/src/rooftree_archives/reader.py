"""Archives that are read: see :func:`archive_reader`, :func:`read_indexes` and :func:`verify_archive`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from rooftree.interfaces.backups import (
    BackupDamaged,
    BackupHead,
    BackupReader,
    PartId,
    Progress,
    StagedTrees,
    StoredPart,
    Verification,
    WrongPassword,
)
from rooftree.model import Secret
from rooftree_archives.heads import head_of, key_of, parts_of, stored_parts
from rooftree_archives.unpacking import UnpackLimits
from rooftree_archives.worker_process import WorkerClient, WorkerEnded, WorkerSilent, archive_worker

_AT_A_TIME: Final = 50
_USUAL: Final = UnpackLimits()


@frozen(kw_only=True)
class ArchiveIndex:
    """What an archive says of itself, found without reading what is in it."""

    head: BackupHead
    parts: tuple[StoredPart, ...]
    size_bytes: int
    """Of the file."""


async def read_indexes(paths: Sequence[Path]) -> list[ArchiveIndex | BackupDamaged]:
    """Look into many files with one worker. What can't be read, or is no backup, is told in its place."""
    indexes: list[ArchiveIndex | BackupDamaged] = []
    if not paths:
        return indexes
    for batch in batched(paths, _AT_A_TIME, strict=False):
        try:
            indexes += await _indexes(batch)
        except WorkerSilent:  # which says nothing of any file
            raise
        except (WorkerEnded, BackupDamaged):  # together they may have been too much for it
            indexes += [await _index_alone(path) for path in batch]
    return indexes


async def _indexes(paths: Sequence[Path]) -> list[ArchiveIndex | BackupDamaged]:
    async with archive_worker() as worker:
        answers = await worker.call("index", paths=[str(path) for path in paths])
    return [_index_or_why(answer) for answer in answers]


async def _index_alone(path: Path) -> ArchiveIndex | BackupDamaged:
    """Find out which file it is that ends the worker."""
    try:
        (index,) = await _indexes([path])
    except WorkerSilent:
        raise
    except (WorkerEnded, BackupDamaged) as error:
        return BackupDamaged(f"It can't be read: {error.message}")
    return index


def _index_or_why(answer: dict[str, Any]) -> ArchiveIndex | BackupDamaged:
    """What is in a head is anybody's, and what nobody has thought of costs that file alone."""
    try:
        return _index(answer)
    except BackupDamaged as error:
        return error
    except Exception as error:
        return BackupDamaged(f"Its head can't be understood: {type(error).__name__}: {error}")


@asynccontextmanager
async def archive_reader(
    path: Path, password: Secret | None, *, limits: UnpackLimits = _USUAL
) -> AsyncIterator[BackupReader]:
    """Open an archive. A password is not looked at where the archive is not protected.

    Raises :class:`~rooftree.interfaces.backups.WrongPassword`, :class:`~rooftree.interfaces.backups.BackupDamaged`,
    ``NotFound``.

    :param limits: of what is unpacked or verified of a part; what the disk has room for is one anyway
    """
    text = None if password is None else password.reveal() or None
    async with archive_worker() as worker:
        facts = await worker.call("open", path=str(path), password=text)
        index = _index(facts)
        assert isinstance(index, ArchiveIndex), "it could be opened"
        if index.head.protected and index.parts:
            if text is None:
                raise WrongPassword("Invalid password for backup: it is encrypted, and needs one")
            for stored in index.parts[:1]:
                await worker.call("check_password", part=_wire(stored.part.id))
        yield _Reader(worker, index, limits)


async def verify_archive(
    path: Path, password: Secret | None, progress: Progress = lambda done, total: None
) -> Verification:
    """Read all of an archive and hold it against what is known of it. Raises what :func:`archive_reader` does.

    For a command line: ``asyncio.run(verify_archive(path, password))``.
    """
    async with archive_reader(path, password) as reader:
        return await reader.verify(progress)


class _Reader:
    def __init__(self, worker: WorkerClient, index: ArchiveIndex, limits: UnpackLimits) -> None:
        self._worker = worker
        self._index = index
        self._limits = asdict(limits)
        self._stored = {stored.part.id: stored for stored in index.parts}

    @property
    def head(self) -> BackupHead:
        return self._index.head

    @property
    def parts(self) -> Sequence[StoredPart]:
        return self._index.parts

    async def documents(self, part: PartId) -> Mapping[str, bytes]:
        answer = await self._worker.call("documents", part=_wire(self._there(part).part.id))
        return {name: base64.b64decode(text) for name, text in answer.items()}

    async def unpack(self, part: PartId, into: Path, progress: Progress) -> StagedTrees:
        total = self._there(part).stored_bytes
        answer = await self._worker.call(
            "unpack", progress, part=_wire(part), into=str(into), limits=self._limits, total=total
        )
        return StagedTrees(
            trees=tuple(answer["trees"]),
            has_image=answer["has_image"],
            size_bytes=answer["size"],
            left_out=tuple(answer["left_out"]),
        )

    async def verify(self, progress: Progress) -> Verification:
        findings: list[str] = []
        whole = authenticated = True
        total = sum(stored.stored_bytes for stored in self.parts)
        done = 0
        for part in parts_of(self.head):
            try:
                stored = self._there(part.id)
                answer = await self._check(part.id, partial(_tell, progress, done), total)
            except (BackupDamaged, WrongPassword) as error:
                findings.append(error.message)
                whole = False
                continue
            done += stored.stored_bytes
            authenticated &= answer["authenticated"]
            findings += [f"{part.name}: {name} is a device node, and is never restored" for name in answer["left_out"]]
        return Verification(whole=whole, authenticated=authenticated, findings=tuple(findings))

    async def _check(self, part: PartId, progress: Progress, total: int) -> dict[str, Any]:
        answer: dict[str, Any] = await self._worker.call(
            "check", progress, part=_wire(part), limits=self._limits, total=total
        )
        return answer

    def _there(self, part: PartId) -> StoredPart:
        stored = self._stored.get(part)
        if stored is None:
            raise BackupDamaged(f"{part.slug} is not in the backup")
        return stored


def _tell(progress: Progress, before: int, done: int, total: int) -> None:
    progress(before + done, total)


def _wire(part: PartId) -> dict[str, str]:
    return {"key": key_of(part), "kind": part.kind}


def _index(answer: dict[str, Any]) -> ArchiveIndex | BackupDamaged:
    if "damaged" in answer:
        return BackupDamaged(answer["damaged"])
    head = head_of(answer["head"], answer["stored"])
    parts = tuple(stored_parts(head, answer["head"], answer["stored"]))
    return ArchiveIndex(head=head, parts=parts, size_bytes=answer["size"])
