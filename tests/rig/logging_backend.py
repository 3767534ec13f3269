"""A server that writes down what it is sent, and answers what it is asked to: ``python logging_backend.py PORT LOG``.

Each connection is read as strictly as HTTP can be read. A line of the log is one JSON object: a ``request`` (method,
target, fields, body; before it, that it has ``begun``), ``garbage`` that is no request, a body that was ``cut`` off, or
the ``end`` of a connection. What a request's query names ``answer`` is sent back as it is; ``close`` ends the
connection behind it, ``hold`` keeps it open without a word more, ``hasty`` answers before the body is read, ``deaf``
never looks at it; ``mib`` adds so many MiB to the answer, of all bytes in turn. It needs nothing but the standard
library.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs

FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*")
KEPT_BYTES = 4096
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Garbage(Exception):
    """What came is no request."""


def parse(head: bytes) -> tuple[str, str, list[tuple[str, str]]]:
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = re.fullmatch(rb"([A-Z]+) (/\S*) HTTP/1\.1", line)
    fields = [FIELD.fullmatch(text) for text in lines]
    if match is None or None in fields:
        raise Garbage
    return match[1].decode(), match[2].decode("latin-1"), [(f[1].decode(), f[2].decode("latin-1")) for f in fields if f]


async def body_of(reader: asyncio.StreamReader, fields: list[tuple[str, str]]) -> dict[str, object]:
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]):
        raise Garbage
    digest, size, kept = hashlib.sha256(), 0, b""

    def take(piece: bytes) -> None:
        nonlocal size, kept
        digest.update(piece)
        size += len(piece)
        kept += piece[: KEPT_BYTES - len(kept)]

    if lengths:
        missing = int(lengths[0])
        while missing:
            piece = await reader.read(min(missing, 1 << 20))
            if not piece:
                raise asyncio.IncompleteReadError(b"", missing)
            take(piece)
            missing -= len(piece)
    while codings:
        chunk = int((await reader.readuntil(b"\r\n"))[:-2], 16)
        take(await reader.readexactly(chunk))
        if await reader.readexactly(2) != b"\r\n":
            raise Garbage
        if not chunk:
            break
    return {"size": size, "sha256": digest.hexdigest(), "body": kept.decode("latin-1")}


class Backend:
    def __init__(self, log: Path) -> None:
        self._log = log.open("a", buffering=1)
        self._connections = 0

    def note(self, **fact: object) -> None:
        self._log.write(json.dumps(fact) + "\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        with contextlib.suppress(ConnectionError):
            try:
                while await self._exchange(number, reader, writer):
                    pass
            except (Garbage, ValueError, asyncio.LimitOverrunError):
                self.note(connection=number, garbage=True)
            except asyncio.IncompleteReadError:
                self.note(connection=number, cut=True)
        self.note(connection=number, end=True)
        writer.close()

    async def _exchange(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Garbage from None
            return False
        method, target, fields = parse(head)
        self.note(connection=number, begun=target)
        asked = parse_qs(target.partition("?")[2], keep_blank_values=True, encoding="latin-1")
        answer = asked.get("answer", [OK.decode()])[0].encode("latin-1")
        if "hasty" in asked or "deaf" in asked:
            writer.write(answer)
        body = {} if "deaf" in asked else await body_of(reader, fields)
        self.note(connection=number, method=method, target=target, fields=fields, **body)
        if "deaf" in asked:
            await reader.read()
            return False
        if "hasty" not in asked:
            writer.write(answer)
        piece = bytes(range(256)) * 4096
        for _ in range(int(asked.get("mib", ["0"])[0])):
            writer.write(piece)
            await writer.drain()
        await writer.drain()
        if "hold" in asked:
            await reader.read()
            return False
        return "close" not in asked


async def main(port: str, log: str) -> None:
    backend = Backend(Path(log))
    server = await asyncio.start_server(backend.serve, "127.0.0.1", int(port), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
