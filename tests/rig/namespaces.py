"""Sockets in other network namespaces: a socket stays where it was made, whoever holds it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable


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
