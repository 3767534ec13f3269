"""Core's WebSocket for add-ons: who is let in, what goes through in both directions, and what ends it."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType
from attrs import frozen

from rooftree.interfaces.core import CoreLost
from rooftree_homeassistant import api_proxy_sockets
from rooftree_homeassistant.api_proxy import API_PROXY
from tests.plugins.homeassistant.proxied import Proxied, proxied
from tests.rig.core_process import CoreProcess, core_process

PATHS = ("/core/websocket", "/core/api/websocket", "/homeassistant/websocket", "/homeassistant/api/websocket")
FORBIDDEN = '{"id": 9, "type": "supervisor/api", "endpoint": "/addons", "method": "get"}'
TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE = 1, 2, 0, 9, 10, 8


@frozen
class House:
    """Core, and the way to it."""

    core: CoreProcess
    way: Proxied

    @asynccontextmanager
    async def socket(self, path: str = PATHS[0]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket on which nothing was said."""
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as session,
            session.ws_connect(self.way.url + path) as it,
        ):
            yield it

    @asynccontextmanager
    async def conversation(self, path: str = PATHS[0]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """One on which an add-on was let in."""
        async with self.socket(path) as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": self.way.token})
            await socket.receive_json()
            yield socket

    async def said_by_add_ons(self) -> list[Any]:
        """What Core was told that we do not say ourselves."""
        ours = {"supervisor/event", "subscribe_events", "config/auth/list"}
        commands = [told["message"] for told in await self.core.told("command")]
        return [message for message in commands if message.get("type") not in ours]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with core_process(tmp_path / "core") as core, proxied(tmp_path) as way:
        way.link.over_socket(core)
        await way.link.reached()
        yield House(core, way)


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["access_token", "api_password"])
async def test_add_on_introduces_itself_as_to_core_and_talks_to_it(house: House, path: str, key: str) -> None:
    async with house.socket(path) as socket:
        begin = await socket.receive_json()
        await socket.send_json({"type": "auth", key: house.way.token})
        let_in = await socket.receive_json()
        await socket.send_json({"id": 1, "type": "stand_in/echo", "text": "é"})
        answer = await socket.receive_json()

    assert begin == {"type": "auth_required", "ha_version": "2026.11.0"}
    assert let_in == {"type": "auth_ok", "ha_version": "2026.11.0"}
    assert (answer["success"], answer["result"]["text"]) == (True, "é")


async def test_core_without_a_socket_is_told_our_access_token_and_not_the_add_ons(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", version="2026.3.1") as core, proxied(tmp_path) as way:
        way.link.over_tcp(core)
        await way.link.reached()
        async with House(core, way).conversation() as socket:
            await socket.send_json({"id": 1, "type": "ping"})
            assert await socket.receive_json() == {"id": 1, "type": "pong"}
        told = await core.told()

    assert way.token not in json.dumps(told)


@pytest.mark.parametrize(
    "said",
    [
        '{"type": "auth", "access_token": "' + "f" * 112 + '"}',
        '{"type": "auth", "access_token": "OTHER"}',
        '{"type": "auth", "access_token": "TOKEN", "access_token": "OTHER"}',
        '{"type": "auth", "access_token": ["TOKEN"]}',
        '{"type": "auth"}',
        "[]",
        "TOKEN",
        '\ufeff{"type": "auth", "access_token": "TOKEN"}',
        b'{"type": "auth", "access_token": "TOKEN"}',
        "",
        "[" * 10_000,
    ],
)
async def test_who_is_not_let_in_is_told_why_and_core_hears_nothing(house: House, said: str | bytes) -> None:
    async with house.socket() as socket:
        await socket.receive_json()
        if isinstance(said, bytes):
            await socket.send_bytes(said.replace(b"TOKEN", house.way.token.encode()))
        else:
            await socket.send_str(said.replace("TOKEN", house.way.token).replace("OTHER", house.way.other))
        refusal = await socket.receive_json()
        end = await socket.receive()

    assert (refusal["type"], bool(refusal["message"])) == ("auth_invalid", True)
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1008)
    assert len(await house.core.told("connected")) == 1  # ours


async def test_who_says_nothing_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_proxy_sockets, "INTRODUCTION_S", 0.2)
    async with house.socket() as socket:
        await socket.receive_json()
        assert await socket.receive_json() == {"type": "auth_invalid", "message": "No token came within 0.2 s"}
        assert (await socket.receive()).type is WSMsgType.CLOSE


async def test_conversation_ends_with_the_token(house: House) -> None:
    tokens = house.way.link.system.tokens
    async with house.conversation() as socket:
        (token_id,) = (known.id for known in tokens.known("addon", "local_hello").values())

        await tokens.revoke(token_id)

        assert ((await socket.receive()).type, socket.close_code) == (WSMsgType.CLOSE, 1001)
    await house.core.is_told("disconnected")


# --- what goes through ------------------------------------------------------------------------------------------------


async def test_add_on_that_opens_conversations_without_end_is_told_to_close_some(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = house.way.link.system.services.get(API_PROXY)._conversations
    monkeypatch.setattr(places, "_most", 2)
    async with house.conversation(), house.conversation(), house.socket() as socket:
        await socket.receive_json()
        await socket.send_json({"type": "auth", "access_token": house.way.token})
        closed = await socket.receive()
    async with house.conversation() as socket:  # there is room again
        await socket.send_json({"id": 1, "type": "ping"})
        assert await socket.receive_json() == {"id": 1, "type": "pong"}

    assert (closed.type, closed.data) == (WSMsgType.CLOSE, WSCloseCode.TRY_AGAIN_LATER)
    assert str(closed.extra).startswith("addon:local_hello has 2 conversations with Core open, as many as may be")


async def test_events_come_as_they_happen(house: House) -> None:
    async with house.conversation() as socket:
        await socket.send_json({"id": 1, "type": "subscribe_events", "event_type": "lamp_on"})
        assert (await socket.receive_json())["success"]
        await house.core.fire("lamp_on", brightness=7)

        event = await socket.receive_json()

    assert (event["type"], event["event"]["data"]) == ("event", {"brightness": 7})


async def test_large_messages_go_through(house: House) -> None:
    text = "x" * (3 * 1024 * 1024)
    async with house.conversation() as socket:
        await socket.send_json({"id": 1, "type": "stand_in/echo", "text": text})
        answer = json.loads((await socket.receive()).data)

    assert answer["result"]["text"] == text


async def test_sound_goes_through_as_it_is(house: House) -> None:
    sound = b"\x01" + os.urandom(640)
    async with house.conversation() as socket:
        await socket.send_bytes(sound)
        assert (await socket.receive()).data == sound


async def test_commands_of_the_supervisor_are_refused_and_the_conversation_goes_on(house: House) -> None:
    async with house.conversation() as socket:
        await socket.send_str(FORBIDDEN)
        refusal = await socket.receive_json()
        await socket.send_json([{"id": 10, "type": "hassio/update/core"}, {"id": 11, "type": "ping"}])
        answers = [await socket.receive_json(), await socket.receive_json()]

    assert (refusal["id"], refusal["success"], refusal["error"]["code"]) == (9, False, "unauthorized")
    assert sorted((answer["id"], answer["type"]) for answer in answers) == [(10, "result"), (11, "pong")]
    assert await house.said_by_add_ons() == [{"id": 11, "type": "ping"}]


# --- frames, byte by byte ---------------------------------------------------------------------------------------------


def frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A client's frame (RFC 6455, section 5.2)."""
    mask, size = os.urandom(4), len(data)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked


class RawSocket:
    """A WebSocket whose frames are the test's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and content of the next frame that is no ping or pong."""
        while True:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            content = await self.reader.readexactly(size)
            if first & 0x0F not in {PING, PONG}:
                return first & 0x0F, content


@pytest.fixture
async def raw(house: House) -> AsyncIterator[RawSocket]:
    """One on which an add-on was let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.way.link.system.port)
    writer.write(
        b"GET /core/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with asyncio.timeout(20):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        socket = RawSocket(reader, writer)
        await socket.receive()
        writer.write(frame(TEXT, json.dumps({"type": "auth", "access_token": house.way.token}).encode()))
        assert b"auth_ok" in (await socket.receive())[1]
        yield socket
    writer.close()


def pieces(data: bytes, opcode: int = TEXT) -> bytes:
    """A message in frames of one byte, with pings between them."""
    last = len(data) - 1
    return b"".join(
        frame(CONTINUATION if index else opcode, data[index : index + 1], fin=index == last) + frame(PING, b"")
        if index != last
        else frame(CONTINUATION, data[index:])
        for index in range(len(data))
    )


COMMAND = FORBIDDEN.encode()
REFUSED = {
    "in one piece": (frame(TEXT, COMMAND), TEXT),
    "in pieces of one byte, pings between them": (pieces(COMMAND), TEXT),
    "behind an empty frame": (frame(TEXT, b"", fin=False) + frame(CONTINUATION, COMMAND), TEXT),
    "binary": (frame(BINARY, COMMAND), CLOSE),
    "binary, in pieces": (pieces(COMMAND, BINARY), CLOSE),
    "binary, behind blanks": (frame(BINARY, b" \r\n\t" + COMMAND), CLOSE),
    "binary, in UTF-16": (frame(BINARY, FORBIDDEN.encode("utf-16")), CLOSE),
    "behind a byte order mark": (frame(TEXT, codecs.BOM_UTF8 + COMMAND), CLOSE),
    "binary, behind a byte order mark": (frame(BINARY, codecs.BOM_UTF8 + COMMAND), CLOSE),
    "its type twice, the right one last": (frame(TEXT, b'{"id":9,"type":"ping","type":"supervisor/api"}'), CLOSE),
    "its type twice, the right one first": (frame(TEXT, b'{"id":9,"type":"supervisor/api","type":"ping"}'), CLOSE),
    "its type twice, once escaped": (frame(TEXT, b'{"id":9,"type":"ping","\\u0074ype":"hassio/x"}'), CLOSE),
    "two in a message": (frame(TEXT, b'{"id":8,"type":"ping"}\n' + COMMAND), CLOSE),
    "cut off": (frame(TEXT, COMMAND[:-1]), CLOSE),
    "no text at all": (frame(TEXT, b"\xff\xfe" + COMMAND), CLOSE),
    "of an unknown kind of frame": (frame(3, COMMAND), CLOSE),
    "begun anew within another": (frame(TEXT, b'{"id":9,', fin=False) + frame(TEXT, COMMAND), CLOSE),
    "a continuation of nothing": (frame(CONTINUATION, COMMAND), CLOSE),
    "in a batch": (frame(TEXT, b"[" + COMMAND + b"]"), TEXT),
    "in a batch in a batch": (frame(TEXT, b"[[" + COMMAND + b"]]"), CLOSE),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_command_of_the_supervisor_never_comes_to_core(house: House, raw: RawSocket, name: str) -> None:
    frames, answered_by = REFUSED[name]
    raw.writer.write(frames)

    opcode, content = await raw.receive()

    assert opcode == answered_by
    assert b"unauthorized" in content or opcode == CLOSE
    if opcode == CLOSE:
        await house.core.is_told("disconnected")
    else:
        raw.writer.write(frame(TEXT, b'{"id": 10, "type": "ping"}'))
        assert b"pong" in (await raw.receive())[1]
    assert [message["type"] for message in await house.said_by_add_ons()] in ([], ["ping"])
    assert await house.core.told("binary") == []


# --- what ends it -----------------------------------------------------------------------------------------------------


async def test_conversation_with_core_ends_when_the_add_on_goes(house: House) -> None:
    async with house.conversation():
        assert len(await house.core.told("connected")) == 2

    await house.core.is_told("disconnected")


async def test_add_on_hears_that_core_has_gone(house: House) -> None:
    async with house.conversation() as socket:
        await house.core.kill()
        end = await socket.receive()

    assert (end.type, end.data) == (WSMsgType.CLOSE, 1001)
    await house.way.link.is_told(CoreLost)


async def test_message_that_is_too_large_ends_it(house: House) -> None:
    async with house.conversation() as socket:
        with contextlib.suppress(ConnectionError):  # we do not listen any more when its last byte is sent
            await socket.send_str(json.dumps({"id": 1, "type": "stand_in/echo", "text": "x" * (4 * 1024 * 1024)}))
        assert (await socket.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED}

    await house.core.is_told("disconnected")
    assert await house.said_by_add_ons() == []
