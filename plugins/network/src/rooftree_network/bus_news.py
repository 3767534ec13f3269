"""Waiting until something on the bus is so: looked at whenever the bus tells of a change, and within a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from rooftree import Event

LOOKS_S: Final = 1.0
"""Seconds after which it is looked again where nothing was told."""


class BusNews:
    """What is told, for those who wait for it."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def told(self, _: Event) -> None:
        """Something has changed on the bus."""
        self.tell()

    def tell(self) -> None:
        passed, self._next = self._next, asyncio.Event()
        passed.set()

    async def until[T](self, look: Callable[[], Awaitable[T | None]], within_s: float) -> T:
        """What ``look`` answers that is not ``None``; raises ``TimeoutError``."""
        async with asyncio.timeout(within_s):
            while True:
                following = self._next
                answer = await look()
                if answer is not None:
                    return answer
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOKS_S):
                        await following.wait()
