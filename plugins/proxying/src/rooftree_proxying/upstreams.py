"""Connections to upstreams: made when they are needed, kept for a while for the next request.

A connection is a plain transport: what came is taken as it came, and an upstream that sends faster than it is asked
waits. A request that may be repeated can go on a kept connection; every other gets one of its own, because an upstream
may close a kept one at the moment when it is used, and nobody knew then what became of the request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from rooftree import RooftreeError, Tunnel

CONNECT_S: Final = 10.0
"""Seconds that connecting may take."""
KEPT_S: Final = 15.0
"""Seconds that a connection is kept without being used."""
KEPT: Final = 32
"""How many are kept for one upstream."""
AHEAD_BYTES: Final = 64 * 1024
"""What is read at a time to begin with, and how much may lie here that nobody has taken before reading waits."""
BODY_BYTES: Final = 256 * 1024
"""What is read at a time of a long body."""


class BadGateway(RooftreeError):
    """The upstream can't be reached, or what it answers is no answer."""

    status = 502


@frozen(cache_hash=True)
class Address:
    """Where an upstream listens: :meth:`tcp` or :meth:`unix`."""

    host: str = ""
    port: int = 0
    socket: Path | None = None
    tls: ssl.SSLContext | None = None
    """How its certificate is checked; ``None`` for no TLS."""

    @classmethod
    def tcp(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Self:
        """On a port of a host."""
        return cls(host=host, port=port, tls=tls)

    @classmethod
    def unix(cls, path: Path) -> Self:
        """On a unix socket."""
        return cls(socket=path)

    def __str__(self) -> str:
        return str(self.socket) if self.socket is not None else f"{self.host} port {self.port}"


class UpstreamConnection(asyncio.Protocol):
    """One connection. Who has it reads and writes it alone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._waiter: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._room: asyncio.Future[None] | None = None
        """Done when the upstream takes in more."""
        self._is_waiting = False
        """Whether reading waits for who takes what came."""
        self._failure: BaseException | None = None
        self._tunnel: Tunnel | None = None
        self.transport: asyncio.Transport
        self.has_ended = False
        """Whether nothing more will come."""
        self.is_reused = False
        """Whether an answer has come on it before."""
        self.kept_until = 0.0

    # --- reading ------------------------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing has come that nobody asked for."""
        return not (self._received or self.has_ended or self.transport.is_closing())

    async def receive(self) -> bytes:
        """What came; empty when the upstream has ended. Raises what :meth:`fail` was told."""
        if not self._received and not self.has_ended:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._failure is not None:
            raise self._failure
        received, self._received = self._received, b""
        if self._is_waiting:
            self._is_waiting = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return received

    def tell(self, listener: Callable[[], None] | None) -> None:
        """Tell ``listener`` of whatever comes, and of the end, until it is ``None``; it takes with
        :meth:`take`."""
        self._listener = listener

    def take(self) -> bytes:
        """What came by now."""
        received, self._received = self._received, b""
        return received

    def give_back(self, data: bytes) -> None:
        """It is to be received again, before what comes next."""
        self._received = data + self._received

    def read_more_at_a_time(self) -> None:
        """A long body comes."""
        self.transport.max_size = BODY_BYTES  # type: ignore[attr-defined]  # asyncio's own name for it

    def fail(self, failure: BaseException) -> None:
        """Let whoever receives get this."""
        self._failure = failure
        self._wake()

    # --- writing ------------------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send; returns when the upstream takes in more. Raises ``ConnectionError`` when it has ended."""
        if not self.has_ended:
            self.transport.write(data)
        if self._room is not None:
            await self._room
        if self.has_ended:
            raise ConnectionResetError("the upstream has ended")

    def join(self, tunnel: Tunnel) -> None:
        """What comes is the tunnel's from now on."""
        self._tunnel = tunnel
        self.transport.max_size = AHEAD_BYTES  # type: ignore[attr-defined]  # as above
        if self._received:
            received, self._received = self._received, b""
            tunnel.send(received)
        if self._room is not None:
            tunnel.pause()
        if self.has_ended:
            tunnel.close()

    # --- told by the transport ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.max_size = AHEAD_BYTES  # type: ignore[attr-defined]  # as above

    def data_received(self, data: bytes) -> None:
        """Keep what came until somebody takes it."""
        if self._tunnel is not None:
            self._tunnel.send(data)
            return
        self._received = self._received + data if self._received else data
        if self._listener is not None:
            self._listener()
        elif self._waiter is not None:
            self._wake()
        elif len(self._received) >= AHEAD_BYTES and not self._is_waiting:
            self._is_waiting = True
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes."""
        self.has_ended = True
        self._wake()
        if self._listener is not None:
            self._listener()
        self.resume_writing()
        if self._tunnel is not None:
            self._tunnel.close()

    def pause_writing(self) -> None:
        """The upstream does not take in what is sent."""
        self._room = self._loop.create_future()
        if self._tunnel is not None:
            self._tunnel.pause()

    def resume_writing(self) -> None:
        """It does again."""
        room, self._room = self._room, None
        if room is not None:
            if not room.done():
                room.set_result(None)
            if self._tunnel is not None:
                self._tunnel.resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


type NewSocket = Callable[[], Awaitable[socket.socket | None]]


class Upstreams:
    """The connections that a plugin has to its upstreams. Close it when the plugin stops: ``kernel.defer(close)``.

    :param new_socket: makes the sockets that connect over TCP, for what has to come from somewhere; where it gives
        ``None``, they are made as ever
    """

    def __init__(self, new_socket: NewSocket | None = None) -> None:
        self._new_socket = new_socket
        self._kept: defaultdict[Address, deque[UpstreamConnection]] = defaultdict(deque)
        self._tidying: asyncio.TimerHandle | None = None

    async def connect(self, address: Address, *, anew: bool = False) -> UpstreamConnection:
        """A connection: one that was kept, unless it has to be ``anew``. Raises :class:`BadGateway`."""
        kept = None if anew else self.kept(address)
        if kept is not None:
            return kept
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_S):
                if address.socket is not None:
                    _, connection = await loop.create_unix_connection(UpstreamConnection, str(address.socket))
                else:
                    connection = await self._connect_by_tcp(address)
                    _ask_whether_there(connection)
        except (OSError, TimeoutError) as error:
            raise BadGateway(f"Nothing answers at {address}: {str(error) or 'it takes too long'}") from error
        return connection

    async def _connect_by_tcp(self, address: Address) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        line = await self._new_socket() if self._new_socket is not None else None
        if line is None:
            _, connection = await loop.create_connection(
                UpstreamConnection, address.host, address.port, ssl=address.tls
            )
            return connection
        try:
            await loop.sock_connect(line, (address.host, address.port))
            name = address.host if address.tls is not None else None
            _, connection = await loop.create_connection(
                UpstreamConnection, sock=line, ssl=address.tls, server_hostname=name
            )
        except BaseException:
            line.close()
            raise
        return connection

    def kept(self, address: Address) -> UpstreamConnection | None:
        """A connection that was kept, if there is one."""
        kept = self._kept.get(address)
        while kept:
            connection = kept.pop()
            if connection.is_quiet:
                connection.is_reused = True
                return connection
            connection.transport.abort()
        return None

    def keep(self, address: Address, connection: UpstreamConnection) -> None:
        """An answer on it is over, and another may follow."""
        kept = self._kept[address]
        connection.transport.max_size = AHEAD_BYTES  # type: ignore[attr-defined]  # as above
        connection.kept_until = time.monotonic() + KEPT_S
        kept.append(connection)
        if len(kept) > KEPT:
            kept.popleft().transport.abort()
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(KEPT_S, self._tidy)

    def close(self) -> None:
        """Close those that are kept."""
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for kept in self._kept.values():
            for connection in kept:
                connection.transport.abort()
        self._kept.clear()

    def _tidy(self) -> None:
        """Close those that were not used for long."""
        for address, kept in tuple(self._kept.items()):
            while kept and (kept[0].kept_until <= time.monotonic() or not kept[0].is_quiet):
                kept.popleft().transport.abort()
            if not kept:
                del self._kept[address]
        self._tidying = asyncio.get_running_loop().call_later(KEPT_S, self._tidy) if self._kept else None


def _ask_whether_there(connection: UpstreamConnection) -> None:
    """Notice an upstream that has gone without a word, such as a machine that was switched off."""
    line: socket.socket | None = connection.transport.get_extra_info("socket")
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            line.setsockopt(socket.IPPROTO_TCP, option, value)
