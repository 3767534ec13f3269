"""The table of contents: what the clock offers, keeps and does by itself."""

from collections.abc import Iterable
from datetime import timedelta

from rooftree import Kernel, Plugin, Routes, Task

from rooftree_service_clock.models import ClockSettings, Spring
from rooftree_service_clock.routes import routes
from rooftree_service_clock.tower_clock import CLOCK, TowerClock


class ClockPlugin(Plugin):
    """A tower clock that has to be wound."""

    name = "clock"
    provides = (CLOCK,)
    settings = ClockSettings

    async def setup(self, kernel: Kernel) -> None:
        """Read what is kept, and offer the clock to others."""
        settings = kernel.settings(ClockSettings)
        self.tick_every = timedelta(seconds=settings.tick_s)
        self.clock = TowerClock(kernel, settings, await kernel.collection(Spring))
        self.clock.look()
        kernel.provide(CLOCK, self.clock)

    def routes(self) -> Routes:
        """See :mod:`rooftree_service_clock.routes`."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Tick."""
        yield Task("tick", self.clock.tick, every=self.tick_every)
