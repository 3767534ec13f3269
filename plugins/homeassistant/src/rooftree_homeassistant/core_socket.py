"""Commands over a WebSocket to Core, and the events that were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import aiohttp
import orjson
import structlog
from aiohttp import ClientWebSocketResponse

from rooftree.interfaces.core import CoreRefused, CoreUnavailable

log = structlog.get_logger(__name__)

_GONE: Final = "Core's WebSocket was closed before it answered"

type CoreEventListener = Callable[[Mapping[str, Any]], None]
"""Gets the data of one of Core's events."""


class CoreSocket:
    """One authenticated WebSocket; :meth:`receive` has to run for anything to be answered."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._listeners: dict[int, CoreEventListener] = {}
        self._is_over = False

    async def command(self, kind: str, fields: Mapping[str, Any], within_s: float) -> Any:
        """Send a command and wait for its result.

        Raises :class:`CoreRefused`, and :class:`CoreUnavailable` where no result comes.
        """
        return await self._command(next(self._ids), kind, fields, within_s)

    async def subscribe(self, event_type: str, listener: CoreEventListener, within_s: float) -> None:
        """Have ``listener`` called for each of Core's events of that type; raises as :meth:`command` does."""
        number = next(self._ids)
        self._listeners[number] = listener
        await self._command(number, "subscribe_events", {"event_type": event_type}, within_s)

    async def receive(self) -> None:
        """Take in what comes, until the WebSocket is closed from either side."""
        try:
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._take(frame.data)
        finally:
            self._is_over = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(CoreUnavailable(_GONE))
            self._answers.clear()

    async def close(self) -> None:
        await self._socket.close()

    async def _command(self, number: int, kind: str, fields: Mapping[str, Any], within_s: float) -> Any:
        if self._is_over:
            raise CoreUnavailable(_GONE)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(within_s):
                await self._socket.send_str(orjson.dumps({**fields, "id": number, "type": kind}).decode())
                return await answer
        except TimeoutError as error:
            raise CoreUnavailable(f"Core did not answer {kind} within {within_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CoreUnavailable(_GONE) from error
        finally:
            self._answers.pop(number, None)

    def _take(self, text: str) -> None:
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            log.warning("core_message_not_understood", characters=len(text))
            return
        for message in content if isinstance(content, list) else [content]:
            if isinstance(message, dict):
                self._take_message(message)

    def _take_message(self, message: Mapping[str, Any]) -> None:
        number, kind = message.get("id"), message.get("type")
        if not isinstance(number, int):
            return
        if kind == "event" and number in self._listeners and isinstance(event := message.get("event"), dict):
            data = event.get("data")
            self._listeners[number](data if isinstance(data, dict) else {})
        answer = self._answers.get(number)
        if kind != "result" or answer is None or answer.done():
            return
        if message.get("success") is True:
            answer.set_result(message.get("result"))
            return
        error = message.get("error")
        told: Mapping[str, Any] = error if isinstance(error, dict) else {}
        code = str(told.get("code", "unknown_error"))
        answer.set_exception(CoreRefused(f"Core refused: {told.get('message') or code}", code=code))
