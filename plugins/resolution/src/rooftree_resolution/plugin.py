"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rooftree import Kernel, Plugin, Routes, Task
from rooftree.process import SYSTEM, SystemState, SystemStateChanged
from rooftree_resolution.health import EVERY, HEALTH, Health
from rooftree_resolution.resolution import RESOLUTION, Resolution
from rooftree_resolution.routes import routes


class ResolutionPlugin(Plugin):
    """What is wrong with this installation, and what could be done about it."""

    name = "resolution"
    provides = (RESOLUTION, HEALTH)

    async def setup(self, kernel: Kernel) -> None:
        """Know what was dismissed, and hear of what goes wrong."""
        self._is_running = asyncio.Event()
        kernel.provide(RESOLUTION, await Resolution.load(kernel))
        self.health = await Health.load(kernel)
        kernel.provide(HEALTH, self.health)
        kernel.on(SystemStateChanged, lambda event: self._now_in(event.state))
        self._now_in(kernel.service(SYSTEM).state_now)

    def _now_in(self, state: SystemState) -> None:
        if state is SystemState.RUNNING:
            self._is_running.set()

    def routes(self) -> Routes:
        """``/resolution/…``."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Look at what nobody tells of, after the start and from time to time."""
        yield Task("check after the start", self.check_after_start)
        yield Task("health check", self.health.check_all, every=EVERY)

    async def check_after_start(self) -> None:
        """Once everything is there."""
        await self._is_running.wait()
        await self.health.check_all()
