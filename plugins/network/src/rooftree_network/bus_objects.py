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

SETTINGS: Final = BusObject(NETWORK_MANAGER, "/org/freedesktop/NetworkManager/Settings", f"{NETWORK_MANAGER}.Settings")
CHECKPOINT: Final = BusObject(NETWORK_MANAGER, NO_OBJECT, f"{NETWORK_MANAGER}.Checkpoint")
OBJECTS_PATH: Final = "/org/freedesktop"
"""Of NetworkManager's object manager."""

GET_SETTINGS: Final = BusMethod("GetSettings", "", "a{sa{sv}}")
TAKE_SETTINGS: Final = BusMethod("GetSettings", "", "a{sa{sv}}", variants=True)
"""The same, to be given back with a part of it changed."""
GET_SECRETS: Final = BusMethod("GetSecrets", "s", "a{sa{sv}}", variants=True)
UPDATE: Final = BusMethod("Update2", "a{sa{sv}}ua{sv}", "a{sv}")
DELETE: Final = BusMethod("Delete")
ADD_CONNECTION: Final = BusMethod("AddConnection2", "a{sa{sv}}ua{sv}", "oa{sv}")
CONNECTION_BY_UUID: Final = BusMethod("GetConnectionByUuid", "s", "o")
GET_APPLIED: Final = BusMethod("GetAppliedConnection", "u", "a{sa{sv}}t", variants=True)
REAPPLY: Final = BusMethod("Reapply", "a{sa{sv}}tu")
DISCONNECT: Final = BusMethod("Disconnect")
ACTIVATE: Final = BusMethod("ActivateConnection", "ooo", "o")
CHECKPOINT_CREATE: Final = BusMethod("CheckpointCreate", "aouu", "o")
CHECKPOINT_DESTROY: Final = BusMethod("CheckpointDestroy", "o")
CHECKPOINT_ROLLBACK: Final = BusMethod("CheckpointRollback", "o", "a{su}")
CHECKPOINT_ADJUST: Final = BusMethod("CheckpointAdjustRollbackTimeout", "ou")
REQUEST_SCAN: Final = BusMethod("RequestScan", "a{sv}")
CHECK_CONNECTIVITY: Final = BusMethod("CheckConnectivity", "", "u")

FULL_CONNECTIVITY: Final = 4
"""``NM_CONNECTIVITY_FULL``."""
ACTIVATING, ACTIVATED = 1, 2
"""States of an active connection."""
DEACTIVATED: Final = 4
TO_DISK, IN_MEMORY, BLOCK_AUTOCONNECT = 0x1, 0x2, 0x20
"""Flags of ``Update2`` and ``AddConnection2``."""
DELETES_NEW_PROFILES: Final = 0x2
"""A flag of a checkpoint: what going back to it does beside."""
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
    version: str | None = bus_property("Version", "s")
    starts: bool | None = bus_property("Startup", "b")
    """Whether it still looks at what there is, after its start."""
    checkpoints: Sequence[str] | None = bus_property("Checkpoints", "ao")


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
    reason: Sequence[int] | None = bus_property("StateReason", "(uu)")
    """Its state, and why it is in it."""
    udev_path: str | None = bus_property("Path", "s")
    """Where it is plugged in, udev's ``ID_PATH``; empty for what is nowhere."""
    available: Sequence[str] | None = bus_property("AvailableConnections", "ao")
    """The profiles that could be put in force on it."""


@frozen(kw_only=True)
class WirelessDevice:
    """What a wireless one has besides."""

    access_point: str | None = bus_property("ActiveAccessPoint", "o")
    access_points: Sequence[str] | None = bus_property("AccessPoints", "ao")
    last_scan: int | None = bus_property("LastScan", "x")
    """When it looked last for access points, in milliseconds of the boot's clock; -1 never."""


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
    uuid: str | None = bus_property("Uuid", "s")


@frozen(kw_only=True)
class StoredProfile:
    """A profile, as far as it is no settings."""

    unsaved: bool | None = bus_property("Unsaved", "b")
    """Whether it is otherwise on disk."""


@frozen(kw_only=True)
class Checkpoint:
    """What NetworkManager goes back to by itself when its time is over."""

    devices: Sequence[str] | None = bus_property("Devices", "ao")


@frozen(kw_only=True)
class Ip4Config:
    """IPv4 as it is on a device."""

    addresses: Sequence[Mapping[str, Any]] | None = bus_property("AddressData", "aa{sv}")
    """``address`` and ``prefix``."""
    gateway: str | None = bus_property("Gateway", "s")
    nameservers: Sequence[Mapping[str, Any]] | None = bus_property("NameserverData", "aa{sv}")
    """``address``."""
    routes: Sequence[Mapping[str, Any]] | None = bus_property("RouteData", "aa{sv}")
    """``dest``, ``prefix`` and ``metric``, the way to everywhere (prefix 0) among them."""


@frozen(kw_only=True)
class Ip6Config:
    """IPv6 as it is on a device."""

    addresses: Sequence[Mapping[str, Any]] | None = bus_property("AddressData", "aa{sv}")
    gateway: str | None = bus_property("Gateway", "s")
    nameservers: Sequence[bytes] | None = bus_property("Nameservers", "aay")
    routes: Sequence[Mapping[str, Any]] | None = bus_property("RouteData", "aa{sv}")
