"""Carrying a backup from one kind of place to another: out of a vault into an archive, or the other way."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rooftree.interfaces.backups import BackupReader, BackupWriter, PartContents, PartTree, Progress
from rooftree.interfaces.containers import DataPath

_ROOT: Final = "root"


async def carry(reader: BackupReader, writer: BackupWriter, data: Path, place: str, progress: Progress) -> None:
    """Bring each part into a scratch place, one after the other, store it from there, and publish what was stored.
    The scratch place is gone afterwards, also after a failure.

    :param data: the data folder
    :param place: a folder below it that nobody else uses; made here
    """
    total, done = 2 * sum(stored.part.size_bytes for stored in reader.parts), 0

    def behind(offset: int) -> Progress:
        return lambda part_done, _: progress(min(total, offset + part_done), total)

    try:
        for number, stored in enumerate(reader.parts):
            folder = f"{place}/{number}"
            await asyncio.to_thread(_made, data / folder)
            staged = await reader.unpack(stored.part.id, data / folder, behind(done))
            done += stored.part.size_bytes
            contents = await asyncio.to_thread(_staged_contents, data, folder, staged.trees, staged.has_image)
            await writer.add(stored.part, contents, behind(done))
            done += stored.part.size_bytes
            await asyncio.to_thread(_remove, data / folder)
        await writer.publish(reader.head, lambda _, __: None)
    finally:
        await asyncio.to_thread(_remove, data / place)


def _made(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)  # ours: a scratch place


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # ours: a scratch place


def _staged_contents(data: Path, folder: str, trees: Sequence[str], has_image: bool) -> PartContents:
    documents = data / folder / "documents"
    present = sorted(documents.iterdir()) if documents.is_dir() else []  # ours: a scratch place
    return PartContents(
        documents={path.name: path.read_bytes() for path in present},  # ours: a scratch place
        trees=tuple(
            PartTree(source=DataPath(f"{folder}/trees/{name}"), name="" if name == _ROOT else name) for name in trees
        ),
        image=data / folder / "image.tar" if has_image else None,
    )
