"""WebSockets of a real server, opened through the proxy by a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rooftree.process.system import System
from rooftree_proxying import Address
from tests.plugins.proxying.conftest import Targets
from tests.rig.backends import DEADLINE_S
from tests.rig.waiting import until


@pytest.fixture
async def page(system: System, targets: Targets, websocket_port: int) -> AsyncIterator[str]:
    """Where the server's pages are, through the proxy."""
    targets.addresses["page"] = Address.tcp("127.0.0.1", websocket_port)
    return f"http://127.0.0.1:{system.port}/to/page"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_messages_of_every_size_come_back(client: aiohttp.ClientSession, page: str) -> None:
    async with client.ws_connect(f"{page}/echo", max_msg_size=0) as socket, asyncio.timeout(DEADLINE_S):
        for size in (0, 1, 125, 126, 65535, 65536, 20_000_000):
            await socket.send_bytes(bytes(size))
            assert len(await socket.receive_bytes()) == size
        await socket.send_str("grüß dich")
        assert await socket.receive_str() == "grüß dich"


async def test_compression_is_between_the_two_ends(client: aiohttp.ClientSession, page: str) -> None:
    async with client.ws_connect(f"{page}/echo", compress=15) as socket, asyncio.timeout(DEADLINE_S):
        assert socket.compress
        await socket.send_str("again " * 1000)
        assert await socket.receive_str() == "again " * 1000


@pytest.mark.parametrize(
    ("offered", "chosen"), [(("lamp.v1", "x"), "lamp.v1"), (("lamp.v1", "lamp.v2"), "lamp.v1"), (("x",), None)]
)
async def test_sub_protocol_is_agreed_on(
    client: aiohttp.ClientSession, page: str, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with client.ws_connect(f"{page}/echo", protocols=offered) as socket:
        assert socket.protocol == chosen


async def test_pings_are_answered_by_the_other_end(client: aiohttp.ClientSession, page: str) -> None:
    async with client.ws_connect(f"{page}/echo", autoping=False) as socket, asyncio.timeout(DEADLINE_S):
        await socket.ping(b"are you there?")
        answer = await socket.receive()
        assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"are you there?")
    async with client.ws_connect(f"{page}/ping", autoping=False) as socket, asyncio.timeout(DEADLINE_S):
        question = await socket.receive()
        assert (question.type, bytes(question.data)) == (aiohttp.WSMsgType.PING, b"there?")
        await socket.pong(b"here")
        assert await socket.receive_str() == "PONG here"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4321])
async def test_close_code_and_reason_arrive(client: aiohttp.ClientSession, page: str, code: int) -> None:
    async with client.ws_connect(f"{page}/close?code={code}") as socket, asyncio.timeout(DEADLINE_S):
        end = await socket.receive()
        assert (end.type, end.data, end.extra) == (aiohttp.WSMsgType.CLOSE, code, "because")


async def test_refusal_of_the_server_is_the_clients_answer(client: aiohttp.ClientSession, page: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await client.ws_connect(f"{page}/nothing")
    assert refusal.value.status == 404


@pytest.mark.parametrize("path", ["echo", "flood"])
async def test_socket_of_a_client_that_goes_is_closed_at_the_server(
    client: aiohttp.ClientSession, page: str, path: str
) -> None:
    async def opened() -> int:
        async with client.get(f"{page}/count") as answer:
            return int(await answer.text())

    async def is_open() -> bool:
        return await opened() == 1

    async def is_closed() -> bool:
        return await opened() == 0

    socket = await client.ws_connect(f"{page}/{path}")
    await until(is_open, within_s=DEADLINE_S, what="the open socket")
    socket._response.connection.transport.abort()  # type: ignore[union-attr]  # without a word
    await until(is_closed, within_s=1.5, what="its end")
