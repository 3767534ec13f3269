"""Requests that are passed on, and the answers that come back, byte by byte."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from rooftree.process.system import System
from rooftree_proxying import Address
from tests.plugins.proxying.conftest import Targets
from tests.rig.backends import DEADLINE_S, Backend, Line
from tests.rig.service_process import free_port


def asking(answer: bytes, *options: str) -> bytes:
    """The target of a request that the backend answers so."""
    return "&".join([f"/to/log/x?answer={quote_from_bytes(answer)}", *options]).encode()


def get(target: bytes, *fields: bytes) -> bytes:
    return b"".join([b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n", *(field + b"\r\n" for field in fields), b"\r\n"])


every_kind_of_answer = pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2  \r\nde\r\n0\r\nX-Sum: 1\r\n\r\n", (),
         b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", ("close",),
         b"Transfer-Encoding: chunked\r\n\r\na\r\nto the end\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nold", ("close",),
         b"Transfer-Encoding: chunked\r\n\r\n3\r\nold\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\nX: 1\nContent-Length: 1\n\nx", (), b"X: 1\r\nContent-Length: 1\r\n\r\nx"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n  2\r\nContent-Length: 0\r\n\r\n", (), b"X: 1 2\r\nContent-Length: 0\r\n\r\n"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", (), b"\r\n"),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\nETag: x\r\n\r\n", (), b"ETag: x\r\nContent-Length: 5\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", (), b"Content-Length: 2\r\n\r\nok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\nx\r\n0\r\n\r\n", (),
         b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 poison\r\n\r\n", (),
         b"Content-Length: 2\r\n\r\nok"),
    ],
    ids=["chunks", "to the end", "old", "line feeds", "folded", "204", "304", "length twice", "both", "too much"],
)  # fmt: skip


async def test_request_arrives_as_it_was_sent_but_for_what_is_the_connections(line: Line, backend: Backend) -> None:
    line.send(
        b"GET /to/log/a%2Cb/;c?x=%41&&y=%2f HTTP/1.1\r\nHost: page.example:8123\r\nx-b: 2\r\nX-A: \xe9\r\n"
        b"Cookie: a=b\r\nConnection: keep-alive, X-Secret\r\nx-secret: no\r\nX_Secret: no\r\n"
        b"Keep-Alive: 5\r\nProxy-Connection: x\r\n"
        b"TE: gzip, trailers\r\nProxy-Authorization: x\r\nX-B: 3\r\nUpgrade: h2c\r\n\r\n"
    )
    assert b" 200 OK" in await line.head()

    (request,) = backend.requests()
    assert request["target"] == "/a%2Cb/;c?x=%41&&y=%2f"
    assert request["fields"] == [
        ["Host", "page.example:8123"], ["x-b", "2"], ["X-A", "\xe9"], ["Cookie", "a=b"], ["X-B", "3"],
        ["Connection", "TE"], ["TE", "trailers"],
    ]  # fmt: skip


async def test_answer_comes_as_it_was_given(line: Line) -> None:
    line.send(
        get(asking(
            b"HTTP/1.1 299 Quite so\r\ncontent-TYPE: text/html; charset=latin-2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
            b"Content-Encoding: gzip\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\nContent-Length: 3\r\n\r\n"
            b"\x1f\x8b\x08"
        ))
    )  # fmt: skip
    assert await line.head() == (
        b"HTTP/1.1 299 Quite so\r\ncontent-TYPE: text/html; charset=latin-2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    )
    assert await line.take(3) == b"\x1f\x8b\x08"


@every_kind_of_answer
async def test_answer_of_every_kind_is_understood(
    line: Line, answer: bytes, options: tuple[str, ...], expected: bytes
) -> None:
    for _ in range(2):  # the second shows that nothing is left behind, on either side
        line.send(get(asking(answer, *options)))
        head = await line.head()
        body = expected.partition(b"\r\n\r\n")[2]
        received = head.partition(b"\r\n")[2] + await line.take(len(body))
        assert received.replace(b"3\r\nabc\r\n2\r\nde\r\n", b"5\r\nabcde\r\n") == expected


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n",
     b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno field\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
     b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"],
    ids=lambda answer: ascii(answer[:40].decode()),
)  # fmt: skip
async def test_what_is_no_answer_is_bad_gateway(line: Line, answer: bytes) -> None:
    line.send(get(asking(answer, "close")))
    assert (await line.head()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    ("answer", "body"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"half"),
     (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"4\r\nhalf\r\n")],
    ids=["length", "chunks"],
)  # fmt: skip
async def test_answer_that_breaks_off_is_not_whole_here_either(line: Line, answer: bytes, body: bytes) -> None:
    line.send(get(asking(answer, "close")))
    assert (await line.rest()).partition(b"\r\n\r\n")[2] == body


async def test_answer_that_goes_wrong_before_anything_has_left_is_bad_gateway(line: Line) -> None:
    line.send(get(asking(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnine\r\n", "close")))
    assert (await line.head()).startswith(b"HTTP/1.1 502 ")


async def test_interim_answers_are_passed_on(line: Line) -> None:
    line.send(get(asking(b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    assert await line.head() == b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"
    assert await line.head() == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_interim_answer_is_not_the_beginning_of_the_answer(line: Line, targets: Targets) -> None:
    line.send(get(asking(b"HTTP/1.1 103 Early\r\n\r\n", "hold")))
    assert await line.head() == b"HTTP/1.1 103 Early\r\n\r\n"
    assert targets.began == 0


async def test_answer_begins_once(line: Line, targets: Targets) -> None:
    line.send(get(asking(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    assert [await line.head() for _ in range(2)][1].startswith(b"HTTP/1.1 200 ")
    assert targets.began == 1


async def test_body_is_sent_when_the_upstream_says_that_it_wants_it(line: Line, backend: Backend) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    line.send(
        b"POST "
        + asking(answer, "hasty")
        + b" HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    assert await line.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.send(b"abc")
    assert b" 200 OK" in await line.head()


async def test_head_is_answered_without_a_body(line: Line, backend: Backend) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    for _ in range(2):
        line.send(b"HEAD " + asking(answer) + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await line.head() == answer
    assert [request["method"] for request in backend.requests()] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"])
async def test_every_method_takes_its_body_along(line: Line, backend: Backend, method: str) -> None:
    line.send(b"%b /to/log/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" % method.encode())
    assert b" 200 OK" in await line.head()
    (request,) = backend.requests()
    assert (request["method"], request["body"]) == (method, "abc")


async def test_no_body_stays_none(line: Line, backend: Backend) -> None:
    for text in (
        b"POST /to/log/ HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"GET /to/log/ HTTP/1.1\r\nHost: h\r\n\r\n",
    ):
        line.send(text)
        await line.head()
        await line.take(2)
    assert [dict(request["fields"]).get("Content-Length") for request in backend.requests()] == ["0", None]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_large_body_arrives_whole(line: Line, backend: Backend, is_chunked: bool) -> None:
    body = b"0123456789abcdef" * 2**16
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % (8 * len(body))
    line.send(b"PUT /to/log/ HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
    for _ in range(8):
        line.send(b"%x\r\n%b\r\n" % (len(body), body) if is_chunked else body)
        await line.writer.drain()
    line.send(b"0\r\n\r\n" if is_chunked else b"")
    assert b" 200 OK" in await line.head()

    (request,) = backend.requests()
    assert (request["size"], request["sha256"]) == (8 * len(body), hashlib.sha256(8 * body).hexdigest())


async def test_answer_that_comes_before_the_body_was_taken_is_passed_on(line: Line, backend: Backend) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    line.send(
        b"POST " + asking(answer, "deaf") + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000)
    )
    assert b" 413 Too Large" in await line.head()
    assert await line.take(2) == b"no"
    await backend.fact("end")


async def test_events_come_at_once(line: Line) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    line.send(get(asking(answer, "hold")))
    assert b"text/event-stream" in await line.head()
    assert await line.take(14) == b"9\r\ndata: 1\n\n\r\n"


@pytest.mark.parametrize("asked", [b"GET", b"POST"])
async def test_request_at_the_upstream_ends_within_a_second_of_its_client(
    line: Line, backend: Backend, asked: bytes
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n"
    body = b"Content-Length: 3\r\n\r\nabc" if asked == b"POST" else b"\r\n"
    line.send(asked + b" " + asking(answer, "hold") + b" HTTP/1.1\r\nHost: h\r\n" + body)
    await line.head()
    loop = asyncio.get_running_loop()
    gone = loop.time()
    line.writer.transport.abort()
    await backend.fact("end")
    assert loop.time() - gone < 1.0


async def test_upload_that_breaks_off_is_none_at_the_upstream(line: Line, backend: Backend) -> None:
    line.send(b"POST /to/log/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await backend.fact("begun")
    line.writer.write_eof()
    assert "method" not in await backend.fact("cut")


async def test_connections_to_the_upstream_are_used_again(line: Line, backend: Backend) -> None:
    for _ in range(3):
        line.send(get(b"/to/log/"))
        await line.head()
        await line.take(2)
    assert {request["connection"] for request in backend.requests()} == {backend.requests()[0]["connection"]}


async def test_kept_connection_that_the_upstream_closes_costs_no_request(line: Line, backend: Backend) -> None:
    for method in (b"GET", b"POST", b"GET"):
        line.send(method + b" /to/log/?close HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        assert b" 200 OK" in await line.head()
        await line.take(2)
    assert [request["method"] for request in backend.requests()] == ["GET", "POST", "GET"]


@pytest.mark.parametrize("request_line", [b"POST /to/log/", b"PUT /to/log/", b"GET /to/log/with-a-body"])
async def test_request_that_cannot_be_sent_twice_has_a_connection_of_its_own(
    line: Line, backend: Backend, request_line: bytes
) -> None:
    for beginning in (b"GET /to/log/", request_line):
        body = b"hi" if beginning is request_line else b""
        line.send(b"%b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (beginning, len(body), body))
        await line.head()
        await line.take(2)
    repeatable, other = backend.requests()
    assert repeatable["connection"] != other["connection"]


async def test_nobody_there_is_bad_gateway(line: Line, targets: Targets) -> None:
    targets.addresses["nobody"] = Address.tcp("127.0.0.1", free_port())
    line.send(get(b"/to/nobody/"))
    assert b" 502 " in await line.head()


async def test_upstream_on_a_unix_socket(line: Line, targets: Targets, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "s")
    targets.addresses["unix"] = Address.unix(tmp_path / "s")
    line.send(get(b"/to/unix/"))
    await line.head()
    assert await line.take(4) == b"unix"
    server.close()


async def test_slow_reader_holds_the_upstream_up(system: System, targets: Targets) -> None:
    sent = 0
    is_full = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                async with asyncio.timeout(1):
                    await writer.drain()
                sent += 65536
        except TimeoutError:
            is_full.set()
        writer.transport.abort()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    targets.addresses["flood"] = Address.tcp("127.0.0.1", server.sockets[0].getsockname()[1])
    _, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1024)
    writer.write(get(b"/to/flood/"))
    async with asyncio.timeout(DEADLINE_S):
        await is_full.wait()
    assert sent < 32 * 1024 * 1024  # what the kernel holds on four sockets, and next to nothing here
    writer.close()
    server.close()
