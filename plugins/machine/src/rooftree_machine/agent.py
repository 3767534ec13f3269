"""The OS agent of Home Assistant OS on the bus (https://github.com/home-assistant/os-agent): itself, and the board that
it sees. What one domain alone uses of it is declared there."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree.interfaces.bus import BusObject, bus_property

AGENT: Final = "io.hass.os"
"""The service."""
OS_AGENT: Final = BusObject(AGENT, "/io/hass/os", AGENT)
AGENT_BOARDS: Final = BusObject(AGENT, "/io/hass/os/Boards", "io.hass.os.Boards")


@frozen(kw_only=True)
class Agent:
    """The agent itself."""

    version: str | None = bus_property("Version", "s")


@frozen(kw_only=True)
class AgentBoards:
    """The boards that the agent knows."""

    board: str | None = bus_property("Board", "s")
    """The one that this host is."""
