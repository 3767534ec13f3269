"""Core's WebSocket for an add-on: its side of the conversation begins as Core's would, and is another one to Core."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog
from aiohttp import ClientWebSocketResponse, WSCloseCode, WSMsgType, web

from rooftree import Introduction, Principal, RooftreeError
from rooftree.interfaces.core import CoreUnavailable
from rooftree_homeassistant.api_proxy_frames import MessageRefused, read_object, refuse_bytes, sifted
from rooftree_homeassistant.core_client import CoreClient
from rooftree_proxying import Places, TooManyOpen

log = structlog.get_logger(__name__)

GRANT: Final = "homeassistant_api"
"""What lets an add-on talk to Core."""
INTRODUCTION_S: Final = 10.0
"""Seconds that a client has to say who it is."""
GOODBYE_S: Final = 1.0
"""Seconds that Core has to answer ours."""
MOST_REASON_BYTES: Final = 123
"""How long the reason may be with which a WebSocket ends (RFC 6455, section 5.5)."""

_NEVER_SENT: Final = frozenset({1005, 1006, 1015})
"""Codes that say how a connection ended without one (RFC 6455, section 7.4.1)."""


class _NotLetIn(Exception):
    """Why a client may not talk to Core, as a sentence."""


async def bridge(
    client: web.WebSocketResponse, core_client: CoreClient, introduction: Introduction, conversations: Places
) -> None:
    """Let a client talk to Core until one of them ends it, or the client says what it must not.

    :param conversations: how many each client may have
    """
    await client.send_json({"type": "auth_required", "ha_version": core_client.version})
    try:
        caller = await _let_in(client, introduction)
    except _NotLetIn as refusal:
        await client.send_json({"type": "auth_invalid", "message": str(refusal)})
        await client.close(code=WSCloseCode.POLICY_VIOLATION, message=b"not let in")
        return
    try:
        with conversations.place(str(caller)):
            await _talk(client, core_client)
    except TooManyOpen as refusal:
        log.warning("core_socket_not_opened", reason=refusal.message)
        await client.close(code=WSCloseCode.TRY_AGAIN_LATER, message=refusal.message.encode()[:MOST_REASON_BYTES])


async def _talk(client: web.WebSocketResponse, core_client: CoreClient) -> None:
    try:
        core, version = await core_client.websocket()
    except CoreUnavailable as error:
        log.info("core_socket_not_opened", reason=error.message)
        await client.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"Core does not answer")
        return
    try:
        await client.send_json({"type": "auth_ok", "ha_version": version})
        code, reason = await _relay(client, core)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await core.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await client.close(code=code, message=reason.encode())


async def _let_in(client: web.WebSocketResponse, introduction: Introduction) -> Principal:
    """Wait until the client has said who it is; raises :class:`_NotLetIn`."""
    try:
        async with asyncio.timeout(INTRODUCTION_S):
            frame = await client.receive()
    except TimeoutError:
        raise _NotLetIn(f"No token came within {INTRODUCTION_S:g} s") from None
    try:
        said = read_object(frame.data if frame.type is WSMsgType.TEXT else "")
    except MessageRefused:
        said = {}
    token = said.get("access_token", said.get("api_password"))
    if not isinstance(token, str):
        raise _NotLetIn("Send a token first, as access_token")
    try:
        caller = await introduction.caller(token)
    except RooftreeError as error:
        raise _NotLetIn(error.message) from None
    if GRANT not in caller.grants:
        raise _NotLetIn(f"{caller} may not talk to Core: its configuration does not say {GRANT}: true")
    return caller


async def _relay(client: web.WebSocketResponse, core: ClientWebSocketResponse) -> tuple[int, str]:
    """Hand on what both say until one of them ends; how the client is told that it is over."""
    to_core = asyncio.create_task(_to_core(client, core), name="add-on to Core")
    to_client = asyncio.create_task(_to_client(core, client), name="Core to add-on")
    try:
        await asyncio.wait({to_core, to_client}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        to_core.cancel()
        to_client.cancel()
        outcomes = await asyncio.gather(to_core, to_client, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, MessageRefused):
            log.warning("message_to_core_refused", reason=str(outcome))
            return WSCloseCode.POLICY_VIOLATION, str(outcome)
        if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
            raise outcome
    code = core.close_code
    return WSCloseCode.GOING_AWAY if code is None or code in _NEVER_SENT else code, "Core has ended it"


async def _to_core(client: web.WebSocketResponse, core: ClientWebSocketResponse) -> None:
    async for frame in client:
        if frame.type is WSMsgType.TEXT:
            message = await sifted(frame.data)
            if message.forwarded is not None:
                await core.send_str(message.forwarded)
            for answer in message.answers:
                await client.send_json(answer)
        elif frame.type is WSMsgType.BINARY:
            refuse_bytes(frame.data)
            await core.send_bytes(frame.data)


async def _to_client(core: ClientWebSocketResponse, client: web.WebSocketResponse) -> None:
    async for frame in core:
        if frame.type is WSMsgType.TEXT:
            await client.send_str(frame.data)
        elif frame.type is WSMsgType.BINARY:
            await client.send_bytes(frame.data)
