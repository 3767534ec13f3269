"""Work that is done anew whenever there is more of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class WokenWork:
    """Work that is done at the start, and again each time that something wakes it. However often it is woken while it
    is done, it is done once more, and never twice side by side.

    :param work: finds out by itself what there is to do
    """

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work
        self._more = asyncio.Event()

    def wake(self, _: object = None) -> None:
        """There is more to do. May be told of an event, whichever."""
        self._more.set()

    async def again(self) -> None:
        """The same, as a task by the clock: try again what did not work."""
        self.wake()

    async def follow(self) -> None:
        """Do it, for ever; what it raises ends this, and whoever begins it anew has it done again."""
        while True:
            self._more.clear()
            await self._work()
            await self._more.wait()
