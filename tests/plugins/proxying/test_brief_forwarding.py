"""Requests that are passed on without a task, and how they go the long way when they turn out not to be brief."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from rooftree.process.system import System
from rooftree_proxying import Address
from tests.plugins.proxying.conftest import Targets
from tests.plugins.proxying.test_forwarding import asking, every_kind_of_answer
from tests.rig.backends import DEADLINE_S, Backend, Line

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(path: bytes) -> bytes:
    return b"GET /briefly/" + path + b" HTTP/1.1\r\nHost: h\r\nCookie: guest_session=open-sesame\r\n\r\n"


class Upstream:
    """A server that answers each request as the test says, by what its path begins with."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.pieces: dict[str, list[bytes | asyncio.Event]] = {}
        """What is sent for a path, and what is waited for in between."""
        self._serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.put_nowait(path)
                for piece in self.pieces.get(path, [OK]):
                    if isinstance(piece, bytes):
                        writer.write(piece)
                    else:
                        await piece.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.transport.abort()

    async def stop(self) -> None:
        for task in filter(None, self._serving):
            task.cancel()
        await asyncio.wait(filter(None, self._serving))

    async def request(self) -> str:
        async with asyncio.timeout(DEADLINE_S):
            return await self.asked.get()


@pytest.fixture
async def upstream(targets: Targets) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0) as server:
        targets.addresses["here"] = Address.tcp(*server.sockets[0].getsockname())
        yield upstream
        await upstream.stop()


@pytest.fixture
async def line(system: System, targets: Targets, backend: Backend, upstream: Upstream) -> AsyncIterator[Line]:
    """A connection on which the paths ``x`` of both servers were asked for already, and have answered."""
    targets.addresses["log"] = Address.tcp("127.0.0.1", backend.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    line = Line(reader, writer)
    for path in (b"log/x", b"here/x"):
        line.send(get(path))
        assert b" 200 OK" in await line.head()
        await line.take(2)
    await upstream.request()
    backend.log.write_text("")
    targets.served.clear()
    yield line
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_whole_answer_needs_nobody_who_waits_for_it(line: Line, targets: Targets, backend: Backend) -> None:
    for number in range(3):
        line.send(get(b"log/x?%d" % number))
        assert await line.head() + await line.take(2) == OK

    assert [request["target"] for request in backend.requests()] == ["/x?0", "/x?1", "/x?2"]
    assert targets.served == []


@every_kind_of_answer
async def test_answer_of_every_kind_comes_as_it_does_the_long_way(
    line: Line, answer: bytes, options: tuple[str, ...], expected: bytes
) -> None:
    for _ in range(2):
        line.send(get(asking(answer, *options).removeprefix(b"/to/")))
        head = await line.head()
        body = expected.partition(b"\r\n\r\n")[2]
        received = head.partition(b"\r\n")[2] + await line.take(len(body))
        assert received.replace(b"3\r\nabc\r\n2\r\nde\r\n", b"5\r\nabcde\r\n") == expected


async def test_what_is_no_answer_is_bad_gateway(line: Line) -> None:
    line.send(get(asking(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx").removeprefix(b"/to/")))
    assert (await line.head()).startswith(b"HTTP/1.1 502 ")


async def test_answer_in_pieces_goes_the_long_way_and_is_asked_for_once(
    line: Line, targets: Targets, upstream: Upstream
) -> None:
    more = asyncio.Event()
    upstream.pieces["/x"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha", more, b"lf"]
    line.send(get(b"here/x"))
    assert b"Content-Length: 4" in await line.head()
    assert await line.take(2) == b"ha"
    more.set()
    assert await line.take(2) == b"lf"

    assert (await upstream.request(), upstream.asked.empty(), targets.served) == ("/x", True, ["x"])


async def test_answer_that_lets_itself_be_waited_for_goes_the_long_way_and_is_asked_for_once(
    line: Line, targets: Targets, upstream: Upstream
) -> None:
    more = asyncio.Event()
    upstream.pieces["/x"] = [more, OK]
    line.send(get(b"here/x"))
    await until(lambda: targets.served)
    more.set()
    line.send(get(b"here/y"))
    for _ in range(2):
        assert await line.head() + await line.take(2) == OK

    assert [await upstream.request(), await upstream.request(), upstream.asked.empty()] == ["/x", "/y", True]


async def test_requests_that_come_meanwhile_are_answered_in_order_and_none_twice(
    line: Line, targets: Targets, upstream: Upstream
) -> None:
    more = asyncio.Event()
    upstream.pieces["/x"] = [more, OK.replace(b"ok", b"1.")]
    line.send(get(b"here/x"))
    assert await upstream.request() == "/x"
    line.send(get(b"here/y") + get(b"here/z"))
    await until(lambda: targets.served)
    more.set()
    assert [(await line.head(), await line.take(2))[1] for _ in range(3)] == [b"1.", b"ok", b"ok"]

    assert [await upstream.request(), await upstream.request(), upstream.asked.empty()] == ["/y", "/z", True]


async def test_upstream_that_hung_up_is_asked_again(line: Line, targets: Targets, upstream: Upstream) -> None:
    for kept in targets.upstreams._kept.values():
        for connection in kept:
            connection.transport.write(b"this is no request, and ends the connection\r\n\r\n")
    line.send(get(b"here/x"))
    assert b" 200 OK" in await line.head()


async def test_request_of_a_client_that_has_gone_ends_at_the_upstream(line: Line, upstream: Upstream) -> None:
    upstream.pieces["/x"] = [b"HTTP/1.1 200 OK\r\n"]
    line.send(get(b"here/x"))
    assert await upstream.request() == "/x"
    line.writer.close()
    async with asyncio.timeout(1):
        await upstream.ended.wait()


async def test_session_that_ends_meanwhile_ends_the_request(line: Line, targets: Targets, upstream: Upstream) -> None:
    upstream.pieces["/x"] = [b"HTTP/1.1 200 OK\r\n"]
    line.send(get(b"here/x"))
    assert await upstream.request() == "/x"
    targets.sessions.clear()
    async with asyncio.timeout(1.5):
        assert (await line.head()).startswith(b"HTTP/1.1 401 ")
        await upstream.ended.wait()


async def test_plugin_that_stops_meanwhile_ends_the_request(line: Line, system: System, upstream: Upstream) -> None:
    upstream.pieces["/x"] = [asyncio.Event()]
    line.send(get(b"here/x"))
    assert await upstream.request() == "/x"
    await system.plugins.disable("proxy")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await line.head()


async def test_client_that_reads_late_gets_all_answers_in_order(system: System, line: Line, upstream: Upstream) -> None:
    size, count = 60_000, 150
    upstream.pieces = {
        f"/x?{n}": [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"%03d" % n * (size // 3)]
        for n in range(count)
    }
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.setblocking(False)
    await asyncio.get_running_loop().sock_connect(lazy, ("127.0.0.1", system.port))
    for number in range(count):  # the server waits for its client sooner or later, and asks for no more then
        await asyncio.get_running_loop().sock_sendall(lazy, get(b"here/x?%d" % number))
        try:
            async with asyncio.timeout(1):
                await upstream.asked.get()
        except TimeoutError:
            break
    assert 0 < number < count - 1
    reader, writer = await asyncio.open_connection(sock=lazy)
    for n in range(number + 1):
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(size) == b"%03d" % n * (size // 3)
    writer.close()
    await writer.wait_closed()


CROWD = 24


@pytest.fixture
async def crowd(system: System, line: Line, upstream: Upstream) -> AsyncIterator[list[Line]]:
    """Connections whose last request was brief, and of which each has one to the upstream for itself."""
    lines = [Line(*await asyncio.open_connection("127.0.0.1", system.port)) for _ in range(CROWD)]
    together = asyncio.Event()
    upstream.pieces["/x"] = [together, OK]
    for each in lines:
        each.send(get(b"here/x"))
    for _ in lines:
        await upstream.request()
    together.set()
    for each in lines:
        assert await each.head() + await each.take(2) == OK
    del upstream.pieces["/x"]
    for each in lines:
        each.send(get(b"here/x"))
        assert await each.head() + await each.take(2) == OK
    yield lines
    for each in lines:
        each.writer.transport.abort()


async def test_many_that_ask_at_once_each_get_the_answer_to_what_they_asked(
    crowd: list[Line], targets: Targets, upstream: Upstream
) -> None:
    for number in range(CROWD):
        upstream.pieces[f"/x?{number}"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number]
    targets.served.clear()
    for _ in range(3):
        for number, each in enumerate(crowd):
            each.send(get(b"here/x?%d" % number))
        for number, each in enumerate(crowd):
            assert (await each.head()).startswith(b"HTTP/1.1 200 ")
            assert await each.take(2) == b"%02d" % number

    assert targets.served == []


async def test_who_goes_in_a_crowd_keeps_nobody_from_their_answer(crowd: list[Line]) -> None:
    for each in crowd:
        each.send(get(b"here/x"))
    for each in crowd[::2]:
        each.writer.transport.abort()
    for each in crowd[1::2]:
        assert await each.head() + await each.take(2) == OK
