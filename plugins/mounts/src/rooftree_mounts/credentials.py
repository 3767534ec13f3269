"""User names and passwords for mount.cifs(8): in a file that only root reads, and only while something is mounted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from rooftree_files import Folder
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.mounting import Mounter, Refused

FOLDER: Final = ".mounts_credentials"
"""Relative to the data folder, in no backup."""


@asynccontextmanager
async def credentials_file(data: Path, mounter: Mounter, name: str, config: MountConfig) -> AsyncIterator[str | None]:
    """Where a mount's credentials are for the length of the block, as mounting is told; ``None`` for a guest.

    Raises ``SecretLocked`` where they can't be read, and :class:`Refused` where the path can't stand among options.
    """
    if config.username is None or config.password is None:
        yield None
        return
    path = await mounter.path_of(f"{FOLDER}/{name}")
    if any(character in path for character in ',"\\') or not path.isprintable():
        raise Refused(f"the path {path!r} can't be told to mount.cifs: it has a comma, quote or backslash in it")
    lines = f"username={config.username}\npassword={config.password.reveal()}\n"
    try:
        await asyncio.to_thread(_write, data, name, lines)
        yield path
    finally:
        await asyncio.to_thread(_remove, data, name)


def sweep_credentials(data: Path) -> None:
    """Delete what a kill has left. Blocks."""
    with Folder.open(data) as root, suppress(FileNotFoundError), root.folder(FOLDER) as folder:
        for name in folder.names():
            folder.remove(name)


def _write(data: Path, name: str, lines: str) -> None:
    with Folder.open(data) as root, root.make(FOLDER, 0o700) as folder:
        folder.write(name, lines.encode(), 0o600)


def _remove(data: Path, name: str) -> None:
    with Folder.open(data) as root, root.folder(FOLDER) as folder:
        folder.remove(name)
