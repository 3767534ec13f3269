"""The lights of the Home Assistant Green, which the OS agent switches."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree import Unavailable
from rooftree.interfaces.boards import Board, BoardServices
from rooftree.interfaces.bus import SYSTEM_BUS, BusObject, SystemBus, Variant, bus_property

AGENT: Final = "io.hass.os"
BOARDS: Final = BusObject(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards")
GREEN: Final = BusObject(AGENT, "/io/hass/os/Boards/Green", "io.hass.os.Boards.Green")


@frozen(kw_only=True)
class GreenLeds:
    """The lights, as the API names them."""

    activity_led: bool = True
    power_led: bool = True
    system_health_led: bool = True


@frozen(kw_only=True)
class AgentBoards:
    """Which board the agent sees."""

    board: str | None = bus_property("Board", "s")


@frozen(kw_only=True)
class AgentLeds:
    """The lights, as the agent names them."""

    activity_led: bool | None = bus_property("ActivityLED", "b")
    power_led: bool | None = bus_property("PowerLED", "b")
    system_health_led: bool | None = bus_property("UserLED", "b")


class Green(Board):
    """The Home Assistant Green."""

    name = "green"
    settings = GreenLeds
    bus_services = (AGENT,)
    _services: BoardServices | None = None

    async def connect(self, services: BoardServices) -> None:
        """Keep where the bus is found."""
        self._services = services

    async def present(self) -> bool:
        """Whether the OS agent says that this is the board; where there is no agent, nobody does."""
        bus = self._services.find(SYSTEM_BUS) if self._services is not None else None
        if bus is None or not bus.has(AGENT):
            return False
        return ((await bus.read(AgentBoards, BOARDS)).board or "").lower() == self.name

    async def read(self) -> GreenLeds:
        """The lights, as they are."""
        now = await self._bus().read(AgentLeds, GREEN)
        if now.activity_led is None or now.power_led is None or now.system_health_led is None:
            raise Unavailable(
                "The OS agent does not tell all the lights of this board: its version is too old, or too new"
            )
        return GreenLeds(
            activity_led=now.activity_led, power_led=now.power_led, system_health_led=now.system_health_led
        )

    async def write(self, settings: GreenLeds) -> None:
        """Switch those lights that are to be otherwise."""
        now = await self.read()
        if settings.activity_led != now.activity_led:
            await self._bus().write(GREEN, "ActivityLED", Variant("b", settings.activity_led))
        if settings.power_led != now.power_led:
            await self._bus().write(GREEN, "PowerLED", Variant("b", settings.power_led))
        if settings.system_health_led != now.system_health_led:
            await self._bus().write(GREEN, "UserLED", Variant("b", settings.system_health_led))

    def _bus(self) -> SystemBus:
        if self._services is None:
            raise Unavailable("The board is not connected")
        return self._services.service(SYSTEM_BUS)
