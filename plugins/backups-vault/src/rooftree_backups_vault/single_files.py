"""Single files of the backups in vaults: what there is, and where it is now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from attrs import frozen

from rooftree import Invalid, NotFound, Service
from rooftree.interfaces.backups import PartId
from rooftree.interfaces.vaults import VaultEntry
from rooftree_backups_vault.stored_backups import StoredBackups, VaultPart
from rooftree_backups_vault.vaults import Vaults


@frozen
class SingleFiles:
    """The files in the backups of vaults.

    :ivar data: the data folder
    """

    data: Path
    vaults: Vaults
    backups: StoredBackups

    async def entries(self, vault: str, slug: str, part: PartId, path: str) -> list[VaultEntry]:
        """What lies in a folder of a part; raises ``NotFound``."""
        backup = self.backups.get(vault, slug)
        stored = backup.part(part)
        if not path and any(tree.name for tree in stored.trees):
            moment = backup.head.date
            return [VaultEntry(name=tree.name, type="folder", size_bytes=0, modified=moment) for tree in stored.trees]
        where = located(stored, path)
        access, driver = self.vaults.access(vault), self.vaults.driver(vault)
        return list(await driver.entries(access, backup.snapshot(stored), where))

    async def content(self, vault: str, slug: str, part: PartId, path: str) -> AsyncIterator[bytes]:
        """A file of a part, in pieces; raises ``NotFound``."""
        backup = self.backups.get(vault, slug)
        stored = backup.part(part)
        where = located(stored, path)
        access, driver = self.vaults.access(vault), self.vaults.driver(vault)
        pieces = driver.content(access, backup.snapshot(stored), where)
        first = await anext(pieces, b"")  # what is not there is said before the answer begins
        return _from(first, pieces)


async def _from(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


SINGLE_FILES = Service[SingleFiles]("backups-vault.single_files/1")


def located(part: VaultPart, path: str) -> str:
    """Where a path of a part is in its snapshot, and, for what lies in a tree, below the data folder. Raises
    ``Invalid``, and ``NotFound`` for a part without such a folder."""
    wanted = PurePosixPath(path)
    if wanted.is_absolute() or ".." in wanted.parts or "\0" in path:
        raise Invalid(f"path must be one below the part, such as data/options.json, not {path[:200]!r}")
    for file in part.files:
        if file.name == str(wanted):
            return file.path
    for tree in part.trees:
        if not tree.name:
            return str(PurePosixPath(tree.path) / wanted)
        if wanted.parts and wanted.parts[0] == tree.name:
            return str(PurePosixPath(tree.path, *wanted.parts[1:]))
    names = ", ".join(tree.name for tree in part.trees) or "none"
    raise NotFound(f"The part {part.part.id.slug} has no folder {path!r}; it has: {names}")


def live_place(part: VaultPart, path: str) -> str:
    """Where it lies now, below the data folder; raises as :func:`located` does."""
    wanted = PurePosixPath(path)
    for tree in part.trees:
        below = wanted.parts if not tree.name else wanted.parts[1:]
        if below and (not tree.name or wanted.parts[0] == tree.name):
            return str(PurePosixPath(tree.path, *below))
    raise Invalid(f"path must be that of a file or folder in one of the part's folders, not {path!r}")
