"""Scratch places: folders below ``tmp`` in the data folder, which no container sees and nobody but the daemon enters.

What is brought back there is somebody's data, and stays as it is: nobody changes it while we look. Everything blocks.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

MODE: Final = 0o700


def made(folder: Path) -> Path:
    """A folder, with those above it; returns it."""
    folder.mkdir(mode=MODE, parents=True, exist_ok=True)  # ours: a scratch place
    return folder


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; nothing to do where it is gone."""
    shutil.rmtree(folder, ignore_errors=True)  # ours: a scratch place


def is_there(path: Path) -> bool:
    """Whether anything lies there, a link itself too."""
    return os.path.lexists(path)  # ours: a scratch place


def write(path: Path, content: bytes) -> None:
    """Write a file, in a folder that is made where it is missing."""
    (made(path.parent) / path.name).write_bytes(content)  # ours: a scratch place


def documents(folder: Path) -> dict[str, bytes]:
    """The files in a folder, by name; none where it is missing."""
    if not is_there(folder):
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir()}  # ours: a scratch place


def move(source: Path, target: Path) -> None:
    """Rename within a scratch place."""
    made(target.parent)
    source.rename(target)  # ours: a scratch place


def take(source: Path, target: Path) -> None:
    """Have a domain's copy under another name: as the same file where that can be, or else as a copy of it."""
    made(target.parent)
    try:
        os.link(source, target, follow_symlinks=False)  # ours: a domain made it, in a scratch place of its own
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)  # ours: the same


def free_bytes(folder: Path) -> int:
    """The room on the disk of a scratch place."""
    return shutil.disk_usage(made(folder)).free
