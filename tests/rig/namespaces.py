"""Sockets and commands in the namespaces of other processes. A socket stays where it was made, whoever holds it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping


def in_namespace_of(process: int, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket as ``process`` would get it."""
    made: list[socket.socket] = []
    problems: list[OSError] = []

    def enter() -> None:
        try:
            namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(namespace, os.CLONE_NEWNET)
            finally:
                os.close(namespace)
            made.append(make())
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=enter)  # one of its own, which ends: it never comes back to our namespace
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return made[0]


def run_in_namespaces_of(
    process: int, environment: Mapping[str, str], *command: str, data: bytes | None = None, processes: bool = False
) -> str:
    """The output of a command that finds the files, the network and the names of ``process``. Raises
    :class:`RuntimeError` with what it printed when it fails.

    :param data: its standard input
    :param processes: whether it finds the processes there in place of ours
    """
    nsenter = shutil.which("nsenter")  # here: the environment's own PATH is for the command
    assert nsenter, "nsenter of util-linux is missing"
    kinds = ["--mount", "--net", "--uts", "--ipc", *(["--pid"] if processes else [])]
    words = [nsenter, f"--target={process}", *kinds, "--", *command]
    done = subprocess.run(words, env={"HOME": "/root", **environment}, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").strip()
