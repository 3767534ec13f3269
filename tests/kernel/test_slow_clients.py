"""Clients that are slow, on purpose or not: they are let go, and the others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

import aiohttp
import pytest

from rooftree import PUBLIC, Kernel, Plugin, RawBody, Routes, Service, Socket, Stream, Text
from rooftree.http import connection, server
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from tests.kernel.served_process import Process, served_process
from tests.rig.pace import on_this_machine

routes = Routes()
DEADLINE_S = 10.0
HEAD = b"GET /quick HTTP/1.1\r\nHost: rooftree\r\n"
MIB = 1024 * 1024
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Watched:
    """What happens inside handlers."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.go_on = asyncio.Event()
        self.sent = 0


WATCHED = Service[Watched]("watched/1")


@routes.get("/quick", access=PUBLIC)
def quick() -> None: ...


@routes.post("/take", access=PUBLIC, max_body=64 * MIB)
async def take(watched: Watched, body: RawBody) -> dict[str, int]:
    watched.began.set()
    try:
        return {"bytes": len(await body.read())}
    finally:
        watched.ended.set()


@routes.post("/later", access=PUBLIC, max_body=64 * MIB)
async def later(watched: Watched, body: RawBody) -> dict[str, int]:
    watched.began.set()
    await watched.go_on.wait()
    return {"bytes": len(await body.read())}


@routes.get("/flood", access=PUBLIC)
async def flood(watched: Watched) -> Stream:
    async def forever() -> AsyncIterator[bytes]:
        try:
            watched.began.set()
            while True:
                watched.sent += 65536
                yield b"x" * 65536
        finally:
            watched.ended.set()

    return Stream(forever())


@routes.get("/large", access=PUBLIC)
async def large() -> Text:
    return Text("x" * 32 * MIB)


@routes.get("/quiet", access=PUBLIC)
async def quiet(watched: Watched) -> Stream:
    async def later() -> AsyncIterator[bytes]:
        yield b"begin"
        await watched.go_on.wait()
        yield b"end"

    return Stream(later())


@routes.get("/socket", access=PUBLIC)
async def socket_route(watched: Watched) -> Socket:
    async def serve(opened: aiohttp.web.WebSocketResponse) -> None:
        await watched.go_on.wait()
        await opened.send_str("end")

    return Socket(serve)


@routes.get("/impatient", access=PUBLIC)
async def impatient(watched: Watched) -> Socket:
    async def serve(opened: aiohttp.web.WebSocketResponse) -> None:
        patient = asyncio.create_task(opened.send_bytes(b"x" * 16 * MIB))
        try:
            for _ in range(3):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        while True:
                            await opened.send_bytes(b"x" * MIB)
            assert not patient.done()
        finally:
            patient.cancel()
        watched.ended.set()

    return Socket(serve)


class Slow(Plugin):
    name = "slow"
    provides = (WATCHED,)

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(WATCHED, Watched())


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    """A system that has less patience than usual: tenths of a second."""
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    monkeypatch.setattr(connection, "FLOW_S", 0.3)
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    monkeypatch.setattr(server, "IDLE_S", 1.0)
    async with running_system(tmp_path, plugins=[Slow]) as system:
        yield system


@pytest.fixture
def watched(system: System) -> Watched:
    return system.services.get(WATCHED)


type Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def line(system: System) -> AsyncIterator[Line]:
    """A connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def closed(line: Line) -> bool:
    """Wait for the end of a connection, whatever comes before."""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            while await line[0].read(65536):
                pass
    return True


async def drip(line: Line, bits: Iterable[bytes], every_s: float = 0.05) -> int:
    """Send bit by bit until the other side hangs up; how many could be sent."""
    number = 0
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            for number, bit in enumerate(bits, 1):  # noqa: B007  # its last value is the answer
                line[1].write(bit)
                await line[1].drain()
                await asyncio.sleep(every_s)
    return number


def looks_passed() -> float:
    """Seconds in which a client that is too slow would have been let go."""
    return connection.FLOW_S + connection.HEAD_S


# --- request heads ----------------------------------------------------------------------------------------------------


async def test_head_that_does_not_end_is_given_up(line: Line) -> None:
    line[1].write(HEAD)

    assert await closed(line)


async def test_head_that_comes_in_drops_is_given_up_however_busy_its_sender_is(line: Line) -> None:
    line[1].write(HEAD)

    sent = await drip(line, (f"X-{number}: y\r\n".encode() for number in count()))

    assert sent < 20
    assert await closed(line)


async def test_second_head_on_a_connection_is_given_up_too(line: Line) -> None:
    line[1].write(HEAD + b"\r\n")
    await line[0].readuntil(b"\r\n\r\n")

    line[1].write(HEAD)

    assert await closed(line)


async def test_connection_on_which_nothing_comes_is_closed_later(line: Line) -> None:
    began = time.monotonic()

    assert await closed(line)
    assert time.monotonic() - began > 0.9


async def test_idle_connection_can_be_used_after_longer_than_a_head_may_take(line: Line) -> None:
    for _ in range(2):
        line[1].write(HEAD + b"\r\n")
        assert b"200 OK" in await line[0].readuntil(b"\r\n\r\n")
        await line[0].readexactly(len(b'{"result":"ok","data":{}}'))
        await asyncio.sleep(looks_passed())


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_body_that_stalls_is_given_up_and_its_handler_cancelled(line: Line, watched: Watched) -> None:
    line[1].write(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin")

    assert await closed(line)
    await watched.ended.wait()


async def test_body_that_comes_in_drops_is_given_up(line: Line, watched: Watched) -> None:
    line[1].write(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")

    assert await drip(line, (b"x" for _ in count()), every_s=0.02) < 100
    await watched.ended.wait()


async def test_chunked_body_that_stalls_is_given_up(line: Line, watched: Watched) -> None:
    line[1].write(b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")

    assert await closed(line)
    await watched.ended.wait()


async def test_slow_body_that_flows_is_taken(line: Line) -> None:
    pieces = 40
    line[1].write(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (pieces * 200))

    assert await drip(line, (b"x" * 200 for _ in range(pieces)), every_s=0.02) == pieces
    assert b"200 OK" in await line[0].readuntil(b"\r\n\r\n")
    assert b'{"bytes":8000}' in await line[0].readuntil(b"}}")


async def test_body_that_we_hold_up_ourselves_is_waited_for(line: Line, watched: Watched) -> None:
    size = 8 * MIB  # more than is read ahead
    line[1].write(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    await watched.began.wait()
    await asyncio.sleep(looks_passed())

    watched.go_on.set()

    assert b"200 OK" in await line[0].readuntil(b"\r\n\r\n")
    assert b"%d" % size in await line[0].readuntil(b"}}")


async def test_request_that_takes_long_to_answer_is_not_given_up(line: Line, watched: Watched) -> None:
    line[1].write(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    await watched.began.wait()
    await asyncio.sleep(looks_passed())

    watched.go_on.set()

    assert b"200 OK" in await line[0].readuntil(b"\r\n\r\n")


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_reader_of_a_stream_that_takes_nothing_is_dropped_and_little_is_kept_for_it(
    system: System, watched: Watched
) -> None:
    with stalled_reader(system, b"/flood"):
        async with asyncio.timeout(DEADLINE_S):
            await watched.ended.wait()

    assert watched.sent < 16 * MIB  # what lies in the sockets' own buffers, which this machine's kernel sizes


async def test_reader_that_takes_nothing_of_a_large_answer_is_dropped(system: System) -> None:
    with stalled_reader(system, b"/large"):
        await until_connections(system, 1)
        await until_connections(system, 0)


async def test_reader_that_takes_nothing_of_its_last_answer_is_dropped_too(system: System) -> None:
    with stalled_reader(system, b"/large", b"Connection: close\r\n"):
        await until_connections(system, 1)
        await until_connections(system, 0)


async def test_who_gives_up_waiting_for_a_reader_ends_nobody_elses_wait_and_can_wait_again(
    system: System, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FLOW_S", DEADLINE_S)
    with stalled_reader(system, b"/impatient", UPGRADE):
        async with asyncio.timeout(DEADLINE_S):
            await watched.ended.wait()


async def test_reader_that_sips_is_dropped(system: System, watched: Watched) -> None:
    with stalled_reader(system, b"/flood") as reader:
        reader.setblocking(False)
        async with asyncio.timeout(DEADLINE_S):
            while not watched.ended.is_set():
                with contextlib.suppress(BlockingIOError):
                    reader.recv(1)
                await asyncio.sleep(0.02)


async def test_slow_reader_gets_all(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FLOW_S", 1.0)  # on a machine that does much else both sides stand still at times
    began = time.monotonic()
    async with Client.over_tcp(system) as client, client.streaming("GET", "/large") as answer:
        taken = 0
        while piece := await answer.content.read(512 * 1024):
            taken += len(piece)
            await asyncio.sleep(0.04)

    assert taken == 32 * MIB
    assert time.monotonic() - began > 2 * connection.FLOW_S


async def test_followed_stream_on_which_nothing_happens_is_not_given_up(system: System, watched: Watched) -> None:
    async with Client.over_tcp(system) as client, client.streaming("GET", "/quiet") as answer:
        begin = await answer.content.readany()
        await asyncio.sleep(looks_passed() + 1)
        watched.go_on.set()

        assert (begin, await answer.read()) == (b"begin", b"end")


async def test_socket_on_which_nothing_happens_is_not_given_up(system: System, watched: Watched) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{system.port}/socket") as opened,
    ):
        await asyncio.sleep(looks_passed() + 1)
        watched.go_on.set()

        assert await opened.receive_str() == "end"


async def test_one_line_says_how_many_were_let_go(system: System, caplog: pytest.LogCaptureFixture) -> None:
    lines = [await asyncio.open_connection("127.0.0.1", system.port) for _ in range(10)]
    for one in lines:
        one[1].write(HEAD)
    async with asyncio.timeout(DEADLINE_S):
        for one in lines:
            await closed(one)
            one[1].close()

    said = [record.msg for record in caplog.records if "slow_clients_let_go" in str(record.msg)]
    assert sum(message["head"] for message in said if isinstance(message, dict)) == 10
    assert len(said) < 10


@contextlib.contextmanager
def stalled_reader(system: System, path: bytes, headers: bytes = b"") -> Iterator[socket.socket]:
    """A client that asks and reads nothing, with as small a buffer as there is."""
    reader = socket.socket()
    try:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", system.port))
        reader.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        yield reader
    finally:
        reader.close()


async def until_connections(system: System, number: int) -> None:
    """Wait until so many are open."""
    runner = system.server._runner
    assert runner is not None and runner.server is not None
    async with asyncio.timeout(DEADLINE_S):
        while len(runner.server.connections) != number:
            await asyncio.sleep(0.01)


# --- many -------------------------------------------------------------------------------------------------------------

PER_CONNECTION = 30 * 1024
"""Bytes that an idle connection may cost."""
P99_S = 0.050


class Crowd:
    """Clients of a process: idle ones, and those that drip heads and bodies or read nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next_drop = 0.0
        self.idle: list[socket.socket] = []
        self.heads: list[socket.socket] = []
        self.bodies: list[socket.socket] = []
        self.readers: list[socket.socket] = []

    def join(self, idle: int, slow: int) -> None:
        """Let so many come; a third of the slow ones are slow in each way. Idle ones have asked once."""
        for _ in range(idle):
            self.idle.append(self._come(HEAD + b"\r\n", answered=True))
        for number in range(slow):
            if number % 3 == 0:
                self.heads.append(self._come(HEAD))
            elif number % 3 == 1:
                self.bodies.append(self._come(b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"))
            else:
                self.readers.append(self._come(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n", receive=4096))

    def _come(self, first: bytes, receive: int | None = None, answered: bool = False) -> socket.socket:
        one = socket.socket()
        if receive is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        one.settimeout(30)
        one.connect(("127.0.0.1", self._port))
        one.sendall(first)
        if answered:
            one.recv(4096)
        one.setblocking(False)
        return one

    @property
    def slow(self) -> list[socket.socket]:
        """All that are slow."""
        return [*self.heads, *self.bodies, *self.readers]

    def drip(self) -> None:
        """Let those who drip send a drop, if the last one was a second ago."""
        if time.monotonic() < self._next_drop:
            return
        self._next_drop = time.monotonic() + 1
        for one, drop in ((self.heads, b"X: y\r\n"), (self.bodies, b"x")):
            for each in one:
                with contextlib.suppress(OSError):
                    each.send(drop)

    def leave(self) -> None:
        """All go."""
        for one in (*self.idle, *self.slow):
            one.close()


async def asked(process: Process, times: int, meanwhile: Callable[[], None] = lambda: None) -> list[float]:
    """How long each of so many requests took, in seconds, sorted; now and then something happens between them."""
    took = []
    async with aiohttp.ClientSession() as session:
        for number in range(times):
            if number % 100 == 0:
                meanwhile()
                await asyncio.sleep(0.01)
            began = time.perf_counter()
            async with session.get(f"http://127.0.0.1:{process.port}/quick") as answer:
                await answer.read()
            took.append(time.perf_counter() - began)
    return sorted(took)


def p99(took: list[float]) -> float:
    return took[math.ceil(len(took) * 0.99) - 1]


async def crowd_is_borne(process: Process, *, idle: int, slow: int, times: int, gone_s: float) -> str:
    """Measure with a crowd and without, three times at most, because others on this machine disturb; the figures."""
    await asked(process, 200)
    before = process.resident_bytes
    crowd = Crowd(process.port)
    try:
        await asyncio.to_thread(crowd.join, idle, 0)
        each = (process.resident_bytes - before) / idle
        await asyncio.to_thread(crowd.join, 0, slow)  # connections are taken in order: these before ours that follow
        for _ in range(3):
            crowded = await asked(process, times, crowd.drip)
            if p99(crowded) < on_this_machine(P99_S):
                break
        with_all = process.resident_bytes
        async with asyncio.timeout(gone_s):
            while process.connections != idle:  # for ever, where one that is not slow is let go
                crowd.drip()
                await asyncio.sleep(0.1)
    finally:
        crowd.leave()
    async with asyncio.timeout(gone_s):
        while process.connections:
            await asyncio.sleep(0.1)
    for _ in range(3):
        alone = await asked(process, times)
        if median(crowded) < 2 * median(alone):
            break
    figures = (
        f"{idle} idle, {slow} slow: {each / 1024:.1f} KiB each, {(with_all - before) / MIB:.0f} MiB in all; "
        f"median {median(crowded) * 1000:.2f} ms ({median(alone) * 1000:.2f} alone), "
        f"p99 {p99(crowded) * 1000:.2f} ms ({p99(alone) * 1000:.2f} alone)"
    )
    assert each < PER_CONNECTION, figures
    assert p99(crowded) < on_this_machine(P99_S), figures
    assert median(crowded) < 2 * median(alone), figures
    return figures


@pytest.mark.timed
async def test_two_thousand_idle_and_some_slow_clients_cost_the_others_nothing(tmp_path: Path) -> None:
    require_files(2_500)
    async with served_process(tmp_path, {"HEAD_S": 3.0, "FLOW_S": 3.0, "LOOK_S": 0.5}) as process:
        print(await crowd_is_borne(process, idle=2_000, slow=51, times=1000, gone_s=40))


@pytest.mark.torture
@pytest.mark.parametrize(("idle", "slow"), [(2_000, 99), (5_000, 1_000)])
async def test_thousands_of_idle_and_slow_clients_cost_the_others_nothing(
    tmp_path: Path, idle: int, slow: int, record_property: Callable[[str, object], None]
) -> None:
    require_files(idle + slow + 500)
    async with served_process(tmp_path, {"IDLE_S": 600.0}) as process:
        figures = await crowd_is_borne(process, idle=idle, slow=slow, times=10_000, gone_s=120)
    print(figures)
    record_property("figures", figures)


@pytest.mark.torture
async def test_thousands_of_idle_connections_are_closed_after_a_while(tmp_path: Path) -> None:
    require_files(15_500)  # there is room for a third as many connections
    meanwhile = []
    # So long that most of them have come before the first is let go, however slowly they come here.
    async with served_process(tmp_path, {"IDLE_S": on_this_machine(8.0)}) as process:
        await asked(process, 200)
        crowd = Crowd(process.port)
        try:
            for _ in range(2):
                await asyncio.to_thread(crowd.join, 5_000, 0)
                assert process.connections > 2_000
                meanwhile += await asked(process, 1_500)
                async with asyncio.timeout(60):
                    while process.connections:
                        await asyncio.sleep(0.1)
        finally:
            crowd.leave()
    assert p99(sorted(meanwhile)) < on_this_machine(P99_S)


def require_files(number: int) -> None:
    """Fail where this process, and with it the one that serves, may not open so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        assert hard >= number, f"needs {number} open files, and {hard} are allowed: ulimit -n"
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
