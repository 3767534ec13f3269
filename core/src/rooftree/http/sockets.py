"""What sockets are told that listen, and with whom the connections are that they take."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from rooftree.principal import Principal, Role

UNSENT_BYTES = 128 * 1024
"""Bytes of answers that lie in the kernel for a client that does not take them (tcp(7) has no word for it: the socket
option ``TCP_NOTSENT_LOWAT``)."""
SILENT_S = 60
"""Seconds without a packet after which the kernel asks a client whether it is there."""
ASKED_EVERY_S = 15
ASKED_TIMES = 4
"""How often it asks, and how many times, before the connection counts as lost."""
ACCEPTED_PER_TURN = 16
"""Connections that are taken in one turn of the loop."""
BACKLOG = 1024
"""Connections that wait in the kernel to be taken."""
_PEER: Final = struct.Struct("3i")  # struct ucred, unix(7): pid, uid, gid


def bound_unsent(listening: socket.socket) -> None:
    """Let little lie in the kernel for clients who do not read; the connections that are taken inherit it."""
    if listening.family in {socket.AF_INET, socket.AF_INET6}:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def miss_the_lost(listening: socket.socket) -> None:
    """Ask clients of whom nothing is heard whether they are there; the connections that are taken inherit it. One that
    left while it had more to send than is read says goodbye behind that, which so never comes."""
    if listening.family in {socket.AF_INET, socket.AF_INET6}:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, SILENT_S),
            (socket.TCP_KEEPINTVL, ASKED_EVERY_S),
            (socket.TCP_KEEPCNT, ASKED_TIMES),
        ):
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


async def stop_taking(listening: Iterable[socket.socket]) -> None:
    """Take no more connections there. Their server may be closed then, and not before: asyncio forgets a connection
    that it has just taken when its server is closed, and who sent a request on it waits for ever."""
    loop = asyncio.get_running_loop()
    for accepting in listening:
        loop.remove_reader(accepting)
    await asyncio.sleep(0)  # what was taken is handed to the server in the next turn of the loop


def peer_address(peer: object) -> str | None:
    """The address in what a socket calls its peer: IPv4 as it is, also where it came to an IPv6 socket."""
    if not isinstance(peer, tuple):
        return None
    address = ip_address(str(peer[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def has_hung_up(line: asyncio.Transport) -> bool:
    """Whether the peer of a connection hung up while nothing is read from it."""
    if line.is_reading() or line.is_closing():
        return False
    looked_at = select.poll()
    looked_at.register(line.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(looked_at.poll(0))


def bound_unix(path: Path) -> socket.socket:
    """A socket that listens there, for the daemon's user and group. Blocks: called in a thread."""
    path.unlink(missing_ok=True)  # ours: at the top of the data folder, or where the operator says
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o660)  # before it listens: nobody can have connected yet  # ours: made in the line above
        bound.listen(128)
    except BaseException:
        bound.close()
        raise
    return bound


def administrator(request: web.BaseRequest) -> Principal | None:
    """The administrator behind a unix socket, if it is one (SO_PEERCRED, socket(7))."""
    if request.transport is None:
        return None
    connection = request.transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Principal("local", str(uid), Role.ADMIN) if uid in {0, os.getuid()} else None
