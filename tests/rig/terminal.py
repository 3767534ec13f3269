"""The command as a person has it: on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Mapping
from types import MappingProxyType


async def on_a_terminal(*arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> tuple[int, bytes]:
    """Run ``rooftree`` there; its exit code, and what stands on the terminal."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rooftree.cli", *arguments),
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)

    def read_all() -> bytes:
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # EIO: the other end is closed
            pass
        return shown

    shown = await asyncio.to_thread(read_all)
    os.close(ours)
    return await process.wait(), shown
