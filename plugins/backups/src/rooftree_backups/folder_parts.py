"""The folders that people and add-ons share, as parts of backups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from rooftree import Kernel
from rooftree.interfaces.backups import (
    BackupPart,
    PartContents,
    PartId,
    PartKind,
    PartLeftOut,
    PartTree,
    PartWishes,
)
from rooftree.interfaces.containers import DataPath
from rooftree_files import Folder

FOLDERS: Final[Mapping[str, tuple[str, str]]] = {
    "share": ("share", "Share"),
    "addons/local": ("apps/local", "Local add-ons"),
    "ssl": ("ssl", "SSL"),
    "media": ("media", "Media"),
}
"""By the word of the API: where the folder is below the data folder, and what people call it."""


class FolderParts:
    """The owner of the folders."""

    kind = PartKind.FOLDER

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def parts(self) -> Sequence[BackupPart]:
        """All four, be they there or not."""
        return [
            BackupPart(id=PartId(kind=PartKind.FOLDER, slug=slug), name=title) for slug, (_, title) in FOLDERS.items()
        ]

    async def there(self) -> frozenset[str]:
        """The slugs of those that are there."""
        return await asyncio.to_thread(
            lambda: frozenset(slug for slug, (place, _) in FOLDERS.items() if self._is_there(place))
        )

    @asynccontextmanager
    async def hold(self, slug: str, wishes: PartWishes) -> AsyncIterator[PartContents]:
        """What is in a folder; nobody keeps it still. Raises ``PartLeftOut`` where it is not there."""
        place, title = FOLDERS[slug]
        if not await asyncio.to_thread(self._is_there, place):
            raise PartLeftOut(f"There is no folder {title} ({place})", folder=slug)
        yield PartContents(trees=(PartTree(source=DataPath(place), name=""),))

    def _is_there(self, place: str) -> bool:
        with Folder.open(self._kernel.data.path) as root:
            return root.is_folder(place)

    async def release(self, slug: str) -> None:
        """Nothing was kept still."""
