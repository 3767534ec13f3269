"""Answers that are sent as they come."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rooftree import PUBLIC, Kernel, NotFound, Plugin, Routes, Service, Stream, Unavailable
from rooftree.http import binding
from rooftree.testing import Client, running_system

routes = Routes()
DEADLINE_S = 5


class Source:
    """Where the streams of a test come from: the test says when something comes, and sees when they are closed."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.kept: list[AsyncIterator[bytes]] = []

    async def stream(self) -> AsyncIterator[bytes]:
        self.opened.set()
        try:
            while True:
                chunk = await self.chunks.get()
                if chunk is None:
                    return
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self.closed.set()


SOURCE = Service[Source]("source/1")


@routes.get("/follow", access=PUBLIC)
async def follow(source: Source) -> Stream:
    return Stream(source.stream(), "text/x-log", {"X-First": "yes"})


@routes.get("/kept", access=PUBLIC)
async def kept(source: Source) -> Stream:
    return Stream(source.kept[0])


@routes.get("/missing", access=PUBLIC)
async def missing() -> Stream:
    raise NotFound("There is no such log")


class Bare:
    """An iterator that cannot be closed."""

    def __init__(self) -> None:
        self.left = [b"a", b"b"]

    def __aiter__(self) -> Bare:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


@routes.get("/bare", access=PUBLIC)
async def bare() -> Stream:
    return Stream(Bare())


@routes.get("/flood", access=PUBLIC)
async def flood(source: Source) -> Stream:
    async def forever() -> AsyncIterator[bytes]:
        try:
            source.opened.set()
            while True:
                yield b"x" * 65536
        finally:
            source.closed.set()

    source.kept = [forever()]  # so that nobody but the kernel closes it
    return Stream(source.kept[0])


class Streams(Plugin):
    name = "streams"
    provides = (SOURCE,)

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(SOURCE, Source())


@pytest.fixture
async def source_and_client(tmp_path: Path) -> AsyncIterator[tuple[Source, Client]]:
    async with (
        asyncio.timeout(DEADLINE_S),
        running_system(tmp_path, plugins=[Streams]) as system,
        Client.over_tcp(system) as client,
    ):
        yield system.services.get(SOURCE), client


type Both = tuple[Source, Client]


async def test_chunks_arrive_as_they_come(source_and_client: Both) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(b"one")

    async with client.streaming("GET", "/follow") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/x-log")
        assert response.headers["X-First"] == "yes"
        assert await response.content.readany() == b"one"
        source.chunks.put_nowait(b"two")
        assert await response.content.readany() == b"two"
        source.chunks.put_nowait(None)
        assert await response.read() == b""

    await source.closed.wait()


async def test_headers_are_sent_while_the_first_chunk_is_still_to_come(
    source_and_client: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "FIRST_CHUNK_S", 0.01)
    source, client = source_and_client

    async with client.streaming("GET", "/follow") as response:
        assert response.status == 200
        source.chunks.put_nowait(b"late")
        assert await response.content.readany() == b"late"


async def test_stream_may_be_empty(source_and_client: Both) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(None)

    answer = await client.get("/follow")

    assert (answer.status, answer.body) == (200, b"")


async def test_iterator_that_cannot_be_closed_is_sent_whole(source_and_client: Both) -> None:
    _, client = source_and_client

    assert (await client.get("/bare")).body == b"ab"


@pytest.mark.parametrize("path", ["/follow", "/missing"])
async def test_error_before_the_first_chunk_is_a_proper_answer(source_and_client: Both, path: str) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(NotFound("There is no such log"))

    answer = await client.get(path)

    assert (answer.status, answer.text) == (404, "There is no such log")


@pytest.mark.parametrize("error", [Unavailable("The container has gone"), RuntimeError("a bug"), TimeoutError()])
async def test_error_later_breaks_the_body_off_so_that_it_does_not_look_whole(
    source_and_client: Both, error: Exception
) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(b"one")
    source.chunks.put_nowait(error)

    with pytest.raises(aiohttp.ClientPayloadError):
        await client.get("/follow")

    await source.closed.wait()
    source.chunks.put_nowait(None)
    assert (await client.get("/follow")).status == 200


async def test_client_that_goes_while_nothing_comes_closes_the_iterator(source_and_client: Both) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(b"one")

    async with client.streaming("GET", "/follow") as response:
        await response.content.readany()

    await source.closed.wait()


async def test_client_that_goes_before_the_headers_closes_the_iterator(source_and_client: Both) -> None:
    source, client = source_and_client
    call = asyncio.create_task(client.get("/follow"))
    await source.opened.wait()

    call.cancel()

    await source.closed.wait()


async def test_client_that_goes_amid_a_flood_closes_the_iterator(source_and_client: Both) -> None:
    source, client = source_and_client

    async with client.streaming("GET", "/flood") as response:
        await response.content.readexactly(1_000_000)

    await source.closed.wait()


@pytest.mark.parametrize("last", [b"two", b"x" * 1_000_000], ids=["a line", "much"])
@pytest.mark.parametrize("ended", [True, False], ids=["at its end", "amid it"])
async def test_client_that_leaves_a_stream_early_is_nothing_to_tell_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, last: bytes, ended: bool
) -> None:
    caplog.set_level("DEBUG")
    async with asyncio.timeout(DEADLINE_S), running_system(tmp_path, plugins=[Streams]) as system:
        source = system.services.get(SOURCE)
        source.chunks.put_nowait(b"one")
        with socket.create_connection(("127.0.0.1", system.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, b"GET /follow HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"one" not in await loop.sock_recv(client, 4096):
                pass
            caplog.clear()
        # In one turn of the loop: the connection is reset, and what comes is sent before anybody has noticed.
        source.chunks.put_nowait(last)
        if ended:
            source.chunks.put_nowait(None)
        await source.closed.wait()
        await asyncio.sleep(0)

    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG" or record.exc_info] == []


async def test_iterator_is_closed_even_where_somebody_else_keeps_it(source_and_client: Both) -> None:
    source, client = source_and_client
    kept = source.kept = [source.stream()]

    async with client.streaming("GET", "/kept") as response:
        source.chunks.put_nowait(b"one")
        await response.content.readany()
        source.chunks.put_nowait(b"two")

    await source.closed.wait()
    assert [chunk async for chunk in kept[0]] == []


async def test_client_that_reads_nothing_is_not_buffered_for_without_end(source_and_client: Both) -> None:
    source, client = source_and_client
    total = 1000
    source.chunks.put_nowait(b"x")
    async with client.streaming("GET", "/follow"):
        for _ in range(total):
            source.chunks.put_nowait(b"x" * 65536)
            await asyncio.sleep(0)
        left = source.chunks.qsize()

    assert left > total / 2, f"{total - left} chunks of 64 KB were taken for a client that reads nothing"


async def test_head_of_a_stream_has_no_body_and_closes_the_iterator(source_and_client: Both) -> None:
    source, client = source_and_client
    source.chunks.put_nowait(b"one")

    answer = await client.request("HEAD", "/follow")

    assert (answer.status, answer.body) == (200, b"")
    await source.closed.wait()
    assert (await client.get("/bare")).body == b"ab"


async def test_stream_that_would_never_end_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    # A request without an end would be waited for longer than this test may take.
    async with asyncio.timeout(DEADLINE_S / 2), running_system(tmp_path, plugins=[Streams]) as system:
        source = system.services.get(SOURCE)
        source.chunks.put_nowait(b"one")
        async with Client.over_tcp(system) as client, client.streaming("GET", "/follow") as response:
            assert await response.content.readany() == b"one"
            await system.stop()
            await source.closed.wait()
            with pytest.raises(aiohttp.ClientError):
                await response.read()
