"""Requests byte by byte, for what clients would normalise or refuse to send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rooftree.process.system import System
from rooftree.testing import Answer

DEADLINE_S = 10


async def exchange(system: System, request: bytes) -> Answer:
    """Send these bytes on a new connection; the first answer that comes, which must have a length."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").strip().split("\r\n")
            headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers["Content-Length"]))
        finally:
            writer.close()
    return Answer(int(status_line.split()[1]), headers, body)


async def send(
    system: System, target: bytes, *, method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    """One request with exactly this target and these headers, on a connection of its own."""
    fields = [("Host", "rooftree"), ("Connection", "close"), *headers]
    if body:
        fields.append(("Content-Length", str(len(body))))
    lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
    return await exchange(system, method.encode() + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + body)
