"""Clones of what a cold add-on has stored, where the disk can (reflink): they share its blocks, cost no room and are
made at once, so that the add-on runs again while its clone is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

import structlog
from attrs import evolve

from rooftree import RooftreeError
from rooftree.interfaces.backups import PartTree
from rooftree.interfaces.containers import DataPath
from rooftree_addons.removals import Removals
from rooftree_containers.long_work import in_thread
from rooftree_files import BlocksNotShared, Entry, Folder, copy_tree, mountpoints_below, shares_blocks

log = structlog.get_logger(__name__)

CLONES: Final = "clones"
"""In the plugin's own folder: where clones lie while they are read."""


class DataClones:
    """Clones of add-ons' folders.

    :param data: the data folder
    :param folder: the plugin's own, below it
    """

    def __init__(self, data: Path, folder: Path, removals: Removals) -> None:
        self._data = data
        self._place = PurePosixPath(folder.relative_to(data)) / CLONES
        self._removals = removals

    async def sweep(self) -> None:
        """Take away what a kill has left."""
        await self._removals.put_away(str(self._place))

    async def remove(self, slug: str) -> None:
        """Remove an add-on's clone; nothing to do where there is none."""
        try:
            await asyncio.to_thread(self._remove, slug)
        except (OSError, RooftreeError) as error:  # it goes with the next start
            log.warning("clone_not_removed", addon=slug, reason=str(error))

    @asynccontextmanager
    async def while_read(self, slug: str) -> AsyncIterator[None]:
        """The clone that is made in the block goes with it."""
        try:
            yield
        finally:
            await self.remove(slug)

    async def can_share(self, trees: Sequence[PartTree]) -> bool:
        """Whether the disk can clone these folders."""
        try:
            return await asyncio.to_thread(self._can_share, trees)
        except (OSError, RooftreeError) as error:
            log.info("data_not_cloned", reason=str(error))
            return False

    async def clone(self, slug: str, trees: Sequence[PartTree]) -> Sequence[PartTree] | None:
        """The folders with where they are to be read from; ``None`` where they can't all be cloned. The add-on has to
        be stopped meanwhile."""
        try:
            return await in_thread(lambda stop: [self._clone(slug, tree, stop) for tree in trees])
        except (BlocksNotShared, OSError, RooftreeError) as error:
            log.info("data_not_cloned", addon=slug, reason=str(error))
            return None

    def _remove(self, slug: str) -> None:
        with Folder.open(self._data) as root, suppress(FileNotFoundError), root.folder(str(self._place)) as place:
            place.remove(slug)

    def _can_share(self, trees: Sequence[PartTree]) -> bool:
        with Folder.open(self._data) as root, root.make(str(self._place), 0o700) as place:
            for tree in trees:
                with root.folder(tree.source.path) as folder:
                    if not shares_blocks(folder, place):
                        return False
        return bool(trees)

    def _clone(self, slug: str, tree: PartTree, stop: Callable[[], bool]) -> PartTree:
        copy = self._place / slug / tree.name
        mounted = set(map(str, mountpoints_below(self._data / tree.source.path)))

        def is_mounted(entry: Entry) -> bool:
            return entry.is_folder and bool(mounted) and entry.path in mounted

        with (
            Folder.open(self._data) as root,
            root.folder(tree.source.path) as folder,
            root.make(str(copy), 0o700) as target,
        ):
            copy_tree(folder, target, stop=stop, leave_out=is_mounted, only_shared=True)
        return evolve(tree, read_from=DataPath(str(copy)))
