"""Going through a tree that somebody else may be changing, with a bounded number of open files.

The way down closes the folder above; the way up is ``..``, believed only when it leads to the folder that was left.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import Final

from attrs import field, frozen, mutable

from rooftree_files.folder import Folder
from rooftree_files.refusals import TreeChanged, TreeTooLarge
from rooftree_files.removal import LIST, folder_above, identity


@frozen(kw_only=True)
class TreeLimits:
    """How much of a tree is looked at."""

    entries: int = 5_000_000
    depth: int = 10_000
    """Folders within each other."""


USUAL: Final = TreeLimits()


@mutable
class _Level:
    """A folder that the walk is in. It knows its own name only: the whole path of each would be quadratic in depth."""

    name: str
    identity: tuple[int, int]
    below: list[str] = field(factory=list)
    """The names of folders in it that are still to be gone into."""
    listed: bool = False


@frozen
class Entry:
    """Something in a tree. ``folder`` and ``path`` are good until the next entry is asked for."""

    name: str
    status: os.stat_result
    """Its own, where it is a link."""
    folder: int
    """A descriptor of the folder that it stands in."""
    _levels: list[_Level]

    @property
    def depth(self) -> int:
        """How many folders stand between it and the one that was begun with."""
        return len(self._levels) - 1

    @property
    def path(self) -> str:
        """Relative to the folder that was begun with."""
        return "/".join([*(level.name for level in self._levels[1:]), self.name])

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder; it is gone into next, unless ``enter`` says no."""
        return stat.S_ISDIR(self.status.st_mode)


def walk(
    folder: Folder,
    limits: TreeLimits = USUAL,
    *,
    enter: Callable[[Entry], bool] = lambda _: True,
    skip_unreadable: bool = False,
    skip: Collection[str] = (),
) -> Iterator[Entry]:
    """Every entry below an open folder, links not followed: the files of a folder first, then each folder with all that
    is in it. What goes meanwhile is left out; a folder that is moved meanwhile ends in :class:`TreeChanged`. Blocks.

    Raises :class:`TreeTooLarge` where there is more than ``limits``.

    :param enter: whether a folder is gone into
    :param skip: the names of what in ``folder`` itself is left out
    :param skip_unreadable: leave out what is in folders that may not be read, rather than raise ``PermissionError``
    """
    way = _Way(folder, limits, skip_unreadable, skip)
    try:
        while way.levels:
            if not way.level.listed:
                yield from way.files()
            elif not way.level.below:
                way.leave()
            elif (entry := way.next_folder()) is not None:
                yield entry
                if entry.is_folder and enter(entry):
                    way.enter(entry)
    finally:
        way.close()


class _Way:
    """Where a walk is, and how it came there."""

    def __init__(self, folder: Folder, limits: TreeLimits, skip_unreadable: bool, skip: Collection[str]) -> None:
        self._skip = frozenset(skip)
        self._passed_by = (FileNotFoundError, NotADirectoryError, *((PermissionError,) if skip_unreadable else ()))
        self._name = folder.name
        self._limits = limits
        self._entries = 0
        self._here = os.dup(folder.descriptor)
        self.levels = [_Level("", identity(self._here))]

    @property
    def level(self) -> _Level:
        return self.levels[-1]

    def close(self) -> None:
        os.close(self._here)

    def files(self) -> Iterator[Entry]:
        """List the folder where we are: what is no folder is told at once, folders are remembered."""
        level = self.level
        level.listed = True
        with os.scandir(self._here) as listing:
            for listed in listing:
                if len(self.levels) == 1 and listed.name in self._skip:
                    continue
                self._entries += 1
                if self._entries > self._limits.entries:
                    raise TreeTooLarge(self._name, f"has more than {self._limits.entries} entries")
                if listed.is_dir(follow_symlinks=False):
                    level.below.append(listed.name)
                elif (entry := self._entry(listed.name)) is not None:
                    yield entry
        level.below.sort(reverse=True)

    def next_folder(self) -> Entry | None:
        return self._entry(self.level.below.pop())

    def enter(self, entry: Entry) -> None:
        if len(self.levels) > self._limits.depth:
            raise TreeTooLarge(self._name, f"is deeper than {self._limits.depth} folders")
        try:
            below = os.open(entry.name, LIST, dir_fd=self._here)
        except self._passed_by:
            return
        if identity(below) != (entry.status.st_dev, entry.status.st_ino):
            os.close(below)
            raise TreeChanged(self._name)
        os.close(self._here)
        self._here = below
        self.levels.append(_Level(entry.name, identity(below)))

    def leave(self) -> None:
        self.levels.pop()
        if not self.levels:
            return
        self._here = folder_above(self._here, self.level.identity, self._name)

    def _entry(self, name: str) -> Entry | None:
        try:
            status = os.stat(name, dir_fd=self._here, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return Entry(name, status, self._here, self.levels)


def size_of(folder: Folder, limits: TreeLimits = USUAL, *, skip: Collection[str] = ()) -> int:
    """Bytes that what is in a folder takes on its disk: holes and further names of a file are not counted. Blocks.

    :param skip: the names of what in the folder itself is left out
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for entry in walk(folder, limits, skip=skip):
        status = entry.status
        if status.st_nlink > 1 and not entry.is_folder:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512  # stat(2): in units of 512 bytes, whatever the disk's are
    return total
