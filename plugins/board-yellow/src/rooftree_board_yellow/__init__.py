"""The lights of the Home Assistant Yellow, which the OS agent switches."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree import Unavailable
from rooftree.interfaces.boards import Board, BoardServices
from rooftree.interfaces.bus import SYSTEM_BUS, BusObject, SystemBus, Variant, bus_property

AGENT: Final = "io.hass.os"
BOARDS: Final = BusObject(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards")
YELLOW: Final = BusObject(AGENT, "/io/hass/os/Boards/Yellow", "io.hass.os.Boards.Yellow")


@frozen(kw_only=True)
class YellowLeds:
    """The lights, as the API names them."""

    disk_led: bool = True
    heartbeat_led: bool = True
    power_led: bool = True


@frozen(kw_only=True)
class AgentBoards:
    """Which board the agent sees."""

    board: str | None = bus_property("Board", "s")


@frozen(kw_only=True)
class AgentLeds:
    """The lights, as the agent names them."""

    disk_led: bool | None = bus_property("DiskLED", "b")
    heartbeat_led: bool | None = bus_property("HeartbeatLED", "b")
    power_led: bool | None = bus_property("PowerLED", "b")


class Yellow(Board):
    """The Home Assistant Yellow."""

    name = "yellow"
    settings = YellowLeds
    bus_services = (AGENT,)
    needs_reboot = True
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

    async def read(self) -> YellowLeds:
        """The lights, as they are."""
        now = await self._bus().read(AgentLeds, YELLOW)
        if now.disk_led is None or now.heartbeat_led is None or now.power_led is None:
            raise Unavailable(
                "The OS agent does not tell all the lights of this board: its version is too old, or too new"
            )
        return YellowLeds(disk_led=now.disk_led, heartbeat_led=now.heartbeat_led, power_led=now.power_led)

    async def write(self, settings: YellowLeds) -> None:
        """Switch those lights that are to be otherwise."""
        now = await self.read()
        if settings.disk_led != now.disk_led:
            await self._bus().write(YELLOW, "DiskLED", Variant("b", settings.disk_led))
        if settings.heartbeat_led != now.heartbeat_led:
            await self._bus().write(YELLOW, "HeartbeatLED", Variant("b", settings.heartbeat_led))
        if settings.power_led != now.power_led:
            await self._bus().write(YELLOW, "PowerLED", Variant("b", settings.power_led))

    def _bus(self) -> SystemBus:
        if self._services is None:
            raise Unavailable("The board is not connected")
        return self._services.service(SYSTEM_BUS)
