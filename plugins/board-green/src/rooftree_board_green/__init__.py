"""The lights of the Home Assistant Green, which the OS agent switches."""

from __future__ import annotations

from attrs import frozen

from rooftree.interfaces.bus import BusObject
from rooftree_machine.agent import AGENT
from rooftree_machine.agent_board import AgentBoard, agent_light


@frozen(kw_only=True)
class GreenLeds:
    """The lights, as the API names them."""

    activity_led: bool = agent_light("ActivityLED")
    power_led: bool = agent_light("PowerLED")
    system_health_led: bool = agent_light("UserLED")


class Green(AgentBoard):
    """The Home Assistant Green."""

    name = "green"
    settings = GreenLeds
    lights = BusObject(AGENT, "/io/hass/os/Boards/Green", "io.hass.os.Boards.Green")
