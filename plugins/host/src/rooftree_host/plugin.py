"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.bus import SYSTEM_BUS, BusConnected, BusLost, BusPropertiesChanged, BusServiceChanged
from rooftree.interfaces.hardware import HARDWARE
from rooftree.interfaces.journal import HOST_BOOTS, SYSTEM_JOURNAL
from rooftree.interfaces.power import HOST_POWER
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_host.boots import Boots
from rooftree_host.devices import HostDevices
from rooftree_host.disk_usage import DISK_USAGES, DiskUsages
from rooftree_host.disk_wear import DiskWear
from rooftree_host.drives import DRIVES, Drives
from rooftree_host.facts import HOST_FACTS, HostFacts
from rooftree_host.gateway import Gateway
from rooftree_host.power import Power
from rooftree_host.routes import routes
from rooftree_host.system_bus import SystemBusClient, usual_address
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
    optional = (INSTALLATION_PREFERENCES,)
    settings = HostSettings
    _gateway: Gateway | None = None
    _bus: SystemBusClient | None = None
    _usages: DiskUsages | None = None
    _facts: HostFacts | None = None
    _devices: HostDevices | None = None
    _drives: Drives | None = None

    async def setup(self, kernel: Kernel) -> None:
        """Connect to the bus, if there is one, and note the boot that we are in; whether the journal's gateway is there
        is found out by who reads it."""
        settings = kernel.settings(HostSettings)
        gateway = self._gateway = Gateway(settings.journal)
        bus = self._bus = SystemBusClient(settings.bus, kernel.publish)
        self._usages = DiskUsages(kernel.data.path)
        await bus.connect()
        kernel.provide(SYSTEM_BUS, bus)
        kernel.provide(SYSTEM_JOURNAL, gateway)
        self._facts = HostFacts(kernel, bus, gateway, DiskWear(bus, kernel.data.path))
        kernel.provide(HOST_FACTS, self._facts)
        kernel.provide(HOST_POWER, Power(kernel, bus))
        kernel.provide(UNITS, Units(bus))
        kernel.provide(DISK_USAGES, self._usages)
        kernel.provide(TIME_SERVERS, await TimeServers.load(kernel, bus))
        kernel.provide(HOST_BOOTS, await Boots.load(kernel))
        self._devices = await HostDevices.load(kernel)
        kernel.provide(HARDWARE, self._devices)
        self._drives = Drives(self._bus)
        kernel.provide(DRIVES, self._drives)
        for kind in (BusConnected, BusLost, BusServiceChanged, BusPropertiesChanged):
            kernel.on(kind, self._drives.bus_said)

    def routes(self) -> Routes:
        """``/host…``, ``/time…`` and ``/hardware/…``."""
        return routes

    @hookimpl
    async def info(self) -> Mapping[str, Any]:
        """What the bus knows better than the kernel."""
        return await self._facts.overview() if self._facts is not None else {}

    def tasks(self) -> Iterable[Task]:
        """Stay on the bus, and see what comes and goes."""
        if self._bus is not None:
            yield Task("system bus", self._bus.run)
        if self._devices is not None:
            yield Task("devices", self._devices.follow)
            yield Task("tell of devices", self._devices.tell)
        if self._drives is not None:
            yield Task("drives", self._drives.watch)

    async def stop(self) -> None:
        """End what is being read."""
        if self._gateway is not None:
            await self._gateway.close()
        if self._usages is not None:
            await self._usages.stop()
        if self._devices is not None:
            self._devices.close()
        if self._bus is not None:
            await self._bus.close()
