"""The page on Core's port until Core is there: how far its install is, what went wrong, how to go on by hand.

It is open to everybody on the network, so there is little to it. Each connection gets one answer within seconds; of
what it sent only the method and the path are looked at, no header and no body. Whatever the path, it is the same page,
or the same facts as JSON. Nothing of a request comes back in an answer or is passed on, and nothing is changed by it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import structlog

from rooftree import Kernel, Problem, Service
from rooftree_containers import ContainerState
from rooftree_containers.standing import ManagedStateChanged
from rooftree_homeassistant.home_assistant import HomeAssistant
from rooftree_homeassistant.installation import Installation
from rooftree_homeassistant.landing_view import POLICY, STATUS_PATH, page, status

log = structlog.get_logger(__name__)

USUAL_PORT: Final = 8123
"""Where people look for Core, whatever its port is."""
PORT_TAKEN: Final = "core_port_taken"
"""The type of the problem that says that somebody else listens on Core's port."""
LOOK_S: Final = 10.0
"""Seconds between looks whether a port that was taken is free."""
ANSWER_S: Final = 10.0
"""Seconds that a connection may take in all."""
_GOODBYE_S: Final = 1.0
"""Seconds that a client may go on sending after it was answered: closed at once, it could lose the answer."""
MOST_CONNECTIONS: Final = 100
"""At once; the next is closed."""


class LandingPage:
    """Listens on Core's port, and on the usual one, from :meth:`open` until Core is to have them."""

    def __init__(self, kernel: Kernel, core: HomeAssistant, installation: Installation) -> None:
        self._kernel = kernel
        self._core = core
        self._installation = installation
        self._listeners: dict[int, list[asyncio.Server]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._changed = asyncio.Event()
        self._listening = asyncio.Lock()
        kernel.on(ManagedStateChanged, self._state_changed)
        kernel.defer(self._stop)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return tuple(self._listeners)

    def open(self) -> None:
        """Show the page from now on."""
        self._is_open = True
        self._changed.set()

    async def hand_over(self) -> None:
        """Show it no longer; returns when the ports are free for Core."""
        self._is_open = False
        self._changed.set()
        await self._listen_on(())

    async def _state_changed(self, event: ManagedStateChanged) -> None:
        """Where somebody else has started Core, it needs its port within seconds."""
        if event.plugin == self._kernel.name and event.state in {ContainerState.STARTUP, ContainerState.STARTED}:
            await self.hand_over()

    async def run(self) -> None:
        """Listen while the page is to be shown; ends when it is cancelled."""
        while True:
            self._changed.clear()
            await self._listen_on({self._core.options.port, USUAL_PORT} if self._is_open else ())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if self._is_open else None):
                    await self._changed.wait()

    async def _listen_on(self, ports: Collection[int]) -> None:
        """Listen on these ports, as far as they are free, and on no others."""
        async with self._listening:
            for port in self._listeners.keys() - set(ports):
                for server in self._listeners.pop(port):
                    server.close()
            for port in set(ports) - self._listeners.keys():
                await self._listen(port)
            if self._core.options.port not in ports or self._core.options.port in self._listeners:
                self._kernel.problems.clear(PORT_TAKEN, "core")

    async def _listen(self, port: int) -> None:
        try:
            sockets = _sockets(port)
        except OSError as error:
            log.info("landing_page_not_shown", port=port, reason=str(error))
            if error.errno == errno.EADDRINUSE and port == self._core.options.port:
                self._kernel.problems.report(
                    Problem(
                        PORT_TAKEN,
                        "core",
                        None,
                        f"Somebody else listens on port {port}, which Home Assistant Core wants: end that, or Core "
                        "will not be reached there",
                    )
                )
            return
        self._listeners[port] = [await asyncio.start_server(self._begin, sock=sock) for sock in sockets]
        log.info("landing_page_shown", port=port)

    async def _stop(self) -> None:
        await self.hand_over()
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    # --- one connection ----------------------------------------------------------------------------------------------

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._answers) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        answer = asyncio.get_running_loop().create_task(self._answer(reader, writer), name="landing page")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.partition(b" ")
                path = rest.partition(b" ")[0].partition(b"?")[0]
                writer.write(self._response(method, path))
                await writer.drain()
                writer.write_eof()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GOODBYE_S):
                        while await reader.read(65536):
                            pass
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # it went away, or sent what is no request
        finally:
            writer.transport.abort()

    def _response(self, method: bytes, path: bytes) -> bytes:
        progress = self._installation.progress
        if method not in {b"GET", b"HEAD"}:
            return _http(
                "405 Method Not Allowed", "text/plain", b"Home Assistant is not there yet.\n", "Allow: GET, HEAD"
            )
        if path == STATUS_PATH.encode():
            response = _http("200 OK", "application/json", status(progress, self.ports))
        else:
            response = _http("503 Service Unavailable", "text/html", page(progress), "Retry-After: 10", POLICY)
        return response if method == b"GET" else response[: response.index(b"\r\n\r\n") + 4]


def _http(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    """A whole answer."""
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _sockets(port: int) -> list[socket.socket]:
    """Sockets that listen on a port of all addresses; raises ``OSError``."""
    sockets: list[socket.socket] = []
    try:
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104  # as Core does
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError:
                if family is socket.AF_INET6:  # a kernel without it
                    break
                raise
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.listen(64)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


LANDING_PAGE = Service[LandingPage]("homeassistant.landing_page/1")
