"""Taking over configuration from a USB stick: a service of the operating system looks for one when it is started."""

from __future__ import annotations

import asyncio
from typing import Final

from rooftree import Failed, Lock, Step, Steps, Unavailable, job, step
from rooftree.interfaces.bus import SystemBus
from rooftree_machine.systemd import DONE, RESTART_UNIT, change_unit
from rooftree_os.operating_system import OperatingSystem

RENAMED_SINCE: Final = "18.0.rc1"
TAKES_S: Final = 120.0
"""Seconds that the service may take."""


@step("os.restart_unit/1")
class RestartUnit(Step):
    """Restart a unit of systemd, and wait for what comes of it."""

    unit: str

    async def do(self, bus: SystemBus) -> None:
        try:
            async with asyncio.timeout(TAKES_S):
                outcome = await change_unit(bus, RESTART_UNIT, self.unit)
        except TimeoutError:
            raise Unavailable(f"{self.unit} was not restarted within {TAKES_S:g} s") from None
        if outcome != DONE:
            raise Failed(f"{self.unit} was not restarted: {outcome}; journalctl --unit {self.unit} has more")


@job("os_manager_config_sync", locks=lambda: [Lock("os", "config")], conditions=("haos",))
async def sync_config(system: OperatingSystem) -> Steps:
    """Take over the configuration that is on a USB stick."""
    home_assistant_os = await system.required()
    name = "haos-config.service" if home_assistant_os.is_at_least(RENAMED_SINCE) else "hassos-config.service"
    return [RestartUnit(name)]
