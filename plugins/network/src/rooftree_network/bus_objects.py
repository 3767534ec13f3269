"""What this domain uses of NetworkManager on the system bus, declared.

Names, signatures and numbers are those of its D-Bus API (https://networkmanager.dev/docs/api/latest/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property

NETWORK_MANAGER: Final = "org.freedesktop.NetworkManager"
NO_OBJECT: Final = "/"
"""In place of a path where there is no such object."""

MANAGER: Final = BusObject(NETWORK_MANAGER, "/org/freedesktop/NetworkManager", NETWORK_MANAGER)
DEVICE: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Device")
WIRELESS: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Device.Wireless")
VLAN: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Device.Vlan")
ACCESS_POINT: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.AccessPoint")
ACTIVE: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Connection.Active")
IP4: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.IP4Config")
IP6: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.IP6Config")
PROFILE: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Settings.Connection")

GET_SETTINGS: Final = BusMethod("GetSettings", "", "a{sa{sv}}")
CHECK_CONNECTIVITY: Final = BusMethod("CheckConnectivity", "", "u")

FULL_CONNECTIVITY: Final = 4
"""``NM_CONNECTIVITY_FULL``."""
ACTIVATING, ACTIVATED = 1, 2
"""States of an active connection."""
IP4_READY, IP6_READY, EXTERNAL = 0x8, 0x10, 0x80
"""Bits of an active connection's flags; the last: somebody else has set it up."""


@frozen(kw_only=True)
class Manager:
    """NetworkManager itself."""

    devices: Sequence[str] | None = bus_property("Devices", "ao")
    primary: str | None = bus_property("PrimaryConnection", "o")
    """An active connection."""
    connectivity: int | None = bus_property("Connectivity", "u")
    checks_connectivity: bool | None = bus_property("ConnectivityCheckEnabled", "b")


@frozen(kw_only=True)
class Device:
    """A network device."""

    name: str | None = bus_property("Interface", "s")
    type: int | None = bus_property("DeviceType", "u")
    managed: bool | None = bus_property("Managed", "b")
    mac: str | None = bus_property("HwAddress", "s")
    active: str | None = bus_property("ActiveConnection", "o")
    dhcp4: str | None = bus_property("Dhcp4Config", "o")
    """There where IPv4 comes from DHCP."""
    ip4: str | None = bus_property("Ip4Config", "o")
    ip6: str | None = bus_property("Ip6Config", "o")


@frozen(kw_only=True)
class WirelessDevice:
    """What a wireless one has besides."""

    access_point: str | None = bus_property("ActiveAccessPoint", "o")


@frozen(kw_only=True)
class AccessPoint:
    """An access point in range."""

    strength: int | None = bus_property("Strength", "y")
    """Percent."""


@frozen(kw_only=True)
class VlanDevice:
    """What a VLAN has besides."""

    id: int | None = bus_property("VlanId", "u")
    parent: str | None = bus_property("Parent", "o")
    """A device."""


@frozen(kw_only=True)
class ActiveConnection:
    """A profile that is in force on a device."""

    state: int | None = bus_property("State", "u")
    flags: int | None = bus_property("StateFlags", "u")
    profile: str | None = bus_property("Connection", "o")


@frozen(kw_only=True)
class Ip4Config:
    """IPv4 as it is on a device."""

    addresses: Sequence[Mapping[str, Any]] | None = bus_property("AddressData", "aa{sv}")
    """``address`` and ``prefix``."""
    gateway: str | None = bus_property("Gateway", "s")
    nameservers: Sequence[Mapping[str, Any]] | None = bus_property("NameserverData", "aa{sv}")
    """``address``."""


@frozen(kw_only=True)
class Ip6Config:
    """IPv6 as it is on a device."""

    addresses: Sequence[Mapping[str, Any]] | None = bus_property("AddressData", "aa{sv}")
    gateway: str | None = bus_property("Gateway", "s")
    nameservers: Sequence[bytes] | None = bus_property("Nameservers", "aay")


SOURCES: Final[tuple[tuple[type[Any], BusObject], ...]] = (
    (Manager, MANAGER),
    (Device, DEVICE),
    (WirelessDevice, WIRELESS),
    (VlanDevice, VLAN),
    (AccessPoint, ACCESS_POINT),
    (ActiveConnection, ACTIVE),
    (Ip4Config, IP4),
    (Ip6Config, IP6),
)
"""Every class with the interface that it is read from."""
