"""Going through a tree folder by folder, where the names say enough: much cheaper than a look at every file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from attrs import frozen, mutable

from rooftree_files.folder import Folder
from rooftree_files.refusals import TreeTooLarge
from rooftree_files.removal import LIST, folder_above, identity
from rooftree_files.walk import USUAL, TreeLimits


@frozen
class Listing:
    """What stands in one folder of a tree. ``descriptor`` is good until the next listing is asked for."""

    path: str
    """Relative to the folder that was begun with; empty for that itself."""
    depth: int
    """How many folders it stands below the one that was begun with."""
    descriptor: int
    others: frozenset[str]
    """The names of what is no folder: files, links, pipes."""

    def status(self, name: str) -> os.stat_result | None:
        """Its own, where it is a link; ``None`` where it is gone."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None


@mutable
class _Level:
    path: str
    identity: tuple[int, int]
    below: list[str]
    """The names of folders in it that are still to be gone into."""


def _passed_on(_: str, error: OSError) -> None:
    raise error


def listings(
    folder: Folder,
    limits: TreeLimits = USUAL,
    *,
    enter: Callable[[Listing, str], bool] = lambda _, __: True,
    unreadable: Callable[[str, OSError], None] = _passed_on,
) -> Iterator[Listing]:
    """The folders of a tree, each before those in it, by the order of their names. Blocks.

    Links are not followed, hidden folders not gone into. As :func:`~rooftree_files.walk` it has two folders open at a
    time, leaves out what goes meanwhile, raises :class:`TreeTooLarge` where there is more than ``limits``, and
    :class:`TreeChanged` where there is no way back.

    :param enter: whether the folder of that name in a listing is gone into
    :param unreadable: told of folders that cannot be opened, by their paths; raises the error unless given
    """
    way = _Way(folder, limits, enter)
    try:
        yield way.list("")
        while way.levels:
            below = way.levels[-1].below
            if not below:
                way.leave()
                continue
            name = below.pop()
            try:
                path = way.enter(name)
            except OSError as error:
                unreadable(way.path_of(name), error)
                continue
            if path is not None:
                yield way.list(path)
    finally:
        way.close()


class _Way:
    """Where it is, and how it came there."""

    def __init__(self, folder: Folder, limits: TreeLimits, enter: Callable[[Listing, str], bool]) -> None:
        self._name = folder.name
        self._hidden = folder.hidden
        self._limits = limits
        self._wanted = enter
        self._entries = 0
        self._here = os.dup(folder.descriptor)
        self.levels: list[_Level] = []

    def close(self) -> None:
        os.close(self._here)

    def path_of(self, name: str) -> str:
        above = self.levels[-1].path
        return f"{above}/{name}" if above else name

    def list(self, path: str) -> Listing:
        """List the folder that was just entered."""
        others: list[str] = []
        below: list[str] = []
        most = self._limits.entries - self._entries
        with os.scandir(self._here) as entries:
            for entry in entries:
                (below if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
                if len(below) + len(others) > most:
                    raise TreeTooLarge(self._name, f"has more than {self._limits.entries} entries")
        self._entries += len(below) + len(others)
        listing = Listing(path, len(self.levels), self._here, frozenset(others))
        wanted = self._wanted
        below = [name for name in below if name not in self._hidden and wanted(listing, name)]
        below.sort(reverse=True)
        self.levels.append(_Level(path, identity(self._here), below))
        return listing

    def enter(self, name: str) -> str | None:
        """Go into a folder; its path, or ``None`` where it is gone or none any more."""
        if len(self.levels) > self._limits.depth:
            raise TreeTooLarge(self._name, f"is deeper than {self._limits.depth} folders")
        try:
            below = os.open(name, LIST, dir_fd=self._here)
        except (FileNotFoundError, NotADirectoryError):
            return None
        os.close(self._here)
        self._here = below
        return self.path_of(name)

    def leave(self) -> None:
        self.levels.pop()
        if not self.levels:
            return
        self._here = folder_above(self._here, self.levels[-1].identity, self._name)
