"""What proxies are made of: requests as they came, answers as they are written, sessions in a cookie, and tunnels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from rooftree import (
    PUBLIC,
    CallerKind,
    Exchange,
    Forbidden,
    Kernel,
    Plugin,
    Principal,
    Proxied,
    Role,
    Routes,
    Service,
    Tail,
    role,
    session,
)
from rooftree.http.table import DuplicateRoute, Entry, RouteTable
from rooftree.process.system import System
from rooftree.testing import running_system, token_for

DEADLINE_S = 10.0
GUEST = CallerKind("guest")
routes = Routes()


class Script:
    """How the proxy answers, and what it saw."""

    def __init__(self) -> None:
        self.serve: Callable[[Exchange], Awaitable[None]] = answer_ok
        self.sessions: dict[str, Principal] = {"open-sesame": Principal("guest", "ali")}
        self.began, self.ended = asyncio.Event(), asyncio.Event()


SCRIPT = Service[Script]("script/1")


async def answer_ok(exchange: Exchange) -> None:
    exchange.begin(200, b"OK", [(b"X-A", b"1")], 2)
    await exchange.write(b"ok")
    await exchange.end()


@routes.route("*", "/any/{path...}", access=PUBLIC)
def anything(script: Script, path: Tail) -> Proxied:
    return Proxied(script.serve)


@routes.get("/any/exact", access=PUBLIC)
def exact() -> dict[str, bool]:
    return {"exact": True}


@routes.route("*", "/mine/{path...}", access=session("guest_session", GUEST))
def mine(script: Script, path: Tail, who: Principal) -> Proxied:
    async def serve(exchange: Exchange) -> None:
        script.began.set()
        try:
            await script.serve(exchange)
        finally:
            script.ended.set()

    assert who == Principal("guest", "ali")
    return Proxied(serve)


class Proxy(Plugin):
    name = "proxy"
    provides = (SCRIPT,)

    async def setup(self, kernel: Kernel) -> None:
        script = Script()
        kernel.provide(SCRIPT, script)
        kernel.register_sessions(GUEST, script.sessions.get)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Proxy]) as system:
        yield system


@pytest.fixture
def script(system: System) -> Script:
    return system.services.get(SCRIPT)


class Line:
    """A client's connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, text: bytes) -> bytes:
        """Send a request; the head of the answer."""
        self.writer.write(text)
        return await self.head()

    async def head(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All until the server hangs up."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read(-1)


@pytest.fixture
async def line(system: System) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    yield Line(reader, writer)
    writer.close()


async def test_request_is_seen_as_it_was_sent(line: Line, script: Script) -> None:
    seen = []

    async def look(exchange: Exchange) -> None:
        seen.append((exchange.method, exchange.query, [*exchange.fields], exchange.length, exchange.address))
        await answer_ok(exchange)

    script.serve = look
    await line.ask(b"PROPFIND /any/a%2Cb?x=%41&&y HTTP/1.1\r\nHost: h\r\nx-b:  two \r\nX-a: 1\r\nX-B: \xe9\r\n\r\n")

    fields = [(b"Host", b"h"), (b"x-b", b"two"), (b"X-a", b"1"), (b"X-B", b"\xe9")]
    assert seen == [("PROPFIND", "?x=%41&&y", fields, None, "127.0.0.1")]


async def test_exact_route_goes_before_any_method(line: Line) -> None:
    assert b"application/json" in await line.ask(b"GET /any/exact HTTP/1.1\r\nHost: h\r\n\r\n")
    await line.reader.readexactly(len(b'{"result":"ok","data":{"exact":true}}'))

    assert b"X-A: 1" in await line.ask(b"POST /any/other HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(("first", "second"), [("*", "GET"), ("GET", "*")])
def test_any_method_of_one_plugin_excludes_every_method_of_another(first: str, second: str) -> None:
    def entry(method: str, owner: str) -> Entry:
        routes = Routes()
        routes.route(method, "/x", access=PUBLIC)(exact)
        return Entry(next(iter(routes)), owner, None)

    RouteTable([entry(first, "one"), entry(second, "one")])
    with pytest.raises(DuplicateRoute):
        RouteTable([entry(first, "one"), entry(second, "two")])


async def test_answer_is_what_was_written(line: Line, script: Script) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.inform(103, b"Early Hints", [(b"Link", b"</a.css>")])
        exchange.begin(299, b"Odd but true", [(b"x-lower", b"a"), (b"X-Lower", b"b"), (b"Server", b"theirs")])
        await exchange.write(b"one")
        await exchange.write(b"")
        await exchange.write(b"x" * 100_000)
        await exchange.end([(b"X-Sum", b"7")])

    script.serve = tell
    text = await line.ask(b"GET /any/ HTTP/1.1\r\nHost: h\r\n\r\n")
    head = await line.head()

    assert text == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    assert head == (
        b"HTTP/1.1 299 Odd but true\r\nx-lower: a\r\nX-Lower: b\r\nServer: theirs\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b"3\r\none\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\nX-Sum: 7\r\n\r\n"
    assert await line.reader.readexactly(len(body)) == body


async def test_old_clients_get_no_chunks_and_no_interim_answers(line: Line, script: Script) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.inform(103, b"Early Hints", [])
        exchange.begin(200, b"OK", [])
        await exchange.write(b"all")
        await exchange.end()

    script.serve = tell
    head = await line.ask(b"GET /any/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert head == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert await line.rest() == b"all"


@pytest.mark.parametrize(
    ("method", "status", "length", "told"),
    [("HEAD", 200, 12, b"Content-Length: 12\r\n"), ("HEAD", 200, None, b""),
     ("GET", 304, 12, b"Content-Length: 12\r\n"), ("GET", 204, 0, b""), ("GET", 205, 0, b"Content-Length: 0\r\n")],
)  # fmt: skip
async def test_bodiless_answers_end_with_their_head(
    line: Line, script: Script, method: str, status: int, length: int | None, told: bytes
) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.begin(status, b"Yes", [], length)
        await exchange.end()

    script.serve = tell
    request = b"%b /any/ HTTP/1.1\r\nHost: h\r\n\r\n" % method.encode()

    for _ in range(2):  # the second comes on the same connection: nothing was left behind
        assert await line.ask(request) == b"HTTP/1.1 %d Yes\r\n%b\r\n" % (status, told)


@pytest.mark.parametrize(
    ("length", "chunks", "whole"),
    [(6, [b"four", b"five"], b"four"), (3, [b"to"], b"to"), (None, [b"to"], b"2\r\nto\r\n")],
    ids=["more than announced", "less than announced", "never ended"],
)
async def test_answer_that_goes_wrong_is_cut_off(
    line: Line, script: Script, length: int | None, chunks: list[bytes], whole: bytes
) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.begin(200, b"OK", [], length)
        for chunk in chunks:
            await exchange.write(chunk)
        if length is not None:
            await exchange.end()

    script.serve = tell
    line.writer.write(b"GET /any/ HTTP/1.1\r\nHost: h\r\n\r\n")

    assert (await line.rest()).partition(b"\r\n\r\n")[2] == whole


async def test_answer_that_only_the_end_ends_is_never_taken_for_whole(line: Line, script: Script) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.begin(200, b"OK", [])
        await exchange.write(b"half")
        raise RuntimeError("the other half is gone")

    script.serve = tell
    with pytest.raises(ConnectionResetError):
        await line.ask(b"GET /any/ HTTP/1.0\r\n\r\n")
        await line.rest()


@pytest.mark.parametrize("field", [(b"X", b"a\r\nY: b"), (b"X", b"a\nb"), (b"X\r\n", b""), (b"X", b"\0")], ids=ascii)
async def test_field_never_becomes_several(tmp_path: Path, field: tuple[bytes, bytes]) -> None:
    async def tell(exchange: Exchange) -> None:
        exchange.begin(200, b"OK", [field], 0)
        await exchange.end()

    async with running_system(tmp_path, plugins=[Proxy], allow={"route_failed"}) as system:
        system.services.get(SCRIPT).serve = tell
        line = Line(*await asyncio.open_connection("127.0.0.1", system.port))
        assert (await line.ask(b"GET /any/ HTTP/1.1\r\nHost: h\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
        line.writer.close()


async def test_error_before_the_answer_is_answered_and_the_connection_goes_on(line: Line, script: Script) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise Forbidden("Not today")

    script.serve = refuse
    request = b"GET /any/ HTTP/1.1\r\nHost: h\r\n\r\n"
    for _ in range(2):
        assert (await line.ask(request)).startswith(b"HTTP/1.1 403 ")
        assert await line.reader.readexactly(9) == b"Not today"


async def test_body_comes_as_it_is_sent_and_has_no_limit(line: Line, script: Script) -> None:
    sizes: asyncio.Queue[int] = asyncio.Queue()

    async def take(exchange: Exchange) -> None:
        async for chunk in exchange.body():
            sizes.put_nowait(len(chunk))
        await answer_ok(exchange)

    script.serve = take
    line.writer.write(b"PUT /any/ HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    line.writer.write(b"3;ext=1\r\nabc\r\n")
    assert await sizes.get() == 3
    size = 0
    for _ in range(24):  # more than any other route takes
        line.writer.write(b"100000\r\n" + bytes(0x100000) + b"\r\n")
        await line.writer.drain()
    line.writer.write(b"0\r\nX-T: 1\r\n\r\n")
    assert b" 200 OK" in await line.head()
    while not sizes.empty():
        size += sizes.get_nowait()
    assert size == 24 * 1024 * 1024


async def test_nothing_more_is_taken_in_than_is_asked_for(line: Line, script: Script) -> None:
    go_on = asyncio.Event()

    async def take(exchange: Exchange) -> None:
        async for _ in exchange.body():
            await go_on.wait()
        await answer_ok(exchange)

    script.serve = take
    size = 32 * 1024 * 1024
    line.writer.write(b"PUT /any/ HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
    line.writer.write(bytes(size))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line.writer.drain(), 0.5)
    go_on.set()
    assert b" 200 OK" in await line.head()


@pytest.mark.parametrize(
    "cookie",
    [b"", b"Cookie: guest_session=wrong\r\n", b"Cookie: guest_session=\r\n", b"Cookie: other=open-sesame\r\n",
     b"Cookie: guest_session=open-sesame; guest_session=x\r\n",
     b"Cookie: guest_session=open-sesame\r\nCookie: guest_session=x\r\n"],
)  # fmt: skip
async def test_without_one_session_nobody_gets_in(system: System, line: Line, cookie: bytes) -> None:
    token = await token_for(system, Principal("token", "root", Role.ADMIN))
    head = await line.ask(
        b"GET /mine/ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\n%b\r\n" % (token.encode(), cookie)
    )
    assert head.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("cookie", [b"guest_session=open-sesame", b'a=b; guest_session="open-sesame" ;c'])
async def test_who_has_a_session_gets_in(line: Line, cookie: bytes) -> None:
    assert b" 200 OK" in await line.ask(b"GET /mine/ HTTP/1.1\r\nHost: h\r\nCookie: %b\r\n\r\n" % cookie)


def test_session_and_token_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="can't be combined"):
        role(Role.ADMIN) | session("x", GUEST)


async def test_answer_ends_with_its_session(line: Line, script: Script) -> None:
    async def forever(exchange: Exchange) -> None:
        exchange.begin(200, b"OK", [])
        await exchange.write(b"x")
        await asyncio.Event().wait()

    script.serve = forever
    await line.ask(b"GET /mine/ HTTP/1.1\r\nHost: h\r\nCookie: guest_session=open-sesame\r\n\r\n")
    script.sessions.clear()

    async with asyncio.timeout(DEADLINE_S):
        await script.ended.wait()
    assert await line.rest() == b"1\r\nx\r\n"


@pytest.mark.parametrize("uploads", [False, True])
async def test_exchange_ends_when_its_client_goes(line: Line, script: Script, uploads: bool) -> None:
    async def wait(exchange: Exchange) -> None:
        if uploads:  # nothing is read: who hangs up behind what he has sent is not heard
            await anext(exchange.body())
        await asyncio.Event().wait()

    script.serve = wait
    line.writer.write(b"POST /mine/ HTTP/1.1\r\nHost: h\r\nCookie: guest_session=open-sesame\r\n")
    line.writer.write(b"Content-Length: 9999999\r\n\r\n" + bytes(180_000) if uploads else b"\r\n")
    await script.began.wait()
    await asyncio.sleep(0.2)  # for reading to be held up
    loop = asyncio.get_running_loop()
    gone = loop.time()
    line.writer.transport.abort()
    async with asyncio.timeout(DEADLINE_S):
        await script.ended.wait()
    assert loop.time() - gone < 1.0


class Far(asyncio.Protocol):
    """The other end of a tunnel."""

    def __init__(self) -> None:
        self.received = b""
        self.arrived = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


UPGRADE = (
    b"GET /mine/ HTTP/1.1\r\nHost: h\r\nCookie: guest_session=open-sesame\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


async def test_tunnel_carries_bytes_both_ways_until_one_side_ends(line: Line, script: Script) -> None:
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    class Near(Far):
        tunnel: object = None

        def data_received(self, data: bytes) -> None:
            tunnel.send(data)

        def connection_lost(self, exc: Exception | None) -> None:
            tunnel.close()

    server = await loop.create_server(lambda: there.set_result(Far()) or there.result(), "127.0.0.1", 0)  # type: ignore[func-returns-value]
    port = server.sockets[0].getsockname()[1]

    async def switch(exchange: Exchange) -> None:
        nonlocal tunnel
        assert exchange.offers_upgrade
        transport, _ = await loop.create_connection(Near, "127.0.0.1", port)
        tunnel = exchange.switch(b"Switching", [(b"Upgrade", b"websocket")], transport)
        await tunnel.closed()

    tunnel = None
    script.serve = switch
    head = await line.ask(UPGRADE + b"early")
    far: Far = await there
    assert head == b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    await far.arrived.wait()
    assert far.received == b"early"
    far.transport.write(b"\x00\r\n\r\nGET")
    assert await line.reader.readexactly(8) == b"\x00\r\n\r\nGET"
    far.transport.write(b"bye")
    far.transport.close()
    assert await line.rest() == b"bye"
    server.close()


async def test_upgrade_that_is_refused_leaves_a_connection_for_more(line: Line, script: Script) -> None:
    assert b" 200 OK" in await line.ask(UPGRADE + UPGRADE)
    assert await line.reader.readexactly(2) == b"ok"
    assert b" 200 OK" in await line.head()
