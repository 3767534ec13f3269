"""Deleting a tree that somebody else may be changing: however deep, with two files open at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from rooftree.errors import Failed
from rooftree_files.refusals import TreeChanged, printable

MOST_FAILURES: Final = 100
"""When so many things can't be deleted, the rest is not tried."""
LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNTED: Final = "something is mounted there"
_NOT_EMPTY: Final = {errno.ENOTEMPTY, errno.EEXIST}
_CHANGED: Final = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""It was replaced since it was looked at: the next look tells by what."""


class RemovalIncomplete(Failed):
    """Something in a tree can't be deleted; all else of it is gone. ``extra_fields``: ``remains``, the first paths."""


class RemovalStopped(RemovalIncomplete):
    """The caller had no more time for it."""


@define
class _Level:
    """A folder that is being emptied."""

    name: str
    identity: tuple[int, int]
    kept: set[str] = field(factory=set)
    """What in it can't be deleted."""


def remove_tree(parent: int, name: str, stop: Callable[[], bool] = lambda: False) -> None:
    """Delete what has that name in the folder ``parent`` (a descriptor); nothing to do where nothing has it. Blocks.

    Links are deleted, never followed. What is mounted below stays, with what is on it. All is tried before
    :class:`RemovalIncomplete` says what could not be deleted.

    :param stop: asked before each thing; when it says so, :class:`RemovalStopped` is raised
    """
    removal = _Removal(parent, name, stop)
    try:
        removal.run()
    finally:
        removal.close()


class _Removal:
    def __init__(self, parent: int, name: str, stop: Callable[[], bool]) -> None:
        self._name = name
        self._stop = stop
        self._failures: list[str] = []
        self._here = os.dup(parent)
        self._levels = [_Level("", identity(self._here))]
        self._disk = self._levels[0].identity[0]

    def close(self) -> None:
        os.close(self._here)

    def run(self) -> None:
        while (below := self._empty()) is not None or len(self._levels) > 1:
            if below is None:
                self._leave()
            else:
                self._enter(below)
        if self._failures:
            self._raise(RemovalIncomplete)

    def _empty(self) -> str | None:
        """Delete what can be in the folder where we are; the name of one in it that has to be emptied before."""
        kept = self._levels[-1].kept
        for name, is_folder in self._entries():
            if name in kept:
                continue
            if self._stop():
                self._failures.append("there was no more time")
                self._raise(RemovalStopped)
            try:
                if is_folder:
                    os.rmdir(name, dir_fd=self._here)
                else:
                    os.unlink(name, dir_fd=self._here)
            except OSError as error:
                if error.errno in _NOT_EMPTY:
                    return name
                if error.errno not in _CHANGED:
                    self._keep(name, _MOUNTED if error.errno == errno.EBUSY else error.strerror or str(error))
        return None

    def _entries(self) -> Iterator[tuple[str, bool]]:
        if len(self._levels) > 1:
            with os.scandir(self._here) as entries:
                for entry in entries:
                    yield entry.name, entry.is_dir(follow_symlinks=False)
            return
        try:
            os.unlink(self._name, dir_fd=self._here)
        except FileNotFoundError:
            return
        except OSError:  # EISDIR, or EPERM where the file system says it like that (unlink(2))
            yield self._name, True

    def _enter(self, name: str) -> None:
        try:
            below = os.open(name, LIST, dir_fd=self._here)
        except OSError as error:
            if error.errno not in _CHANGED:
                self._keep(name, error.strerror or str(error))
            return
        below_identity = identity(below)
        if len(self._levels) > 1 and below_identity[0] != self._disk:
            os.close(below)
            self._keep(name, _MOUNTED)
            return
        os.close(self._here)
        self._here = below
        self._disk = below_identity[0]
        self._levels.append(_Level(name, below_identity))

    def _leave(self) -> None:
        level = self._levels.pop()
        self._here = folder_above(self._here, self._levels[-1].identity, self._name)
        if level.kept:
            self._levels[-1].kept.add(level.name)

    def _keep(self, name: str, reason: str) -> None:
        self._levels[-1].kept.add(name)
        names = [*(level.name for level in self._levels[1:][:20]), name]
        self._failures.append(f"{printable('/'.join(names))} ({reason})")
        if len(self._failures) >= MOST_FAILURES:
            self._raise(RemovalIncomplete)

    def _raise(self, kind: type[RemovalIncomplete]) -> None:
        raise kind(
            f"Not all of {printable(self._name)} could be deleted: {'; '.join(self._failures[:3])}",
            remains=self._failures[:20],
        )


def identity(descriptor: int) -> tuple[int, int]:
    """What an open folder is, whatever it is called: disk and inode."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def folder_above(here: int, expected: tuple[int, int], tree: str) -> int:
    """The folder above the one that is open as ``here``, which is closed; raises :class:`TreeChanged`, and closes
    nothing, where it is not the ``expected`` one."""
    above = os.open("..", LIST, dir_fd=here)
    if identity(above) != expected:
        os.close(above)
        raise TreeChanged(tree)
    os.close(here)
    return above
