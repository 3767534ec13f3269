"""The host's name and kind: org.freedesktop.hostname1(5)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property

HOSTNAME: Final = BusObject("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1")
SET_STATIC_HOSTNAME: Final = BusMethod("SetStaticHostname", "sb")


@frozen(kw_only=True)
class Hostname:
    """What hostnamed knows."""

    static_hostname: str | None = bus_property("StaticHostname", "s")
    chassis: str | None = bus_property("Chassis", "s")
    deployment: str | None = bus_property("Deployment", "s")
    kernel: str | None = bus_property("KernelRelease", "s")
    operating_system: str | None = bus_property("OperatingSystemPrettyName", "s")
    cpe: str | None = bus_property("OperatingSystemCPEName", "s")
