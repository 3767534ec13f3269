"""HTTP over the unix socket of a container engine, and where that is."""

from __future__ import annotations

import http.client
import os
import socket
from typing import override

DEFAULT_ENGINE = "unix:///var/run/docker.sock"


def engine_url() -> str:
    """Where the Docker Engine of the tests listens: ``DOCKER_HOST``, or its usual socket."""
    return os.environ.get("DOCKER_HOST", DEFAULT_ENGINE)


class EngineConnection(http.client.HTTPConnection):
    """To the engine at ``unix://PATH``."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = url.removeprefix("unix://")

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
