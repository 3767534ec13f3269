"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from rooftree import JobCall, Kernel, Plugin, Problem, Routes, Task, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS, BusConnected, BusLost, BusPropertiesChanged, BusServiceChanged
from rooftree.interfaces.hardware import HARDWARE
from rooftree.interfaces.journal import HOST_BOOTS, SYSTEM_JOURNAL
from rooftree.interfaces.mounts import MOUNTS
from rooftree.interfaces.power import HOST_POWER
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_host.boots import Boots
from rooftree_host.devices import HostDevices
from rooftree_host.disk_usage import DISK_USAGES, DiskUsages
from rooftree_host.disk_wear import DiskWear
from rooftree_host.drives import DRIVES, Drives
from rooftree_host.facts import HOST_FACTS, HostFacts
from rooftree_host.gateway import Gateway
from rooftree_host.power import Power, reboot
from rooftree_host.routes import routes
from rooftree_host.system_bus import HostBus, usual_address
from rooftree_host.time_servers import TIME_SERVERS, TimeServers
from rooftree_host.units import UNITS, Units


@frozen
class HostSettings:
    """``[plugins.host]`` in rooftree.toml."""

    journal: str = "unix:///run/systemd-journal-gatewayd.sock"
    """Where systemd-journal-gatewayd(8) listens: ``unix:///path`` or ``http://host:19531``."""
    bus: str = field(factory=usual_address)
    """The D-Bus address of the system bus; unless set, ``DBUS_SYSTEM_BUS_ADDRESS``, else the usual place."""


class HostPlugin(Plugin):
    """The host that Rooftree runs on: its bus, journal and devices, and what they and the kernel know of it."""

    name = "host"
    provides = (
        SYSTEM_BUS,
        SYSTEM_JOURNAL,
        HOST_BOOTS,
        HOST_FACTS,
        HOST_POWER,
        UNITS,
        DISK_USAGES,
        TIME_SERVERS,
        HARDWARE,
        DRIVES,
    )
    optional = (INSTALLATION_PREFERENCES, MOUNTS)
    settings = HostSettings

    async def setup(self, kernel: Kernel) -> None:
        """Connect to the bus, if there is one, and note the boot that we are in; whether the journal's gateway is there
        is found out by who reads it."""
        settings = kernel.settings(HostSettings)
        gateway = Gateway(settings.journal)
        kernel.defer(gateway.close)
        usages = DiskUsages(kernel.data.path, lambda: kernel.find(MOUNTS))
        kernel.defer(usages.stop)
        self.bus = bus = HostBus(settings.bus, kernel.publish)
        kernel.defer(bus.close)
        await bus.connect()
        kernel.provide(SYSTEM_BUS, bus)
        kernel.provide(SYSTEM_JOURNAL, gateway)
        self.facts = HostFacts(kernel, bus, gateway, DiskWear(bus, kernel.data.path))
        kernel.provide(HOST_FACTS, self.facts)
        kernel.provide(HOST_POWER, Power(kernel, bus))
        kernel.provide(UNITS, Units(bus))
        kernel.provide(DISK_USAGES, usages)
        kernel.provide(TIME_SERVERS, await TimeServers.load(kernel, bus))
        kernel.provide(HOST_BOOTS, await Boots.load(kernel))
        self.devices = await HostDevices.load(kernel)
        kernel.defer(self.devices.close)
        kernel.provide(HARDWARE, self.devices)
        self.drives = Drives(bus)
        kernel.provide(DRIVES, self.drives)
        for kind in (BusConnected, BusLost, BusServiceChanged, BusPropertiesChanged):
            kernel.on(kind, self.drives.bus_said)

    def routes(self) -> Routes:
        """``/host…``, ``/time…`` and ``/hardware/…``."""
        return routes

    @hookimpl
    async def info(self) -> Mapping[str, Any]:
        """What the bus knows better than the kernel."""
        return await self.facts.overview()

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Start the host again, whoever suggests it."""
        return reboot(force=False) if (problem.context, suggestion) == ("system", "execute_reboot") else None

    def tasks(self) -> Iterable[Task]:
        """Stay on the bus, and see what comes and goes."""
        yield Task("system bus", self.bus.run)
        yield Task("devices", self.devices.follow)
        yield Task("tell of devices", self.devices.tell)
        yield Task("drives", self.drives.watch)
