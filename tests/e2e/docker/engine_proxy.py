"""A unix socket between the driver and the real engine, on which the engine can be made to hang or to vanish.

The engine of the machine is shared with other tests, so it is never stopped itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


class EngineProxy:
    """Passes bytes both ways until told otherwise."""

    def __init__(self, path: Path, engine_socket: str) -> None:
        self.url = f"unix://{path}"
        self._path = path
        self._engine_socket = engine_socket
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many lines are open to the driver."""
        return sum(not task.done() for task in self._tasks)

    def hang(self) -> None:
        """Stop passing anything on, as a stopped engine does: connections are accepted, nothing is answered."""
        self._flowing.clear()

    def resume(self) -> None:
        """Go on where :meth:`hang` stopped."""
        self._flowing.set()

    async def vanish(self) -> None:
        """Close every line and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.to_thread(self._path.unlink, missing_ok=True)
        for writer in self._open:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def appear(self) -> None:
        """Listen (again)."""
        self._server = await asyncio.start_unix_server(self._connected, self._path)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._engine_socket)
        self._open |= {writer, engine_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, engine_writer))
                group.create_task(self._pass(engine_reader, writer))
        finally:
            self._open -= {writer, engine_writer}
            for end in (writer, engine_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                await self._flowing.wait()
                writer.write(block)
                await writer.drain()
            writer.write_eof()


@contextlib.asynccontextmanager
async def engine_proxy(path: Path, engine_socket: str) -> AsyncIterator[EngineProxy]:
    """A proxy that listens from the start."""
    proxy = EngineProxy(path, engine_socket)
    await proxy.appear()
    try:
        yield proxy
    finally:
        proxy.resume()
        await proxy.vanish()
