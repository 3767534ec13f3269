"""A Core that notes what it is told, and is there, away or unwilling as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen, mutable

from rooftree import Kernel, Plugin
from rooftree.interfaces.core import CORE, CoreAnswer, CoreLost, CoreReached, CoreUnavailable, CoreUser
from rooftree.process.system import System


@frozen
class Told:
    """A call of Core's API."""

    method: str
    path: str
    content: object


@mutable
class CoreDesk:
    """Core, as the plugins see it."""

    answers: bool = True
    status: int = 200
    """What it answers."""
    told: asyncio.Queue[Told] = field(factory=asyncio.Queue)
    """What it has answered to."""
    asked: asyncio.Queue[Told] = field(factory=asyncio.Queue)
    """What it was asked though it is away."""

    async def request(
        self, method: str, path: str, *, content: object | None = None, within_s: float = 30.0
    ) -> CoreAnswer:
        """Note the call."""
        told = Told(method, path, content)
        if not self.answers:
            self.asked.put_nowait(told)
            raise CoreUnavailable("Core is away")
        self.told.put_nowait(told)
        return CoreAnswer(status=self.status)

    async def command(self, kind: str, /, *, within_s: float = 30.0, **fields: Any) -> Any:
        """No domain of these tests sends any."""
        raise AssertionError(kind)

    async def users(self) -> Sequence[CoreUser]:
        """No domain of these tests asks."""
        raise AssertionError("users")

    def come(self, system: System) -> None:
        """Answer (again), and let all know."""
        self.answers, self.status = True, 200
        system.bus.publish(CoreReached("2026.11.0"))

    def go(self, system: System) -> None:
        """Answer no more."""
        self.answers = False
        system.bus.publish(CoreLost())

    async def next(self) -> Told:
        """What it is told next."""
        async with asyncio.timeout(5):
            return await self.told.get()

    def plugin(self) -> type[Plugin]:
        """What provides it."""
        desk = self

        class DeskPlugin(Plugin):
            name = "homeassistant"
            provides = (CORE,)

            async def setup(self, kernel: Kernel) -> None:
                kernel.provide(CORE, desk)

        return DeskPlugin
