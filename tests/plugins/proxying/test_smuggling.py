"""Requests that two readers could understand differently: the upstream sees exactly one of them, or we answer 400."""

from __future__ import annotations

import pytest

from tests.rig.backends import Backend, Line

SMUGGLED = b"GET /to/log/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
TO = b"POST /to/log/one HTTP/1.1\r\n"
CHUNKED = TO + b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS = {
    "CL.TE": TO + b"Host: h\r\nContent-Length: 49\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.CL": TO + b"Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2c\r\n" + SMUGGLED,
    "TE.TE, unknown": TO + b"Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE.TE, twice": TO + b"Host: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE identity": TO + b"Host: h\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "TE in disguise": TO + b"Host: h\r\nTransfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "TE with a tab": TO + b"Host: h\r\nTransfer-Encoding:\tchunked\r\nContent-Length: 49\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "TE with vertical tab": TO + b"Host: h\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "space before colon": TO + b"Host: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "obs-fold": TO + b"Host: h\r\nX: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "obs-fold of TE": TO + b"Host: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "bare LF": TO.replace(b"\r\n", b"\n") + b"Host: h\nContent-Length: 0\n\n" + SMUGGLED,
    "bare LF in a field": TO + b"Host: h\r\nX: a\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "bare CR in a field": TO + b"Host: h\r\nX: a\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "NUL in a field": TO + b"Host: h\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "chunk extension": CHUNKED + b"0;a=b\nc\r\n\r\n" + SMUGGLED,
    "chunk size with sign": CHUNKED + b"+0\r\n\r\n" + SMUGGLED,
    "chunk size in hex notation": CHUNKED + b"0x0\r\n\r\n" + SMUGGLED,
    "chunk without its end": CHUNKED + b"1\r\na0\r\n\r\n" + SMUGGLED,
    "chunk size too large": CHUNKED + b"10000000000000000\r\n\r\n" + SMUGGLED,
    "chunk size with a blank": CHUNKED + b" 0\r\n\r\n" + SMUGGLED,
    "chunk size of nothing": CHUNKED + b"\r\n\r\n" + SMUGGLED,
    "chunk size with a line in it": CHUNKED + b"0_0\r\n\r\n" + SMUGGLED,
    "bare LF after a chunk size": CHUNKED + b"0\n\n" + SMUGGLED,
    "length in a trailer": CHUNKED + b"0\r\nContent-Length: 42\r\n\r\n" + SMUGGLED,
    "TE in HTTP/1.0": TO.replace(b"1.1", b"1.0") + b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "field without a name": TO + b"Host: h\r\n: chunked\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "field without a colon": TO + b"Host: h\r\nTransfer-Encoding\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "blank line before": b"\r\n" + TO + b"Host: h\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "blank before the first field": TO + b" X: a\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "two blanks in the first line": b"POST /to/log/one  HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "CL twice": TO + b"Host: h\r\nContent-Length: 0\r\nContent-Length: 42\r\n\r\n" + SMUGGLED,
    "CL twice the same": TO + b"Host: h\r\nContent-Length: 44\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "CL of nothing": TO + b"Host: h\r\nContent-Length:\r\n\r\n" + SMUGGLED,
    "CL in hex notation": TO + b"Host: h\r\nContent-Length: 0x2c\r\n\r\n" + SMUGGLED,
    "CL in other digits": TO + b"Host: h\r\nContent-Length: \xd9\xa4\r\n\r\n" + SMUGGLED,
    "CL with a line in it": TO + b"Host: h\r\nContent-Length: 4_4\r\n\r\n" + SMUGGLED,
    "CL list": TO + b"Host: h\r\nContent-Length: 0, 42\r\n\r\n" + SMUGGLED,
    "CL with sign": TO + b"Host: h\r\nContent-Length: +42\r\n\r\n" + SMUGGLED,
    "CL in disguise": TO + b"Host: h\r\nContent_Length: 44\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "CL named by Connection": TO + b"Host: h\r\nConnection: Content-Length\r\nContent-Length: 42\r\n\r\n" + SMUGGLED,
    "Host twice": TO + b"Host: h\r\nHost: other\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "line break in the target": b"POST /to/log/one?a\rb HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "hash in the target": b"POST /to/log/one?a#b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "GET with a body": b"GET /to/log/one HTTP/1.1\r\nHost: h\r\nContent-Length: 42\r\n\r\n" + SMUGGLED,
    "upgrade with a body": b"GET /to/log/one HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: 42\r\n\r\n" + SMUGGLED,
    "upgrade to something else": b"GET /to/log/one HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
}  # fmt: skip
ONE = {
    "CL in disguise", "CL named by Connection", "GET with a body", "upgrade to something else", "blank line before",
    "two blanks in the first line",
}  # fmt: skip
"""Of these everybody understands the same."""


@pytest.mark.parametrize("name", REQUESTS)
async def test_upstream_sees_one_request_or_we_answer_400(line: Line, backend: Backend, name: str) -> None:
    line.send(REQUESTS[name])
    head = await line.head()

    requests = [request for request in backend.requests() if request["target"] != "/smuggled"]
    assert not [fact for fact in backend.facts() if "garbage" in fact]
    if name in ONE:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert [request["target"] for request in requests] == ["/one"]
        assert "upgrade" not in {name.lower() for name, _ in requests[0]["fields"]}
    else:
        assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
        assert backend.requests() == []
