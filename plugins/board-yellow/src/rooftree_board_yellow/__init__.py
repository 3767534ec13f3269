"""The lights of the Home Assistant Yellow, which the OS agent switches."""

from __future__ import annotations

from attrs import frozen

from rooftree.interfaces.bus import BusObject
from rooftree_machine.agent import AGENT
from rooftree_machine.agent_board import AgentBoard, agent_light


@frozen(kw_only=True)
class YellowLeds:
    """The lights, as the API names them."""

    disk_led: bool = agent_light("DiskLED")
    heartbeat_led: bool = agent_light("HeartbeatLED")
    power_led: bool = agent_light("PowerLED")


class Yellow(AgentBoard):
    """The Home Assistant Yellow."""

    name = "yellow"
    settings = YellowLeds
    lights = BusObject(AGENT, "/io/hass/os/Boards/Yellow", "io.hass.os.Boards.Yellow")
    needs_reboot = True
