"""The end of the log of a version that failed: its container goes when the version before it comes back, and its log
with it, which is what its author needs to see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from rooftree import RooftreeError
from rooftree.interfaces.containers import ContainerEngine, ContainerNotFound
from rooftree_files import Folder

log = structlog.get_logger(__name__)

FILE: Final = "log.txt"
"""In the folder that has what the version left."""
LINES: Final = 500
MAX_BYTES: Final = 1024 * 1024
PATIENCE_S: Final = 10.0


async def keep_log(engine: ContainerEngine, container: str, data: Path, folder: str) -> None:
    """Write the end of a container's log into a folder below the data folder, which is made; a log that can't be had
    stops nothing."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            text = await _end_of_log(engine, container)
        await asyncio.to_thread(_write, data, folder, text)
    except ContainerNotFound:  # it was kept before a kill, or there never was one
        return
    except (RooftreeError, TimeoutError, OSError) as error:
        log.warning("failed_log_not_kept", container=container, reason=str(error))


async def _end_of_log(engine: ContainerEngine, container: str) -> bytes:
    text = bytearray()
    async for piece in engine.log_text(container, tail=LINES):
        text += piece
        del text[:-MAX_BYTES]
    return bytes(text)


def _write(data: Path, folder: str, text: bytes) -> None:
    with Folder.open(data) as root, root.make(folder, 0o700) as place:
        place.write(FILE, text, 0o600)
