"""A folder that takes the place of another, which is kept until nothing can fail any more: how a restore puts back what
it has unpacked. Both change places by renaming, so that each is there whole or not at all, whenever the power fails."""

from __future__ import annotations

import asyncio
import stat
from fnmatch import fnmatchcase
from pathlib import Path

from attrs import frozen

from rooftree import Run, step
from rooftree.services import ServiceDirectory
from rooftree_containers import snapshot
from rooftree_containers.container_steps import ContainerStep
from rooftree_containers.snapshot import KeptFolder
from rooftree_files import Folder, size_in_words


@frozen
class FolderSwap:
    """Where folders change places; all relative to the data folder."""

    live: str
    staged: str
    """What takes its place."""
    replaced: str
    """Where what was there lies afterwards; nothing is there before."""


@frozen
class BeforeSwap:
    """What was there."""

    was_there: bool
    is_staged: bool = True
    """Whether there is anything to take its place; otherwise it stays."""
    stays: tuple[str, ...] = ()
    """The names of what in the folder stays in its place, with whatever takes it."""


class SwappingFolder(ContainerStep):
    """Let a folder take the place of a container's own, which is kept until all is done."""

    swap: FolderSwap
    stays: tuple[str, ...] = ()
    """Patterns of the names of what in the folder stays where it is (fnmatch)."""
    downtime = True

    async def notes(self, services: ServiceDirectory) -> list[str]:
        """How much is replaced."""
        size = await asyncio.to_thread(size_in_words, self._data(services), self.swap.live)
        return [f"In {self.swap.live} is {size} now, which is replaced"]

    async def before(self, services: ServiceDirectory) -> BeforeSwap:
        """Whether there is one, and what in it stays."""
        return await asyncio.to_thread(_look, self._data(services), self.swap, self.stays)

    async def do(self, services: ServiceDirectory, run: Run) -> None:
        """Let them change places."""
        await swap(self._data(services), self.swap, run.before(BeforeSwap))

    async def undo(self, before: BeforeSwap, services: ServiceDirectory) -> None:
        """Let them change back."""
        await swap_back(self._data(services), self.swap, before)

    def _data(self, services: ServiceDirectory) -> Path:
        return self.containers(services).kernel.data.path


def _look(data: Path, folders: FolderSwap, patterns: tuple[str, ...]) -> BeforeSwap:
    mode, is_staged = snapshot.mode_at(data, folders.live), snapshot.mode_at(data, folders.staged) is not None
    if mode is None or not stat.S_ISDIR(mode):
        return BeforeSwap(mode is not None, is_staged)
    with Folder.open(data) as root:
        names = root.names(folders.live) if patterns else []
    stays = tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    return BeforeSwap(True, is_staged, stays)


async def swap(data: Path, folders: FolderSwap, before: BeforeSwap) -> None:
    """Let the staged folder be the live one; may be repeated until it has worked. Raises
    :class:`~rooftree_containers.snapshot.SnapshotFailed`."""
    if before.is_staged:
        await snapshot.put_back(data, KeptFolder(folders.live, folders.staged, before.stays), folders.replaced)


async def swap_back(data: Path, folders: FolderSwap, before: BeforeSwap) -> None:
    """Let all be as it was, after none, half or all of :func:`swap`; may be repeated."""
    if await asyncio.to_thread(snapshot.mode_at, data, folders.replaced) is None:
        return  # nothing was done, or all was taken back
    if before.was_there:
        await snapshot.put_back(data, KeptFolder(folders.live, folders.replaced, before.stays), folders.staged)
        return
    if await asyncio.to_thread(snapshot.mode_at, data, folders.staged) is None:
        await snapshot.move(data, folders.live, folders.staged)
    await asyncio.to_thread(snapshot.drop, data, folders.replaced)  # it only said that there was nothing


@step("containers.swap_folder/1")
class SwapFolder(SwappingFolder):
    """Let a folder take the place of a container's own, which is kept until all is done."""

    name: str
    plugin: str
    swap: FolderSwap
    stays: tuple[str, ...] = ()
