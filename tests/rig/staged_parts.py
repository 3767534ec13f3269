"""Parts of backups as they lie unpacked for a restore, taken from their source without an archive in between."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from rooftree.interfaces.backups import BackupSource, PartContents, PartId, PartWishes, StagedPart
from rooftree.interfaces.containers import DataPath

USUAL = PartWishes()


async def taken(source: BackupSource, slug: str, data: Path, kept: Path, wishes: PartWishes = USUAL) -> None:
    """Back a part up into a folder that is laid out as :class:`StagedPart` says."""
    async with source.hold(slug, wishes) as contents:
        await asyncio.to_thread(_take, contents, data, kept)


def _take(contents: PartContents, data: Path, kept: Path) -> None:
    (kept / "documents").mkdir(parents=True)
    for name, content in contents.documents.items():
        (kept / "documents" / name).write_bytes(content)
    for tree in contents.trees:
        shutil.copytree(data / tree.source.path, kept / "trees" / (tree.name or "root"), symlinks=True)
    for name, file in contents.files.items():
        shutil.copy2(file, kept / "trees" / name)
    if contents.image is not None:
        shutil.copy2(contents.image, kept / "image.tar")


async def staged(source: BackupSource, slug: str, data: Path, kept: Path, folder: str) -> StagedPart:
    """The part that lies in ``kept``, unpacked below the data folder."""
    return await asyncio.to_thread(_stage, PartId(kind=source.kind, slug=slug), data, kept, folder)


def _stage(part: PartId, data: Path, kept: Path, folder: str) -> StagedPart:
    shutil.copytree(kept, data / folder, symlinks=True)
    trees = kept / "trees"
    return StagedPart(
        id=part,
        version=None,
        size_bytes=sum(file.stat().st_size for file in kept.rglob("*") if file.is_file()),
        folder=DataPath(folder),
        documents={file.name: file.read_bytes() for file in (kept / "documents").iterdir()},
        trees=tuple(tree.name for tree in trees.iterdir()) if trees.is_dir() else (),
    )
