"""The page on Core's port until Core is there: how far its install is, what went wrong, how to go on by hand.

It is open to everybody on the network, so there is little to it. Each connection gets one answer within seconds; of
what it sent only the method and the path are looked at, no header and no body. Whatever the path, it is the same page,
or the same facts as JSON. Nothing of a request comes back in an answer or is passed on, and nothing is changed by it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from attrs import define

from rooftree import Kernel, Problem, Service
from rooftree.http import stop_taking
from rooftree_containers import ContainerState
from rooftree_containers.standing import ManagedStateChanged
from rooftree_homeassistant.home_assistant import HomeAssistant
from rooftree_homeassistant.installation import Installation
from rooftree_homeassistant.landing_view import POLICY, STATUS_PATH, page, status
from rooftree_homeassistant.port_lead import STAYS_S, LeadImpossible, PortLead, listening_ports
from rooftree_homeassistant.whereabouts import CoreMoved

log = structlog.get_logger(__name__)

USUAL_PORT: Final = 8123
"""Where people look for Core, whatever its port is."""
PORT_TAKEN: Final = "core_port_taken"
"""The type of the problem that says that somebody else listens on Core's port."""
LOOK_S: Final = 10.0
"""Seconds between looks whether a port that was taken is free."""
LEADS_S: Final = 900.0
"""Seconds after which a Core that was started is no longer waited for."""
LEAD_LOOK_S: Final = 0.1
"""Seconds between looks whether it listens: so long at most it is there and not seen."""
ANSWER_S: Final = 10.0
"""Seconds that a connection may take in all."""
_ARRIVES_S: Final = 0.1
"""Seconds within which a connection is taken that came before a rule changed."""
_GOODBYE_S: Final = 1.0
"""Seconds that a client may go on sending after it was answered: closed at once, it could lose the answer."""
MOST_CONNECTIONS: Final = 100
"""At once; the next is closed."""


@define
class _Lead:
    """Who comes to these ports is led to the page while Core starts."""

    ports: tuple[int, ...]
    servers: list[asyncio.Server]
    renewed: float
    """On the monotonic clock."""
    until: float


class LandingPage:
    """Listens on Core's port, and on the usual one, from :meth:`open` until Core is to have them; whoever comes there
    while Core starts is still shown the page, where this machine can do that."""

    def __init__(self, kernel: Kernel, core: HomeAssistant, installation: Installation) -> None:
        self._kernel = kernel
        self._core = core
        self._installation = installation
        self._rule = PortLead(kernel.data.instance_id[:12])
        self._listeners: dict[int, list[asyncio.Server]] = {}
        self._lead: _Lead | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._changed = asyncio.Event()
        self._settling, self._leading = asyncio.Lock(), asyncio.Lock()
        kernel.on(ManagedStateChanged, self._state_changed)
        kernel.on(CoreMoved, self._moved)
        kernel.defer(self._stop)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it is shown."""
        return self._lead.ports if self._lead is not None else tuple(self._listeners)

    @property
    def is_open(self) -> bool:
        """Whether the ports are to be ours."""
        return self._is_open

    def open(self) -> None:
        """Show the page from now on."""
        self._is_open = True
        self._changed.set()

    async def hand_over(self) -> None:
        """Leave the ports to Core, which is started next; returns when they are free."""
        self._is_open = False
        await self._settle(lead=True)
        self._changed.set()

    async def _state_changed(self, event: ManagedStateChanged) -> None:
        if event.plugin != self._kernel.name:
            return
        if event.state in {ContainerState.STARTUP, ContainerState.STARTED}:
            await self.hand_over()  # whoever has started it, it needs its port within seconds
        elif event.state in {ContainerState.STOPPED, ContainerState.ERROR}:
            await self._end_lead()

    def _moved(self, _: CoreMoved) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Show the page while it is to be shown; ends when it is cancelled."""
        with suppress(LeadImpossible):
            await self._rule.end()  # what a kill may have left
        while True:
            self._changed.clear()
            await self._settle()
            await self._look_at_lead()
            pause_s = LOOK_S if self._is_open else LEAD_LOOK_S if self._lead is not None else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _stop(self) -> None:
        self._is_open = False
        await self._settle()
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self._end_lead(at_once=True)

    # --- where it listens --------------------------------------------------------------------------------------------

    async def _settle(self, *, lead: bool = False) -> None:
        """Listen on the ports that are to be listened on, as far as they are free, and on no others.

        :param lead: whether who comes to those that are left is led to the page
        """
        async with self._settling:
            ports = {self._core.options.port, USUAL_PORT} if self._is_open else set()
            if lead and self._listeners and not ports:
                await self._begin_lead()
            for port in self._listeners.keys() - ports:
                await _close(self._listeners.pop(port))
            for port in ports - self._listeners.keys():
                await self._listen(port)
            if self._core.options.port not in ports or self._core.options.port in self._listeners:
                self._kernel.problems.clear(PORT_TAKEN, "core")

    async def _listen(self, port: int) -> None:
        try:
            self._listeners[port] = await self._serve(_sockets(port))
        except OSError as error:
            log.info("landing_page_not_shown", port=port, reason=str(error))
            if error.errno == errno.EADDRINUSE and port == self._core.options.port:
                sentence = (
                    f"Somebody else listens on port {port}, which Home Assistant Core wants: end that, or Core will "
                    "not be reached there"
                )
                self._kernel.problems.report(Problem(PORT_TAKEN, "core", None, sentence))
        else:
            log.info("landing_page_shown", port=port)

    async def _serve(self, sockets: list[socket.socket]) -> list[asyncio.Server]:
        return [await asyncio.start_server(self._begin, sock=sock) for sock in sockets]

    # --- while Core starts -------------------------------------------------------------------------------------------

    async def _begin_lead(self) -> None:
        """Lead who comes to the ports to another of ours, from before they are left."""
        ports, servers, now = tuple(self._listeners), list[asyncio.Server](), self._kernel.clock.monotonic()
        try:
            sockets = _sockets(0)
            servers = await self._serve(sockets)
            await self._rule.begin(ports, sockets[0].getsockname()[1])
        except (OSError, LeadImpossible) as error:
            await _close(servers)
            log.info("landing_page_not_shown_while_core_starts", reason=str(error))
        else:
            self._lead = _Lead(ports, servers, now, now + LEADS_S)
            await asyncio.sleep(_ARRIVES_S)

    async def _look_at_lead(self) -> None:
        """End it once Core listens, or does not come; renew it in time."""
        lead, now = self._lead, self._kernel.clock.monotonic()
        if lead is None:
            return
        listening = await asyncio.to_thread(listening_ports)
        if self._is_open or listening & {*lead.ports, self._core.options.port} or now >= lead.until:
            await self._end_lead()
        elif now - lead.renewed >= STAYS_S / 3:
            lead.renewed = now
            with suppress(LeadImpossible):  # it ends by itself
                await self._rule.renew(lead.ports)

    async def _end_lead(self, *, at_once: bool = False) -> None:
        """Lead nobody any more; who was led is answered, unless all ends at once."""
        async with self._leading:
            if self._lead is None:
                return
            with suppress(LeadImpossible, TimeoutError):  # it ends by itself
                await self._rule.pause()
                async with asyncio.timeout(0 if at_once else ANSWER_S):
                    await asyncio.sleep(_ARRIVES_S)
                    while self._answers:
                        await asyncio.wait(self._answers)
            await _close(self._lead.servers)
            with suppress(LeadImpossible):
                await self._rule.end()
            log.info("landing_page_gone", ports=self._lead.ports)
            self._lead = None

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
    """Sockets that listen on a port of all addresses, 0 for any that is free; raises ``OSError``."""
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
            sock.bind((address, port or (sockets[0].getsockname()[1] if len(sockets) > 1 else 0)))
            sock.listen(64)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _close(servers: Sequence[asyncio.Server]) -> None:
    """Close them; who was taken by then is answered."""
    await stop_taking(listening for server in servers for listening in server.sockets)
    for server in servers:
        server.close()


LANDING_PAGE = Service[LandingPage]("homeassistant.landing_page/1")
