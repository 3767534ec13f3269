"""What the rig needs from the machine: root and a Docker Engine. Without them a test is skipped, and fails in CI."""

from __future__ import annotations

import http.client
import os
import socket
from typing import override

from tests.requirements import missing

DEFAULT_ENGINE = "unix:///var/run/docker.sock"


def engine_url() -> str:
    """Where the Docker Engine of the tests listens: ``DOCKER_HOST``, or its usual socket."""
    return os.environ.get("DOCKER_HOST", DEFAULT_ENGINE)


def require_docker() -> str:
    """Skip the test (fail it in CI) unless we are root and a Docker Engine answers; its URL."""
    url = engine_url()
    if os.geteuid() != 0:
        missing("needs root, to start containers and to work with network namespaces")
    if not url.startswith("unix://"):
        missing(f"needs a Docker Engine on a unix socket of this machine, and DOCKER_HOST is {url}")
    try:
        _ping(url.removeprefix("unix://"))
    except OSError as error:
        missing(f"needs a Docker Engine, and none answers at {url}: {error}")
    return url


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self._path)


def _ping(path: str) -> None:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"its ping answered {answer.status}")
    except http.client.HTTPException as error:
        raise ConnectionError(f"its ping was not understood: {error}") from error
    finally:
        connection.close()
