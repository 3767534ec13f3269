"""A house into which somebody uploads a backup, as a process to be killed.

``python -m tests.plugins.backups.killed_upload FOLDER PLACE``: ``body`` dies while the file comes in, anything else is
a failpoint.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from rooftree.state import failpoints
from tests.plugins.backups.house import house
from tests.plugins.backups.plain_archives import raw_backup, write_archive

HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}
PIECE = 1024 * 1024


async def main() -> None:
    """Send one, and say how that was answered."""
    _, folder, place = sys.argv
    if place != "body":
        failpoints.arm(f"{place}=kill")
    async with house(Path(folder), real=True) as home:
        made = Path(folder) / "made"
        write_archive(made, raw_backup("aaaaaaaa", folders=[]))
        head = made.read_bytes()

        async def form() -> AsyncIterator[bytes]:
            yield b"--b\r\nContent-Type: application/octet-stream\r\n\r\n"
            if place == "body":
                while not any(path.stat().st_size > PIECE for path in home.local.iterdir()):
                    yield bytes(PIECE)
                os.kill(os.getpid(), signal.SIGKILL)
            yield head
            yield b"\r\n--b--\r\n"

        answer = await home.client.post("/backups/new/upload", body=form(), headers=HEADERS)
        print(answer.status, answer.text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
