"""What Core is to be told, until it has been: of each thing the latest, in the order in which that happened.

Core may be away for a moment or for weeks. When it is back, it is told what changed meanwhile: not how a job went, but
how it ended.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import structlog

from rooftree import Clock
from rooftree.interfaces.core import Core, CoreRefused, CoreUnavailable

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 500
"""Messages that wait; beyond, the oldest are dropped. Core looks at everything by itself from time to time."""
WITHIN_S: Final = 10.0
"""Seconds that Core may take to take a message in."""
PAUSE_S: Final = 5.0
"""Seconds after which a Core that is there, and did not take a message in, is told again."""

type MessageKey = tuple[str, ...]
"""What a message is about: a later one about the same takes its place."""
type CoreMessage = Mapping[str, Any]
"""The ``data`` of a ``supervisor/event``."""


class Outbox:
    """The messages that wait. They are sent while Core is there, and as long as :meth:`open` was called."""

    def __init__(self, core: Core, clock: Clock) -> None:
        self._core = core
        self._clock = clock
        self._waiting: OrderedDict[MessageKey, CoreMessage] = OrderedDict()
        self._is_open = False
        self._may_send = asyncio.Event()

    def put(self, key: MessageKey, message: CoreMessage) -> None:
        """Tell Core as soon as that can be."""
        self._waiting[key] = message
        self._waiting.move_to_end(key)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        self.look_again()

    def open(self) -> None:
        """Begin to send: the system runs."""
        self._is_open = True
        self.look_again()

    def close(self) -> None:
        """Send nothing more: the system stops, and what happens from now on is for the next start to tell."""
        self._is_open = False
        self._waiting.clear()
        self.look_again()

    def look_again(self) -> None:
        """Core may be there, or gone."""
        if self._is_open and self._waiting and self._core.answers:
            self._may_send.set()
        else:
            self._may_send.clear()

    async def run(self) -> None:
        """Send what waits; for a task of the plugin."""
        while True:
            await self._may_send.wait()
            if not self._waiting:  # closed since this was woken
                continue
            key, message = self._waiting.popitem(last=False)
            try:
                await self._core.command("supervisor/event", within_s=WITHIN_S, data=message)
            except CoreRefused as error:
                log.warning("core_message_refused", about=key, reason=error.message)
            except CoreUnavailable as error:
                log.debug("core_message_waits", about=key, reason=error.message)
                if self._is_open and key not in self._waiting:
                    self._waiting[key] = message
                    self._waiting.move_to_end(key, last=False)
                if self._core.answers:
                    await self._clock.sleep(PAUSE_S)
            self.look_again()
