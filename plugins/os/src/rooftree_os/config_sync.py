"""Taking over configuration from a USB stick: a service of the operating system looks for one when it is started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from rooftree import Failed, Lock, Step, Steps, Unavailable, job, step
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_os.bus_objects import JOB_REMOVED, RESTART_UNIT, SUBSCRIBE, UNITS
from rooftree_os.operating_system import OperatingSystem

RENAMED_SINCE: Final = "18.0.rc1"
TAKES_S: Final = 120.0
"""Seconds that the service may take."""


@step("os.restart_unit/1")
class RestartUnit(Step):
    """Restart a unit of systemd, and wait for what comes of it."""

    unit: str

    async def do(self, bus: SystemBus) -> None:
        """Restart it."""
        await _subscribe(bus)
        async with bus.listening(UNITS, JOB_REMOVED) as ends:
            wanted = await bus.call(UNITS, RESTART_UNIT, self.unit, "replace")
            try:
                async with asyncio.timeout(TAKES_S):
                    result = await _result(ends, wanted)
            except TimeoutError:
                raise Unavailable(f"{self.unit} was not restarted within {TAKES_S:g} s") from None
        if result != "done":
            raise Failed(f"{self.unit} was not restarted: {result}; journalctl --unit {self.unit} has more")


async def _subscribe(bus: SystemBus) -> None:
    """Let systemd tell of the ends of jobs; it refuses to be asked twice by one client, which others here may have."""
    try:
        await bus.call(UNITS, SUBSCRIBE)
    except BusRefused as error:
        if error.name != "org.freedesktop.systemd1.AlreadySubscribed":
            raise


async def _result(ends: AsyncIterator[tuple[Any, ...]], wanted: str) -> str:
    """How a job of systemd ended."""
    async for _, path, _, result in ends:
        if path == wanted:
            return str(result)
    raise Unavailable("systemd no longer tells of the ends of its jobs")


@job("os_manager_config_sync", locks=lambda: [Lock("os", "config")], conditions=("haos",))
async def sync_config(system: OperatingSystem) -> Steps:
    """Take over the configuration that is on a USB stick."""
    found = await system.required()
    name = "haos-config.service" if found.is_at_least(RENAMED_SINCE) else "hassos-config.service"
    return [RestartUnit(name)]
