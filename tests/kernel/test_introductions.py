"""Callers who say who they are behind their request: as strictly looked at as those who do in its head, and as long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from rooftree import PUBLIC, CallerKind, Introduction, Plugin, Principal, Role, RooftreeError, Routes, Socket
from rooftree.access.wrong_tokens import ALLOWED
from rooftree.plugins.plugin import Kernel
from rooftree.process.system import System
from rooftree.testing import running_system

routes = Routes()
HOLDER = Principal("holder", "lamp", Role.DEFAULT, frozenset({"light"}))


@routes.get("/door", access=PUBLIC)
def door(introduction: Introduction) -> Socket:
    """Says who somebody is, for each token that is sent."""

    async def serve(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            try:
                await socket.send_str(str(await introduction.caller(message.data)))
            except RooftreeError as error:
                await socket.send_str(f"{error.status} {error.message}")

    return Socket(serve)


class Places:
    """Whereabouts in which nobody is here who is not said to be."""

    def __init__(self) -> None:
        self.is_here = True

    def admits(self, subject: str, address: str | None) -> bool:
        return self.is_here and address == "127.0.0.1"

    async def look(self, subject: str) -> None:
        """It is as it is."""


PLACES = Places()


class Holders(Plugin):
    name = "holders"

    async def setup(self, kernel: Kernel) -> None:
        kernel.register_kind(CallerKind("holder"), lambda subject: HOLDER, PLACES)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    PLACES.is_here = True
    async with running_system(tmp_path, plugins=[Holders]) as system:
        yield system


@pytest.fixture
async def socket(system: System) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"http://127.0.0.1:{system.port}/door"
    async with asyncio.timeout(20), aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield socket


async def token_of_holder(system: System) -> str:
    fresh = system.tokens.new("holder", "lamp")
    await system.state.commit(fresh.change)
    return fresh.text


async def said(socket: aiohttp.ClientWebSocketResponse, token: str) -> str:
    await socket.send_str(token)
    return await socket.receive_str()


async def test_caller_is_whom_the_token_stands_for(system: System, socket: aiohttp.ClientWebSocketResponse) -> None:
    assert await said(socket, await token_of_holder(system)) == "holder:lamp"


async def test_what_was_opened_so_ends_with_the_token(system: System, socket: aiohttp.ClientWebSocketResponse) -> None:
    token = await token_of_holder(system)
    assert await said(socket, token) == "holder:lamp"
    (token_id,) = (known.id for known in system.tokens.known("holder", "lamp").values())

    await system.tokens.revoke(token_id)

    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


async def test_token_that_is_used_elsewhere_is_refused_and_told(
    system: System, socket: aiohttp.ClientWebSocketResponse
) -> None:
    PLACES.is_here = False

    answer = await said(socket, await token_of_holder(system))

    assert answer == "403 The token is not known, or no longer valid"


@pytest.mark.parametrize("token", ["", "f" * 112, "\ufeff", "x" * 1025, "0" * 100_000])
async def test_token_that_is_nobodys_is_refused(socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
    assert await said(socket, token) == "403 The token is not known, or no longer valid"


async def test_many_wrong_tokens_are_too_many_and_a_right_one_passes_even_then(
    system: System, socket: aiohttp.ClientWebSocketResponse
) -> None:
    answers = [await said(socket, f"{number:0112d}") for number in range(ALLOWED.times + 1)]

    assert {answer[:3] for answer in answers[:-1]} == {"403"}
    assert answers[-1].startswith("429 ")
    assert await said(socket, await token_of_holder(system)) == "holder:lamp"
