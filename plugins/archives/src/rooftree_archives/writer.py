"""Archives that are made: see :func:`archive_writer`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import orjson
import structlog
from attrs import evolve

from rooftree.errors import Failed, RooftreeError
from rooftree.interfaces.backups import BackupHead, BackupPart, BackupWriter, PartContents, Progress, StoredPart
from rooftree.model import Secret
from rooftree_archives.files import being_made, hidden_name, remove_archive
from rooftree_archives.heads import key_of, parts_of, values_of
from rooftree_archives.metadata import write_metadata
from rooftree_archives.worker_process import WorkerClient, archive_worker

log = structlog.get_logger(__name__)


@asynccontextmanager
async def archive_writer(
    path: Path,
    *,
    data_folder: Path,
    password: Secret | None,
    version: Literal[2, 3] = 3,
    compressed: bool = True,
    replace: bool = False,
    owner: str = "",
) -> AsyncIterator[BackupWriter]:
    """Make an archive. It has a hidden name beside ``path`` until it is published, and goes when it never is.

    ``add`` raises :class:`~rooftree.interfaces.backups.PartLeftOut` where a part can't be read: then nothing of it is
    in the archive, and others may follow. What :class:`ArchiveNotWritten` says ends it. ``publish`` raises
    :class:`ArchiveExists`.

    :param path: the archive; its folder exists
    :param data_folder: what the paths of trees begin from
    :param password: an empty one is none
    :param version: of SecureTar: 3 from Core 2026.3.0 on, 2 for older ones
    :param replace: put it in the place of what has that name
    :param owner: who sweeps it if a kill leaves it there: see :func:`~rooftree_archives.files.left_over`
    """
    text = None if password is None else password.reveal() or None
    hidden = hidden_name(owner)
    writer: _Writer | None = None
    with being_made(hidden):
        try:
            async with archive_worker() as worker:
                await worker.call(
                    "create", folder=str(path.parent), hidden=hidden, password=text, version=version,
                    compressed=compressed,
                )  # fmt: skip
                writer = _Writer(worker, path.name, data_folder, protected=text is not None, replace=replace)
                yield writer
        finally:
            if writer is None or not writer.is_published:
                await _remove(path.with_name(hidden))


class _Writer:
    def __init__(self, worker: WorkerClient, name: str, data_folder: Path, *, protected: bool, replace: bool) -> None:
        self._worker = worker
        self._name = name
        self._data_folder = data_folder
        self._protected = protected
        self._replace = replace
        self._parts: list[StoredPart] = []
        self.is_published = False

    async def add(self, part: BackupPart, contents: PartContents, progress: Progress) -> StoredPart:
        wire = {
            "data_folder": str(self._data_folder),
            "documents": {name: base64.b64encode(document).decode() for name, document in contents.documents.items()},
            "trees": [
                {
                    "source": tree.source.path,
                    "name": tree.name,
                    "excluded": tree.excluded,
                    "matching": tree.matching,
                    "read_from": None if tree.read_from is None else tree.read_from.path,
                }
                for tree in contents.trees
            ],
            "image": None if contents.image is None else str(contents.image),
            "files": {name: str(file) for name, file in contents.files.items()},
        }
        answer = await self._worker.call(
            "add", progress, key=key_of(part.id), kind=part.id.kind, total=part.size_bytes, contents=wire
        )
        stored = StoredPart(
            part=evolve(part, size_bytes=answer["size"]), stored_bytes=answer["stored"], digest=answer["digest"]
        )
        self._parts.append(stored)
        return stored

    async def publish(self, head: BackupHead, progress: Progress) -> None:
        if head.protected != self._protected:
            raise Failed("The backup is not protected as it should be, and was not kept")
        there = {stored.part.id for stored in self._parts}
        if missing := [part.name for part in parts_of(head) if part.id not in there]:
            raise Failed(f"The backup was not kept: {', '.join(missing)} should be in it, and is not")
        metadata = orjson.dumps(write_metadata(values_of(head, self._parts))).decode()
        await self._worker.call("publish", progress, name=self._name, metadata=metadata, replace=self._replace)
        self.is_published = True


async def _remove(path: Path) -> None:
    try:
        await remove_archive(path)
    except (RooftreeError, TimeoutError) as error:  # a folder that is gone, or does not answer
        log.warning("unfinished_archive_not_removed", path=str(path), reason=str(error))
