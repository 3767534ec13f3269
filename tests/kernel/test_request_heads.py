"""Heads of requests that come in pieces, are too long, or are no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree import PUBLIC, Plugin, Routes
from rooftree.http.connection import HEAD_BYTES
from rooftree.process.system import System
from rooftree.testing import Client, running_system

routes = Routes()
DEADLINE_S = 10.0
HEAD = b"GET /quick HTTP/1.1\r\nHost: rooftree\r\n"
FIELD = b"X: " + b"y" * 4000 + b"\r\n"
ANSWER = b'{"result":"ok","data":{}}'


@routes.get("/quick", access=PUBLIC)
def quick() -> None: ...


class Quick(Plugin):
    name = "quick"

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Quick]) as system:
        yield system


type Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def line(system: System) -> AsyncIterator[Line]:
    """A connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    yield reader, writer
    writer.close()


async def read_to_its_end(line: Line) -> bytes:
    """What comes until the connection is closed."""
    async with asyncio.timeout(DEADLINE_S):
        return await line[0].read()


async def test_head_that_is_too_long_is_refused_once_and_its_connection_closed(line: Line) -> None:
    head = HEAD + FIELD * (HEAD_BYTES // len(FIELD))
    head += b"X: " + b"y" * (HEAD_BYTES + 1 - len(head) - 3)

    line[1].write(head)

    said = await read_to_its_end(line)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert said.count(b"HTTP/1.1") == 1


async def test_heads_that_come_in_pieces_are_measured_each_by_itself(system: System, line: Line) -> None:
    reader, writer = line
    piece = HEAD + FIELD * 8
    async with Client.over_tcp(system) as other:
        for _ in range(HEAD_BYTES // len(piece) + 1):
            writer.write(piece)
            await other.get("/quick")  # until when the piece was read
            writer.write(b"\r\n")

            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(ANSWER)) == ANSWER


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n"])
async def test_what_comes_after_something_that_is_no_http_is_not_read_and_the_connection_closed(
    line: Line, nonsense: bytes
) -> None:
    line[1].write(nonsense + HEAD + b"\r\n")

    said = await read_to_its_end(line)
    assert said.startswith(b"HTTP/1.0 400 ")
    assert said.count(b"HTTP/1.") == 1
