"""The network of a computer beside this machine, for a browser: the machine's interfaces come and go, as containers do
and as tests change them, and Chromium gives up whatever it loads each time one of its own does.

Where nobody listens on the machine, a connection is closed without an answer, and not refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable
from functools import partial

import aiohttp

from tests.rig.namespaces import in_namespace_of

LOOPBACK = "127.0.0.1"
SET_UP = 'ip link set lo up; exec "$0" "$@"'
BESIDE = ("unshare", "--net", "sh", "-ec", SET_UP)
"""What a command is preceded by to run in such a network; root's alone."""
CHUNK = 65536


def connector_to(process: int) -> aiohttp.TCPConnector:
    """Connects to what listens in the network of ``process``, which was started by :data:`BESIDE`."""

    def connecting(address: tuple[int, int, int, str, object]) -> socket.socket:
        return in_namespace_of(process, lambda: socket.socket(*address[:3]))

    return aiohttp.TCPConnector(socket_factory=connecting)


@contextlib.asynccontextmanager
async def reaching(process: int, ports: Iterable[int]) -> AsyncIterator[None]:
    """Inside the block those ports of our loopback are of its loopback, too."""
    async with contextlib.AsyncExitStack() as stack:
        for port in ports:
            listener = in_namespace_of(process, partial(socket.create_server, (LOOPBACK, port)))
            server = await asyncio.start_server(partial(_connect, port), sock=listener)
            stack.callback(server.close_clients)
            stack.callback(server.close)
        yield


async def _connect(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry over what the two ends say, until one of them is gone."""
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        there, back = await asyncio.open_connection(LOOPBACK, port)
        with contextlib.closing(back):
            await asyncio.gather(_carry(reader, back), _carry(there, writer))


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while content := await source.read(CHUNK):
        target.write(content)
        await target.drain()
    target.write_eof()
