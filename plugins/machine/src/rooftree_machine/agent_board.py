"""A board whose lights the OS agent switches: what such drivers have in common, which is all but the lights."""

from __future__ import annotations

from typing import Any, ClassVar, Final, override

import attrs
from attrs import field

from rooftree import Unavailable
from rooftree.interfaces.boards import Board, BoardServices
from rooftree.interfaces.bus import SYSTEM_BUS, BusObject, SystemBus, Variant, bus_property
from rooftree_machine.agent import AGENT, AGENT_BOARDS, AgentBoards

_PROPERTY: Final = "agent_light"


def agent_light(name: str) -> Any:
    """A setting that is a light, switched by the agent's property of that name; on unless somebody says otherwise."""
    return field(default=True, metadata={_PROPERTY: name})


class AgentBoard(Board):
    """Base of the drivers of such boards; a driver says its name, its lights, and where the agent has them."""

    lights: ClassVar[BusObject]
    """The agent's object of this board; the settings are its properties, each declared with :func:`agent_light`."""
    bus_services = (AGENT,)
    _told: ClassVar[type[Any]]
    _services: BoardServices | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.settings is not None:
            cls._told = _as_told(cls.settings)

    @override
    async def connect(self, services: BoardServices, /) -> None:
        self._services = services

    @override
    async def present(self) -> bool:
        """Whether the OS agent says that this is the board; where there is no agent, nobody does."""
        bus = self._services.find(SYSTEM_BUS) if self._services is not None else None
        if bus is None or not bus.has(AGENT):
            return False
        return ((await bus.read(AgentBoards, AGENT_BOARDS)).board or "").lower() == self.name

    @override
    async def read(self) -> Any:
        assert self.settings is not None
        told = await self._bus().read(self._told, self.lights)
        now = attrs.asdict(told)
        if None in now.values():
            raise Unavailable(
                "The OS agent does not tell all the lights of this board: its version is too old, or too new"
            )
        return self.settings(**now)

    @override
    async def write(self, settings: Any, /) -> None:
        """Switch those lights that are to be otherwise."""
        now = await self.read()
        for name, light in _lights(type(settings)).items():
            wanted = getattr(settings, name)
            if wanted != getattr(now, name):
                await self._bus().write(self.lights, light, Variant("b", wanted))

    def _bus(self) -> SystemBus:
        if self._services is None:
            raise Unavailable("The board is not connected")
        return self._services.service(SYSTEM_BUS)


def _lights(settings: type[Any]) -> dict[str, str]:
    """The agent's properties by setting."""
    return {attribute.name: attribute.metadata[_PROPERTY] for attribute in attrs.fields(settings)}


def _as_told(settings: type[Any]) -> type[Any]:
    """The lights as the agent tells them; other than the settings they may be ``None``."""
    told = {name: bus_property(light, "b") for name, light in _lights(settings).items()}
    return attrs.make_class(f"{settings.__name__}AsTold", told, frozen=True, kw_only=True)
