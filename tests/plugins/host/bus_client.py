"""What tests of the client of the system bus look at, and what it tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import frozen

from rooftree import Event
from rooftree.interfaces.bus import (
    BusConnected,
    BusMethod,
    BusObject,
    bus_property,
)
from rooftree_host.system_bus import HostBus
from tests.bus.machine import AGENT, HOSTNAME, MANAGER, SYSTEMD, SYSTEMD_PATH, TIMEDATE

HOST = BusObject(HOSTNAME, "/org/freedesktop/hostname1", HOSTNAME)
CLOCK = BusObject(TIMEDATE, "/org/freedesktop/timedate1", TIMEDATE)
UNITS = BusObject(SYSTEMD, SYSTEMD_PATH, MANAGER)
OS_AGENT = BusObject(AGENT, "/io/hass/os", AGENT)
SET_HOSTNAME = BusMethod("SetStaticHostname", "sb")
START_UNIT = BusMethod("StartUnit", "ss", "o")


@frozen(kw_only=True)
class Host:
    """Some of what hostnamed knows."""

    name: str | None = bus_property("StaticHostname", "s")
    chassis: str | None = bus_property("Chassis", "s")
    nonsense: str | None = bus_property("Nonsense", "s")
    wrong: int | None = bus_property("Deployment", "u")


@frozen(kw_only=True)
class ClockState:
    """A property that nobody tells of."""

    synchronized: bool | None = bus_property("NTPSynchronized", "b", told=False)


@frozen(kw_only=True)
class Agent:
    """The agent's."""

    version: str | None = bus_property("Version", "s")
    diagnostics: bool | None = bus_property("Diagnostics", "b")


class Told:
    """The events, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, true: Callable[[Event], bool]) -> Event:
        """The first event of which that is true, once it has come."""
        async with asyncio.timeout(10):
            while True:
                self._changed.clear()
                for event in self.events:
                    if true(event):
                        return event
                await self._changed.wait()


async def connected(client: HostBus, told: Told) -> None:
    await told.until(lambda event: isinstance(event, BusConnected))
    assert client.connected
