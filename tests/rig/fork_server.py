"""Python programs as forks: a module that was imported once is there within milliseconds, again and again.

A new interpreter needs most of a second of a processor until it has imported what a test's child needs. So each process
of pytest has one server, ``python -m tests.rig.fork_server``, made for its first child. It imports what it is asked
for, and forks: the child is what ``python -m MODULE ARGUMENTS…`` would be, in a process of its own. It ends with the
server, and the server with pytest, however that ends.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from attrs import define

from tests.rig.service_process import die_with_parent

REPOSITORY = Path(__file__).parents[2]
READ_BY_INTERPRETERS = ("PYTHON", "LD_", "MALLOC_", "LANG", "LC_")
"""How the variables begin that only a new process heeds."""
LARGEST_ORDER = 2**18
"""Bytes: the environment is part of it."""


@define
class ForkedProcess:
    """A child, with the methods of :class:`asyncio.subprocess.Process`."""

    pid: int
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    _status: asyncio.StreamReader
    returncode: int | None = None

    async def wait(self) -> int:
        """How it ended: the exit status, or minus the number of the signal."""
        if self.returncode is None:
            self.returncode = int(await self._status.readline())
        return self.returncode

    async def communicate(self) -> tuple[bytes, None]:
        """End its standard input, and wait for its end: what it still had to say."""
        self.stdin.write_eof()
        said = await self.stdout.read()
        await self.wait()
        return said, None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.send_signal(signal.SIGKILL)


class ForkedProgram:
    """A child that runs on by itself, with the methods of :class:`subprocess.Popen`."""

    def __init__(self, status: socket.socket) -> None:
        self.returncode: int | None = None
        self._status = status.makefile("r", encoding="ascii")
        self.pid = int(self._status.readline())
        if priority := os.getpriority(os.PRIO_PROCESS, 0):  # the server has its own
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self.pid, priority)

    def poll(self) -> int | None:
        """How it ended: the exit status, or minus the number of the signal; ``None`` while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float) -> int:
        """Wait for its end, at most so many seconds: then :class:`subprocess.TimeoutExpired` is raised."""
        if (status := self._ended_within(timeout)) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return status

    def terminate(self) -> None:
        """SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _ended_within(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode


def fork(module: str, *arguments: str, environment: Mapping[str, str], output: int) -> ForkedProgram:
    """``python -m module arguments…``, which reads nothing and says everything into that file."""
    with Path(os.devnull).open("rb") as nothing, _ordered(
        module, arguments, environment, (nothing.fileno(), output, output)
    ) as status:  # fmt: skip
        return ForkedProgram(status)


def is_as_new(environment: Mapping[str, str]) -> bool:
    """Whether a fork is what a new interpreter would be, with that environment and in the network that we are in: what
    an interpreter or its loader read at their start is the server's, and so is the network."""
    read = {name for name in {*environment, *os.environ} if name.startswith(READ_BY_INTERPRETERS)}
    _server()
    return _network_at_start == [_network()] and all(environment.get(name) == os.environ.get(name) for name in read)


@asynccontextmanager
async def forked(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stderr: int = 2,
    limit_bytes: int = 2**16,
) -> AsyncIterator[ForkedProcess]:
    """``python -m module arguments…`` for the length of the block, unless it ends before.

    :param environment: in place of ours
    :param stderr: the descriptor of the child's standard error
    :param limit_bytes: the longest line that it says
    """
    ours, its = socket.socketpair()
    with its:
        told = _ordered(
            module, arguments, os.environ if environment is None else environment, (its.fileno(), its.fileno(), stderr)
        )
    stdout, stdin = await asyncio.open_connection(sock=ours, limit=limit_bytes)
    status, hold = await asyncio.open_connection(sock=told)
    child = ForkedProcess(int(await status.readline()), stdin, stdout, status)
    try:
        yield child
    finally:
        child.kill()
        await child.wait()
        for stream in (stdin, hold):
            stream.transport.abort()


def _ordered(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], standard: tuple[int, int, int]
) -> socket.socket:
    """Have a program forked; what its number and then its status come from, a line each."""
    order = {
        "module": module,
        "arguments": arguments,
        "environment": dict(environment),
        "folder": str(Path.cwd()),
    }
    told, tells = socket.socketpair()
    with tells:
        socket.send_fds(_server(), [json.dumps(order).encode()], [*standard, tells.fileno()])
    return told


_network_at_start: list[int] = []
"""The server's, once there is one."""


def _network() -> int:
    """The network that this process is in."""
    return Path("/proc/self/ns/net").stat().st_ino


@cache
def _server() -> socket.socket:
    """What the server of this process hears; it ends when that is closed."""
    _network_at_start.append(_network())
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.fork_server", str(its.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY, pass_fds=[its.fileno()],
        )  # fmt: skip

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- the server -------------------------------------------------------------------------------------------------------


def serve(orders: socket.socket) -> None:
    """Fork what is asked for until nobody can ask any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        line, files, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 4)
        if not line:
            return
        order = json.loads(line)
        with suppress(Exception):  # the child meets it as well, and shows it
            importlib.import_module(order["module"])
        gc.freeze()
        if os.fork() == 0:
            _keep(order, files)
        for file in files:
            os.close(file)


def _keep(order: Mapping[str, Any], files: list[int]) -> None:
    """Wait for the child, which a process beside it must do, and tell of it."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, tells = files
    child = os.fork()
    if child == 0:
        _become(order, standard)
    for file in standard:
        os.close(file)
    os.write(tells, b"%d\n" % child)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):
        os.write(tells, b"%d\n" % status)
    os._exit(0)


def _become(order: Mapping[str, Any], standard: list[int]) -> None:
    """Be that program, to its end."""
    die_with_parent()
    for number, file in enumerate(standard):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    tempfile.tempdir = None
    module = order["module"]
    sys.argv = [module, *order["arguments"]]
    sys.modules.pop(module, None)
    status = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if not sys.stdout.closed:
            sys.stdout.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
