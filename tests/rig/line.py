"""A line to a server on loopback that can be slow or held, so that a test looks at a transfer in its middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

BLOCK = 16 * 1024


class Line:
    """Passes bytes both ways; what the server sends can be slowed down, or held back."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.speed: float | None = None
        """Bytes a second of what the server sends on one connection; ``None`` is as fast as it goes."""
        self.connections = 0
        """How many there have been."""
        self._left: int | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._held = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def hold_after(self, sent_bytes: int) -> None:
        """From now on pass on that much of what the server sends, then nothing until :meth:`release`."""
        self._left = sent_bytes
        self._held.clear()

    async def held(self, within_s: float = 20.0) -> None:
        """Wait until there is something that is held back."""
        async with asyncio.timeout(within_s):
            await self._held.wait()

    def release(self) -> None:
        """Let everything flow, as fast as it goes."""
        self._left = self.speed = None
        self._flowing.set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        self.connections += 1
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        asked = asyncio.create_task(_pass(reader, server_writer))
        try:
            with contextlib.suppress(OSError):
                while block := await server_reader.read(BLOCK):
                    await self._permit(len(block))
                    writer.write(block)
                    await writer.drain()
        finally:
            asked.cancel()
            for end in (writer, server_writer):
                end.close()
            await asyncio.wait([asked])

    async def _permit(self, size: int) -> None:
        if self.speed is not None:
            await asyncio.sleep(size / self.speed)
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                self._flowing.clear()
                self._held.set()
        await self._flowing.wait()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()


@contextlib.asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """A line to that loopback port, open until the block ends."""
    line = Line(port)
    server = await asyncio.start_server(line.connected, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.release()
        await line.close()
