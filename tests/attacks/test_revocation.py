"""What a token has opened ends with it: nobody listens on after their token was revoked, or they were made less."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from rooftree import KNOWN, CallerKind, Plugin, Principal, RawBody, Role, Routes, Socket, Stream
from rooftree.access.tokens import Token
from rooftree.process.system import System
from rooftree.testing import Client, InstalledPlugin, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin

WITHIN_S = 4.0
"""Seconds in which what was opened has to end: a look a second, and a moment for goodbyes."""
MANAGER = Principal("spy", "local_spy", Role.MANAGER)


routes = Routes()


@routes.get("/follow", access=KNOWN)
def follow() -> Stream:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"secret\n"
            await asyncio.sleep(0.05)

    return Stream(forever())


@routes.get("/stubborn", access=KNOWN)
def stubborn() -> Stream:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"secret\n"
            with contextlib.suppress(asyncio.CancelledError):  # a plugin that is no good
                await asyncio.sleep(0.05)

    return Stream(forever())


@routes.get("/talk", access=KNOWN)
def talk() -> Socket:
    async def serve(opened: aiohttp.web.WebSocketResponse) -> None:
        while True:
            await opened.send_str("secret")
            await asyncio.sleep(0.05)

    return Socket(serve)


@routes.post("/upload", access=KNOWN, max_body=64 * 1024 * 1024)
async def upload(body: RawBody) -> dict[str, int]:
    return {"bytes": len(await body.read())}


@routes.post("/slow", access=KNOWN)
async def slow() -> dict[str, bool]:
    await asyncio.sleep(2.5)
    return {"done": True}


class Leaky(Plugin):
    """A plugin that thinks of nothing."""

    name = "leaky"

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    supervisor = InstalledPlugin("supervisor", lambda: SupervisorPlugin)
    async with running_system(tmp_path, plugins=[Leaky, supervisor]) as system:
        yield system


type Ending = Callable[[System, str], Awaitable[object]]


async def revoked(system: System, token: str) -> None:
    """The administrator ends the token."""
    ids = [known.id for known in system.tokens.known().values() if known.subject == MANAGER.id]
    for token_id in ids:
        await system.tokens.revoke(token_id)


async def uninstalled(system: System, token: str) -> None:
    """Its add-on is not there any more."""
    system.tokens.register_kind(CallerKind(MANAGER.kind), lambda subject: None)


async def demoted(system: System, token: str) -> None:
    """Its add-on has another role."""
    system.tokens.register_kind(
        CallerKind(MANAGER.kind), lambda subject: Principal(MANAGER.kind, subject, Role.DEFAULT)
    )


async def deprived(system: System, token: str) -> None:
    """The plugin that knows such callers has stopped."""
    system.tokens.forget_kind(MANAGER.kind)


ENDINGS: list[Ending] = [revoked, uninstalled, demoted, deprived]
STREAMS = ["/follow", "/stubborn", "/kernel/v1/events", "/supervisor/logs/follow"]


async def ended_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds until nothing comes any more."""
    began = time.monotonic()
    async with asyncio.timeout(3 * WITHIN_S):
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while await answer.content.readany():
                pass
    return time.monotonic() - began


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("path", STREAMS)
async def test_stream_ends_with_its_token(system: System, path: str, ending: Ending) -> None:
    token = await token_for(system, MANAGER)
    async with (
        Client.over_tcp(system, token) as client,
        client.streaming("GET", path) as answer,
        Client.over_unix(system) as admin,
        admin.streaming("GET", "/follow") as another,
    ):
        assert answer.status == 200

        await ending(system, token)

        assert await ended_after(answer) < WITHIN_S
        assert await another.content.readline() == b"secret\n"  # nobody else's ends


@pytest.mark.parametrize("path", ["/talk", "/kernel/v1/events"])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_web_socket_ends_with_its_token(system: System, path: str, ending: Ending) -> None:
    token = await token_for(system, MANAGER)
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.ws_connect(f"http://127.0.0.1:{system.port}{path}") as opened,
    ):
        await opened.receive(timeout=WITHIN_S)
        await ending(system, token)

        began = time.monotonic()
        async with asyncio.timeout(3 * WITHIN_S):
            while (await opened.receive()).type not in {
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.ERROR,
            }:
                pass

    assert time.monotonic() - began < WITHIN_S


async def test_reader_that_does_not_read_gets_nothing_more_after_its_token_has_ended(system: System) -> None:
    token = await token_for(system, MANAGER)
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    with contextlib.closing(writer):
        writer.write(f"GET /follow HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: {token}\r\n\r\n".encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        await revoked(system, token)
        runner = system.server._runner
        assert runner is not None and runner.server is not None
        async with asyncio.timeout(WITHIN_S):
            while runner.server.connections:
                await asyncio.sleep(0.05)


async def test_body_that_is_coming_in_is_not_taken_any_more(system: System) -> None:
    token = await token_for(system, MANAGER)
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    with contextlib.closing(writer):
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nX-Supervisor-Token: {token}\r\nContent-Length: 10000000\r\n\r\n"
        writer.write(head.encode())
        await asyncio.sleep(0.2)
        await revoked(system, token)

        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    await asyncio.sleep(0.05)
        assert await _nothing(reader)


async def _nothing(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_call_that_was_accepted_is_answered(system: System) -> None:
    token = await token_for(system, MANAGER)
    async with Client.over_tcp(system, token) as client:
        asked = asyncio.create_task(client.post("/slow"))
        await asyncio.sleep(0.2)
        await revoked(system, token)

        assert (await asked).data == {"done": True}
        assert (await client.post("/slow")).status == 403


async def test_named_token_that_its_owner_revokes_takes_its_streams_with_it(system: System) -> None:
    fresh = system.tokens.new("token", "laptop", Role.ADMIN)
    await system.state.commit(fresh.change)
    (token_id,) = [known.id for known in system.tokens.known("token", "laptop").values() if isinstance(known, Token)]
    async with (
        Client.over_tcp(system, fresh.text) as client,
        client.streaming("GET", "/kernel/v1/events") as answer,
        Client.over_tcp(system, fresh.text) as other,
    ):
        await answer.content.readany()
        assert (await other.delete(f"/kernel/v1/tokens/{token_id}")).status == 200

        assert await ended_after(answer) < WITHIN_S
