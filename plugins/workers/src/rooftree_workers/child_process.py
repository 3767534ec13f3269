"""Programs that plugins run beside the daemon: none of them outlives it, or the call that wanted it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_daemon() -> None:
    """Called in a child before its program begins: the kernel kills it when the daemon's thread that made it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@asynccontextmanager
async def child_process(
    *command: str, confine: Callable[[], None] = die_with_daemon, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs for the length of the block: if it still does at the block's end, however that comes, it and
    what it started are killed. Raises ``FileNotFoundError`` where there is no such program.

    :param confine: called in the child before the program begins; it must call :func:`die_with_daemon`
    :param options: as for :func:`asyncio.create_subprocess_exec`; nothing is read from standard input
    """
    child = await asyncio.create_subprocess_exec(
        *command, start_new_session=True, preexec_fn=confine, stdin=asyncio.subprocess.DEVNULL, **options
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.communicate()  # what is left in its pipes, or they would stay open
