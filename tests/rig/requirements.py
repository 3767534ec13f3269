"""What the rig needs from the machine: root and a Docker Engine. Without them a test is skipped, and fails in CI."""

from __future__ import annotations

import http.client
import os

from tests.requirements import missing
from tests.rig.engine_connection import EngineConnection, engine_url


def require_docker() -> str:
    """Skip the test (fail it in CI) unless we are root and a Docker Engine answers; its URL."""
    url = engine_url()
    if os.geteuid() != 0:
        missing("needs root, to start containers and to work with network namespaces")
    if not url.startswith("unix://"):
        missing(f"needs a Docker Engine on a unix socket of this machine, and DOCKER_HOST is {url}")
    try:
        _ping(url)
    except OSError as error:
        missing(f"needs a Docker Engine, and none answers at {url}: {error}")
    return url


def _ping(url: str) -> None:
    connection = EngineConnection(url, timeout_s=5)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"its ping answered {answer.status}")
    except http.client.HTTPException as error:
        raise ConnectionError(f"its ping was not understood: {error}") from error
    finally:
        connection.close()
