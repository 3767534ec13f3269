"""The way to the daemon that runs: HTTP over its unix socket, whose peer credentials say who asks.

What goes wrong on this way is told with what to do about it. An error answer of the daemon keeps its envelope.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from rooftree.cli.refusals import DaemonNotRunning, DaemonUnreachable, ErrorAnswer
from rooftree.errors import Failed

PATIENCE_S: Final = 60
"""How long :func:`ask` waits for an answer. Streams, and ``rooftree call``, wait as long as it takes."""


@asynccontextmanager
async def request(
    socket: Path, method: str, path: str, body: bytes | None = None, *, patience_s: float | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The daemon's answer, its body still to be read; raises :class:`DaemonUnreachable`.

    :param path: sent exactly as it is, so that also what the daemon refuses can be tried
    """
    connector = aiohttp.UnixConnector(path=str(socket))
    timeout = aiohttp.ClientTimeout(total=patience_s)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(
                method, URL(f"http://rooftree{path}", encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            yield response
    except aiohttp.ClientConnectorError as error:
        raise _unreachable(socket, error.os_error) from None
    except aiohttp.ClientError as error:
        raise DaemonUnreachable(f"The connection to the daemon at {socket} broke off: {error}") from None
    except TimeoutError:
        raise DaemonUnreachable(
            f"The daemon at {socket} accepted the call and did not answer within {patience_s:g} s; its log says why"
        ) from None


def ask(socket: Path, method: str, path: str, body: object = None, *, patience_s: float = PATIENCE_S) -> Any:
    """The ``data`` of the daemon's answer; raises :class:`ErrorAnswer` and :class:`DaemonUnreachable`."""

    async def answer() -> Any:
        encoded = None if body is None else json.dumps(body).encode()
        async with request(socket, method, path, encoded, patience_s=patience_s) as response:
            return data_of(response.status, await response.read())

    return asyncio.run(answer())


def data_of(status: int, text: bytes) -> Any:
    """What is in the envelope; an answer that has none is given back whole. Raises :class:`ErrorAnswer`."""
    try:
        answer = json.loads(text)
    except ValueError:
        if status >= 400:
            raise ErrorAnswer(status, {"result": "error", "message": text.decode("utf-8", "replace").strip()}) from None
        raise Failed(f"The daemon's answer (status {status}) says that it is JSON, and is not") from None
    if not isinstance(answer, dict) or "result" not in answer:
        if status >= 400:
            raise ErrorAnswer(status, {"result": "error", "message": json.dumps(answer)})
        return answer
    if status >= 400 or answer["result"] != "ok":
        raise ErrorAnswer(status, answer)
    return answer.get("data")


def _unreachable(socket: Path, error: OSError) -> DaemonUnreachable:
    if isinstance(error, PermissionError):
        return DaemonUnreachable(
            f"You ({_user()}) may not use {socket}: only root and the user that the daemon runs as may. "
            "Try again with sudo, or as that user"
        )
    if isinstance(error, FileNotFoundError):
        return DaemonNotRunning(
            f"Rooftree is not running here: there is no socket {socket}. Start it with: rooftree run. "
            "If it runs with another data folder, say which with --data-dir or --socket"
        )
    if isinstance(error, ConnectionRefusedError):
        return DaemonNotRunning(
            f"Rooftree is not running here: nobody listens at {socket} any more. Start it with: rooftree run"
        )
    return DaemonUnreachable(f"{socket} can't be used: {error.strerror or error}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a user that has no name there
        return f"user {os.geteuid()}"
