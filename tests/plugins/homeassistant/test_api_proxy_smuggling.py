"""Requests that two readers could understand differently: Core sees one of them, with our rights, or we refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import field, frozen
from yarl import URL

from rooftree import Kernel, Plugin, Routes
from rooftree.testing import running_system, token_for
from rooftree_homeassistant.api_proxy import API_PROXY, ApiProxy
from rooftree_homeassistant.api_proxy_routes import routes
from rooftree_homeassistant.core_session import CoreAccess
from tests.plugins.homeassistant.proxied import HELLO
from tests.plugins.proxying.test_smuggling import ONE, REQUESTS
from tests.rig.backends import Backend, Line

OUR_TOKEN = "0123456789abcdef"  # of nobody
TO_THE_SUPERVISOR = (
    b"POST /core/api/hassio_auth/password_reset HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /api/hassio_auth HTTP/1.1\r\nHost: h\r\n\r\n",
)


@frozen
class BackendAsCore:
    """A connection to something that writes down what Core would see."""

    url: URL
    answers: bool = field(default=True, init=False)

    async def access(self) -> CoreAccess:
        return CoreAccess(url=self.url, socket=None, tls=None, access_token=OUR_TOKEN)


@pytest.fixture
async def line(tmp_path: Path, backend: Backend) -> AsyncIterator[tuple[Line, str]]:
    """A connection to the proxy, and an add-on's token."""
    connection = BackendAsCore(URL(f"http://127.0.0.1:{backend.port}"))

    class ProxyPlugin(Plugin):
        name = "proxy"
        provides = (API_PROXY,)

        async def setup(self, kernel: Kernel) -> None:
            proxy = ApiProxy(connection)  # type: ignore[arg-type]  # all of it that the proxy asks for here
            kernel.defer(proxy.close)
            kernel.provide(API_PROXY, proxy)

        def routes(self) -> Routes:
            return routes

    async with running_system(tmp_path, plugins=[ProxyPlugin]) as system:
        token = await token_for(system, HELLO)
        reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
        yield Line(reader, writer), token
        writer.close()


def for_core(request: bytes, token: str) -> bytes:
    """A request of those that are tried on every upstream, as an add-on sends it to Core's API."""
    mine = request.replace(b"/to/log/", b"/core/api/")
    for end in (b"\r\n", b"\n"):
        mine = mine.replace(b"Host: h" + end, b"Host: h" + end + f"Authorization: Bearer {token}".encode() + end, 1)
    return mine


@pytest.mark.parametrize("name", REQUESTS)
async def test_core_sees_one_request_or_we_refuse(line: tuple[Line, str], backend: Backend, name: str) -> None:
    client, token = line
    client.send(for_core(REQUESTS[name], token))
    head = await client.head()

    assert not [fact for fact in backend.facts() if "garbage" in fact]
    requests = [request for request in backend.requests() if request["target"] != "/api/smuggled"]
    if name in ONE:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert [request["target"] for request in requests] == ["/api/one"]
        seen = {key.lower(): value for key, value in requests[0]["fields"]}
        assert seen.keys() <= {"host", "authorization", "content-length"}
        assert seen["authorization"] == f"Bearer {OUR_TOKEN}"
    else:
        assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
        assert backend.requests() == []


@pytest.mark.parametrize("inner", TO_THE_SUPERVISOR)
@pytest.mark.parametrize(
    "outer",
    ["Content-Length: {}", "Transfer-Encoding: chunked\r\nX-Length: {}", "Content-Length: 0\r\nX-Length: {}"],
)
async def test_request_within_a_request_never_becomes_one_of_core(
    line: tuple[Line, str], backend: Backend, outer: str, inner: bytes
) -> None:
    client, token = line
    framing = outer.format(len(inner))
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner) if "chunked" in framing else inner
    head = f"POST /core/api/one HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n"
    client.send(head.encode() + body)

    assert (await client.head()).startswith(b"HTTP/1.1 200 ")
    assert [request["target"] for request in backend.requests()] == ["/api/one"]
    assert not [fact for fact in backend.facts() if "garbage" in fact]
