"""A house with the host's plugin, on a private bus with the stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

from rooftree import Plugin
from rooftree.interfaces.bus import SYSTEM_BUS
from rooftree.process.system import System
from rooftree.testing import Client, Failing, running_system
from rooftree_host.plugin import HostPlugin
from tests.bus.private_bus import PrivateBus, Services, private_bus, services


@frozen
class House:
    """The system, an administrator's client, and the machine's services."""

    system: System
    client: Client
    bus: PrivateBus
    machine: Services

    async def until_connected(self) -> None:
        """Wait until the system is on the bus."""
        async with asyncio.timeout(10):
            while not self.system.services.get(SYSTEM_BUS).connected:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def house(
    folder: Path,
    sockets: Path,
    *names: str,
    plugins: Sequence[type[Plugin]] = (),
    allow: Collection[Failing] = (),
    stop_timeout_s: float = 20.0,
) -> AsyncIterator[House]:
    """A house whose machine has the services of these names (all, if none is named)."""
    async with private_bus(sockets) as bus, services(bus.address, *names) as machine:
        settings = {
            "kernel.stop_timeout_s": stop_timeout_s,
            "plugins.host.bus": bus.address,
            "plugins.host.journal": f"unix://{sockets / 'journal.sock'}",
        }
        async with (
            running_system(folder, plugins=[HostPlugin, *plugins], settings=settings, allow=allow) as system,
            Client.over_unix(system) as client,
        ):
            found = House(system, client, bus, machine)
            await found.until_connected()
            await machine.calls()
            yield found
