"""The clock itself: the service that this plugin provides."""

from attrs import evolve
from rooftree import Collection, Kernel, Problem, Service

from rooftree_service_clock.models import ClockSettings, ClockWound, Face, Spring

ONLY = "main"
"""The key of the one document there is."""
RUN_DOWN = "clock_run_down"


class TowerClock:
    """A clock that runs for as long as its spring is wound."""

    def __init__(self, kernel: Kernel, settings: ClockSettings, kept: Collection[Spring]) -> None:
        self._kernel = kernel
        self._settings = settings
        self._kept = kept

    @property
    def turns(self) -> int:
        """How many turns are left."""
        return self._spring.turns

    @property
    def full_turns(self) -> int:
        """How many turns the spring takes."""
        return self._settings.full_turns

    def face(self) -> Face:
        """What the clock shows."""
        return Face(self._kernel.clock.now(), self._spring.turns, self._spring.ticks)

    async def tick(self) -> None:
        """Use up a turn; a clock that has none left stands, and says so."""
        spring = self._spring
        if spring.turns > 0:
            await self._keep(evolve(spring, turns=spring.turns - 1, ticks=spring.ticks + 1))
        self.look()

    async def wind_to(self, turns: int) -> None:
        """Wind the spring, or let it out, to so many turns."""
        await self._keep(evolve(self._spring, turns=turns))
        self.look()
        self._kernel.publish(ClockWound(turns))

    def look(self) -> None:
        """Report that the clock has run down, or that it runs again."""
        if self.turns == 0:
            self._kernel.problems.report(
                Problem(RUN_DOWN, "plugin", "clock", message="The clock has run down; wind it with POST /clock/wind")
            )
        else:
            self._kernel.problems.clear(RUN_DOWN, "plugin", "clock")

    @property
    def _spring(self) -> Spring:
        return self._kept.get(ONLY) or Spring(self.full_turns)

    async def _keep(self, spring: Spring) -> None:
        await self._kernel.commit(self._kept.put(ONLY, spring))


CLOCK = Service[TowerClock]("clock/1")
"""For other plugins: name it in ``requires``, and take a :class:`TowerClock` as a parameter."""
