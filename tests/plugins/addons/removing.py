"""What can't be deleted, or not be moved, for tests that have no disk that refuses it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from rooftree_addons import removals
from rooftree_files import Folder, RemovalIncomplete
from rooftree_files import remove_tree as remove_tree_for_real


def hold_fast(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Let nothing be deleted whose name, where it was put, ends so."""

    def remove_tree(parent: int, name: str, stop: Callable[[], bool]) -> None:
        if name.endswith(end):
            raise RemovalIncomplete(f"Not all of {name} could be deleted: a file is immutable")
        remove_tree_for_real(parent, name, stop)

    monkeypatch.setattr(removals, "remove_tree", remove_tree)


def pin(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let what has that name not be renamed, as a mount point can't be."""
    move_for_real = Folder.move

    def move(folder: Folder, old: str, into: Folder, new: str) -> None:
        if old == name:
            raise OSError(errno.EBUSY, "Device or resource busy")
        move_for_real(folder, old, into, new)

    monkeypatch.setattr(Folder, "move", move)
