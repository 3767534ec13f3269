"""Workers of archives as forks: what the daemon's side of one is given is a process that has all modules already.

A worker imports for a sixth of a second of a processor, and most tests of archives and backups start several. Here the
first one has a server started, as a worker would be, which imports what workers do and forks for each; those before it
can are new processes. The fork is a child of pytest (clone(2), ``CLONE_PARENT``), so it is killed and waited for by the
product's own code. The server ends with pytest.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

WORKER: Final = "rooftree_archives.worker"
IMPORTED: Final = (WORKER, *(f"rooftree_archives.{name}" for name in ("file_copy", "making", "reading", "sealing")))
"""What workers import, at once or late."""
LARGEST_ORDER: Final = 2**12
"""Bytes."""
READY: Final = b"ready"
_CLONE: Final = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
"""The number of the system call; ``None`` where nobody knows it here: there each worker is a new process."""
_CLONE_PARENT: Final = 0x8000
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


@contextmanager
def forked_workers() -> Iterator[None]:
    """Workers are forks for the length of the block."""
    import pytest  # the server has no use for these two

    from rooftree_workers.disposable import _Child

    servers: dict[str, _Server] = {}
    spawn = _Child.spawn_unheard

    def spawn_or_fork(about: str, command: Sequence[str], pass_fds: Sequence[int], env: Mapping[str, str]) -> _Child:
        if WORKER not in command:
            return spawn(about, command, pass_fds, env)
        seen = _what_it_sees()
        server = servers.get(seen) or servers.setdefault(seen, _Server(env))
        return _Child(about, server.fork(*pass_fds), {}) if server.is_ready() else spawn(about, command, pass_fds, env)

    with pytest.MonkeyPatch.context() as patch:
        if _CLONE is not None:
            patch.setattr(_Child, "spawn_unheard", spawn_or_fork)
        yield
    for server in servers.values():
        server.close()


def _what_it_sees() -> str:
    """The disks that this process sees, which a test may have changed for itself: a fork sees its server's."""
    return str(Path("/proc/self/ns/mnt").readlink())


class _Server:
    """One that runs."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", __file__, str(its.fileno()), WORKER],
                env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[its.fileno()],
            )  # fmt: skip
        self._ready, self._turn = False, threading.Lock()

    def is_ready(self) -> bool:
        """Whether it has imported everything: who asks before that does not wait."""
        with self._turn:
            if not self._ready and select.select([self._orders], [], [], 0)[0]:
                self._ready = self._orders.recv(LARGEST_ORDER) == READY
            return self._ready

    def fork(self, connection: int) -> int:
        """The process id of a worker that is asked over that descriptor."""
        order = {"connection": connection, "priority": os.getpriority(os.PRIO_PROCESS, 0)}
        with self._turn:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [connection])
            return int(self._orders.recv(LARGEST_ORDER))

    def close(self) -> None:
        self._orders.close()
        self._process.wait()


# --- the server, which has nothing of ours but what workers have ------------------------------------------------------


def serve(orders: socket.socket) -> None:
    """Fork for each order until nobody can give one any more."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    orders.send(READY)
    assert _CLONE is not None
    system_call = ctypes.PyDLL(None).syscall  # with the interpreter held, as fork(2) is
    while True:
        line, files, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 1)
        if not line:
            return
        worker = system_call(_CLONE, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
        if worker == 0:
            _work(json.loads(line), *files)
        for file in files:
            os.close(file)
        orders.send(b"%d" % worker)


def _work(order: Mapping[str, Any], connection: int) -> None:
    """Be a worker, to its end."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        os.setpriority(os.PRIO_PROCESS, 0, order["priority"])
        kept = order["connection"]
        os.dup2(connection, kept)
        os.closerange(3, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        sys.argv = [WORKER, str(kept)]
        importlib.import_module(WORKER).main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
