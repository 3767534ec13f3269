"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import field, frozen

from rooftree import Kernel, Plugin, Routes, Task
from rooftree.interfaces.bus import SYSTEM_BUS, BusConnected, BusLost, BusPropertiesChanged, BusServiceChanged
from rooftree.interfaces.hardware import HARDWARE
from rooftree.interfaces.journal import HOST_BOOTS, SYSTEM_JOURNAL
from rooftree_host.boots import Boots
from rooftree_host.devices import HostDevices
from rooftree_host.drives import DRIVES, Drives
from rooftree_host.gateway import Gateway
from rooftree_host.routes import routes
from rooftree_host.system_bus import SystemBusClient, usual_address


@frozen
class HostSettings:
    """``[plugins.host]`` in rooftree.toml."""

    journal: str = "unix:///run/systemd-journal-gatewayd.sock"
    """Where systemd-journal-gatewayd(8) listens: ``unix:///path`` or ``http://host:19531``."""
    bus: str = field(factory=usual_address)
    """The D-Bus address of the system bus; unless set, ``DBUS_SYSTEM_BUS_ADDRESS``, else the usual place."""


class HostPlugin(Plugin):
    """The host that Rooftree runs on: its system bus, system journal and devices, and the boots it went through."""

    name = "host"
    provides = (SYSTEM_BUS, SYSTEM_JOURNAL, HOST_BOOTS, HARDWARE, DRIVES)
    settings = HostSettings
    _gateway: Gateway | None = None
    _bus: SystemBusClient | None = None
    _devices: HostDevices | None = None
    _drives: Drives | None = None

    async def setup(self, kernel: Kernel) -> None:
        """Connect to the bus, if there is one, and note the boot that we are in; whether the journal's gateway is there
        is found out by who reads it."""
        settings = kernel.settings(HostSettings)
        self._gateway = Gateway(settings.journal)
        self._bus = SystemBusClient(settings.bus, kernel.publish)
        await self._bus.connect()
        kernel.provide(SYSTEM_BUS, self._bus)
        kernel.provide(SYSTEM_JOURNAL, self._gateway)
        kernel.provide(HOST_BOOTS, await Boots.load(kernel))
        self._devices = await HostDevices.load(kernel)
        kernel.provide(HARDWARE, self._devices)
        self._drives = Drives(self._bus)
        kernel.provide(DRIVES, self._drives)
        for kind in (BusConnected, BusLost, BusServiceChanged, BusPropertiesChanged):
            kernel.on(kind, self._drives.bus_said)

    def routes(self) -> Routes:
        """``/host/logs…`` and ``/hardware/…``."""
        return routes

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
        if self._devices is not None:
            self._devices.close()
        if self._bus is not None:
            await self._bus.close()
