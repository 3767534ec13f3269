"""A server on a loopback port that lives as long as a block of code."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.waiting import wait_until

START_S = 10.0
STOP_S = 10.0
LISTENED_ON = (15_000, 32_000)
"""Below the range of ports for connections (ip(7), ip_local_port_range)."""
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """Called in a child: the kernel kills it when the thread that made it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port on which nobody listens, and which the system gives to no connection by itself: one that it gives could be
    taken by the time that somebody listens there, or in between two times."""
    while True:
        port = random.randrange(*LISTENED_ON)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ServiceProcess:
    """Runs ``command`` in a process group of its own until the block ends, or we do; entered once ``port`` answers."""

    def __init__(self, command: Sequence[str | Path], *, port: int, log: Path, start_s: float = START_S) -> None:
        self.command = command
        self.port = port
        self.log = log
        self.start_s = start_s

    def __enter__(self) -> Self:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  it takes no lock
            )
        try:
            wait_until(self._answers, within_s=self.start_s, what=f"port {self.port} of {self.command[0]}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.command[0]} ended with {self.process.returncode}:\n{self.log.read_text()}")
        return listens(self.port)

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
