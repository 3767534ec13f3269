"""Somebody who listens on Core's port, and says little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def listening(port: int, says: bytes) -> AsyncIterator[None]:
    """Somebody who listens there as Core does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (len(says), says)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", port)  # as Core does
    try:
        yield
    finally:
        server.close()
