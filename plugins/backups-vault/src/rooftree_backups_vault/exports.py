"""Writing a backup of a vault as an ordinary archive, which the existing supervisor and Core can read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from rooftree.interfaces.backups import BackupReader, PartContents, PartTree, Progress
from rooftree.interfaces.containers import DataPath
from rooftree_archives import archive_writer
from rooftree_backups_vault import scratch
from rooftree_backups_vault.vault_reader import ROOT
from rooftree_backups_vault.vault_writer import DOCUMENTS, IMAGE

EXPORTS: Final = "tmp/vault-exports"


async def export(reader: BackupReader, archive: Path, data: Path, progress: Progress) -> None:
    """Bring each part into a scratch place below the data folder, one after the other, and pack it from there."""
    place = f"{EXPORTS}/{uuid4().hex}"
    total, done = 2 * sum(stored.part.size_bytes for stored in reader.parts), 0

    def behind(offset: int) -> Progress:
        return lambda part_done, _: progress(min(total, offset + part_done), total)

    try:
        async with archive_writer(archive, data_folder=data, password=None) as writer:
            for number, stored in enumerate(reader.parts):
                folder = f"{place}/{number}"
                staged = await reader.unpack(stored.part.id, data / folder, behind(done))
                done += stored.part.size_bytes
                contents = await asyncio.to_thread(_staged_contents, data, folder, staged.trees)
                await writer.add(stored.part, contents, behind(done))
                done += stored.part.size_bytes
                await asyncio.to_thread(scratch.remove, data / folder)
            await writer.publish(reader.head, lambda _, __: None)
    finally:
        await asyncio.to_thread(scratch.remove, data / place)


def _staged_contents(data: Path, folder: str, trees: Sequence[str]) -> PartContents:
    place = data / folder
    image = place / IMAGE
    return PartContents(
        documents=scratch.documents(place / DOCUMENTS),
        trees=tuple(
            PartTree(source=DataPath(f"{folder}/trees/{name}"), name="" if name == ROOT else name) for name in trees
        ),
        image=image if scratch.is_there(image) else None,
    )
