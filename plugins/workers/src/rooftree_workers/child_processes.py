"""Programs that plugins run beside the daemon: none of them outlives it, or the call that wanted it.

What confines a program is done by two small ones (of util-linux) that become it one after another. Where they are not,
the daemon is copied for it, by ``fork(2)``: that holds the event loop for as long as all of its memory takes to be
copied and the copy to begin, which is not what it is done by if it can be helped.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any, Final, Literal

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)
ENDS_S: Final = 5.0
"""Seconds that a program may take to end once it was killed; they do so at once, unless the kernel holds them."""
_ENDING: Final = set[asyncio.Task[tuple[bytes, bytes]]]()

type Limit = Literal["data", "fsize"]
"""Bytes: what it may hold in memory, and in one file that it writes (``RLIMIT_DATA``, ``RLIMIT_FSIZE``)."""


@asynccontextmanager
async def child_process(
    *command: str, limits: Mapping[Limit, int] = {}, env: Mapping[str, str] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL, **options: Any,
) -> AsyncIterator[asyncio.subprocess.Process]:  # fmt: skip
    """A program that runs for the length of the block: if it still does at the block's end, however that comes, it and
    what it started are killed. One that waits for a disk or share that is gone, and can't be ended by that, is left
    behind. Raises ``FileNotFoundError`` where there is no such program.

    :param limits: also of the programs that it starts; a write beyond them fails, and kills nobody
    :param stdin: a pipe for one that is to be told something; without it there is nothing for it to read
    :param options: as for :func:`asyncio.create_subprocess_exec`
    """
    helpers = await asyncio.to_thread(_helpers)
    if helpers is not None:
        path = (os.environ if env is None else env).get("PATH")
        if await asyncio.to_thread(shutil.which, command[0], path=path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        command = (*_confining(helpers, limits), *command)
    child = await asyncio.create_subprocess_exec(
        *command, env=env, start_new_session=True, stdin=stdin,
        preexec_fn=partial(_confine, limits) if helpers is None else None,
        restore_signals=False,  # Python ignores SIGXFSZ, and so does the child
        **options,
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Wait for the end of one that was killed, but not for one that the kernel holds: it ends when that lets it go."""
    ending = asyncio.create_task(child.communicate())  # with what is left in its pipes, or they would stay open
    _ENDING.add(ending)
    ending.add_done_callback(_ENDING.discard)
    await asyncio.wait({ending}, timeout=ENDS_S)


async def confined(command: Sequence[str]) -> Sequence[str]:
    """The command of a program that ends with the daemon, where that can be had without copying the daemon for it.
    Raises ``FileNotFoundError`` where there is no such program."""
    if await asyncio.to_thread(shutil.which, command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    helpers = await asyncio.to_thread(_helpers)
    return command if helpers is None else (*_confining(helpers, {}), *command)


@cache
def _helpers() -> tuple[str, str] | None:
    """Where the programs are that confine one, if they are there and can do that (busybox's cannot). Blocks."""
    setpriv, prlimit = shutil.which("setpriv"), shutil.which("prlimit")
    if setpriv is None or prlimit is None:
        return None
    trial = [*_confining((setpriv, prlimit), {"fsize": 2**30, "data": 2**30}), setpriv, "--version"]
    works = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    return (setpriv, prlimit) if works else None


def _confining(helpers: tuple[str, str], limits: Mapping[Limit, int]) -> Sequence[str]:
    """What stands before a command to confine it."""
    setpriv, prlimit = helpers
    limited = [prlimit, *(f"--{limit}={size}" for limit, size in limits.items()), "--"] if limits else []
    return [setpriv, "--pdeathsig", "KILL", "--", *limited]


def _confine(limits: Mapping[Limit, int]) -> None:
    """The same, called in a copy of the daemon before the program begins."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for limit, size in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{limit.upper()}"), (size, size))
