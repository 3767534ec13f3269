"""A device of NetworkManager's with the profile that is, or can be, in force on it: for who changes it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from attrs import frozen

from rooftree import NotFound, Unavailable
from rooftree.interfaces.bus import BusObject, BusRefused, BusUnavailable, SystemBus, Variant
from rooftree_network.bus_objects import (
    ACTIVATED,
    ACTIVE,
    CONNECTION_BY_UUID,
    DEVICE,
    EXTERNAL,
    GET_SECRETS,
    IP4,
    IP4_READY,
    IP6,
    IP6_READY,
    MANAGER,
    NETWORK_MANAGER,
    NO_OBJECT,
    PROFILE,
    SETTINGS,
    TAKE_SETTINGS,
    ActiveConnection,
    Device,
    Ip4Config,
    Ip6Config,
    Manager,
)
from rooftree_network.interface_setup import AUTO, CONNECTION, SECURITY, WIFI, InterfaceSetup, Settings, setup_of

OURS: Final = "Supervisor"
"""How the names of profiles begin that we, or the existing supervisor, have made."""
TAKES_S: Final = 10.0
"""Seconds that NetworkManager may take for a change to its books."""
_HIDDEN: Final = "PermissionDenied"
"""How the error ends for those to whom NetworkManager does not show profiles."""
_WIRELESS: Final = 2
_NEW_WORDS: Final = (1, 40)
"""The version of NetworkManager that leaves ``addr-gen-mode`` to its own settings where it is told so."""
_DEFAULT_GENERATION, _STABLE_PRIVACY = 3, 1


class InterfaceNotManaged(NotFound):
    """NetworkManager has no such device, or leaves it alone."""

    error_key = "host_network_interface_update_not_found_error"


@frozen(kw_only=True)
class ChangedDevice:
    """One device as it is now."""

    name: str
    path: str
    device: Device
    active: ActiveConnection | None
    profile: str | None
    """The path of its profile: the one in force, else one that is for it alone."""
    uuid: str | None
    settings: Settings
    """What is in the profile, without secrets; empty without one."""
    addresses: Sequence[str]
    """Those that it has now, with prefix length."""
    gateways: Sequence[str]

    @property
    def setup(self) -> InterfaceSetup:
        """What the profile says."""
        return setup_of(self.settings)

    @property
    def mac(self) -> str:
        return self.device.mac or ""

    @property
    def is_wireless(self) -> bool:
        """Whether it is a wireless card."""
        return self.device.type == _WIRELESS

    @property
    def is_connected(self) -> bool:
        """Whether something is in force on it, entirely."""
        return self.active is not None and self.active.state == ACTIVATED

    @property
    def awaits_addresses(self) -> bool:
        """Whether some may still come by themselves: a connection is in force as soon as one of its two kinds is."""
        flags = (self.active.flags or 0) if self.active is not None else 0
        ways = ((self.setup.ipv4, IP4_READY), (self.setup.ipv6, IP6_READY))
        return any(family.method == AUTO and not flags & ready for family, ready in ways)

    @classmethod
    async def read(cls, bus: SystemBus, name: str) -> Self:
        """The device of that name; raises :class:`InterfaceNotManaged`, :class:`BusUnavailable`."""
        path, device = await device_named(bus, name)
        active = await _read(bus, ActiveConnection, ACTIVE, device.active)
        ip4 = await _read(bus, Ip4Config, IP4, device.ip4) or Ip4Config()
        ip6 = await _read(bus, Ip6Config, IP6, device.ip6) or Ip6Config()
        profile, settings = await _profile(bus, name, device, active)
        return cls(
            name=name,
            path=path,
            device=device,
            active=active,
            profile=profile,
            uuid=str(settings[CONNECTION]["uuid"].value) if profile else None,
            settings=settings,
            addresses=[
                f"{entry['address']}/{entry['prefix']}" for entry in (*(ip4.addresses or ()), *(ip6.addresses or ()))
            ],
            gateways=[gateway for gateway in (ip4.gateway, ip6.gateway) if gateway],
        )

    async def is_shared(self, bus: SystemBus) -> bool:
        """Whether the profile is in force on another device as well, which a change to it would change, too."""
        manager = await manager_of(bus)
        for path in manager.devices or ():
            if path == self.path:
                continue
            other = await _read(bus, Device, DEVICE, path)
            active = await _read(bus, ActiveConnection, ACTIVE, other.active) if other is not None else None
            if active is not None and active.profile == self.profile:
                return True
        return False


async def device_named(bus: SystemBus, name: str) -> tuple[str, Device]:
    """The path and the properties of a device that NetworkManager manages; raises :class:`InterfaceNotManaged`."""
    if not bus.has(NETWORK_MANAGER):
        raise BusUnavailable(
            "The network of this host is not set up by NetworkManager, and so nothing of it can be changed from here: "
            "use what sets it up (systemd-networkd: /etc/systemd/network, ifupdown: /etc/network/interfaces), or "
            "install and start NetworkManager"
        )
    manager = await manager_of(bus)
    for path in manager.devices or ():
        device = await _read(bus, Device, DEVICE, path)
        if device is not None and device.name == name:
            if not device.managed:
                raise InterfaceNotManaged(
                    f"NetworkManager leaves the interface {name} alone, and so it can't be changed from here: let "
                    f"NetworkManager manage it (nmcli device set {name} managed yes)"
                )
            return path, device
    raise InterfaceNotManaged(f"NetworkManager has no interface {name}")


async def manager_of(bus: SystemBus) -> Manager:
    """What NetworkManager says of itself; raises :class:`BusUnavailable` also for one that has its name on the bus, and
    nothing to show yet: it was started a moment ago."""
    try:
        return await bus.read(Manager, MANAGER)
    except BusRefused as error:
        raise BusUnavailable(f"NetworkManager was started a moment ago, and is not ready: {error.message}") from None


async def settings_of(bus: SystemBus, profile: str) -> Settings:
    """What is in a profile, without secrets, to be given back with a part of it changed."""
    try:
        settings: Settings = await bus.call(PROFILE.at(profile), TAKE_SETTINGS, timeout_s=TAKES_S)
    except BusRefused as error:
        if error.name.endswith(_HIDDEN):
            raise Unavailable(
                "NetworkManager does not show its profiles to Rooftree, because it can't see Rooftree's process: run "
                "Rooftree on the host, or in a container of the host's engine"
            ) from None
        raise
    return settings


async def with_secrets(bus: SystemBus, profile: str, settings: Settings) -> Settings:
    """The same settings with what is secret in them, for nobody but NetworkManager itself."""
    result = {name: dict(section) for name, section in settings.items()}
    for name in (SECURITY, "802-1x"):
        if name in result:
            with suppress(BusRefused):  # there may be none
                secrets = await bus.call(PROFILE.at(profile), GET_SECRETS, name, timeout_s=TAKES_S)
                result[name] |= secrets.get(name, {})
    return result


async def profile_of_uuid(bus: SystemBus, wanted: str) -> str | None:
    """The path of the profile with that id; ``None`` where there is none."""
    try:
        return str(await bus.call(SETTINGS, CONNECTION_BY_UUID, wanted, timeout_s=TAKES_S))
    except BusRefused:
        return None


async def default_generation(bus: SystemBus) -> int:
    """What stands for an ``addr-gen-mode`` that is left to NetworkManager."""
    version = (await manager_of(bus)).version or ""
    numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdecimal())
    return _DEFAULT_GENERATION if numbers >= _NEW_WORDS else _STABLE_PRIVACY


def new_settings(device: ChangedDevice, profile_id: str) -> Settings:
    """A profile for a device that has none: it is for this one alone, by where it is plugged in where that is known."""
    connection = {
        "id": Variant("s", f"{OURS} {device.name}"),
        "uuid": Variant("s", profile_id),
        "type": Variant("s", WIFI if device.is_wireless else "802-3-ethernet"),
        "autoconnect": Variant("b", True),
    }
    keeps_mac = {"assigned-mac-address": Variant("s", "preserve")}
    if device.is_wireless:
        own = {WIFI: {**keeps_mac, "mode": Variant("s", "infrastructure"), "powersave": Variant("u", 0)}}
    else:
        own = {"802-3-ethernet": keeps_mac}
    if device.device.udev_path:
        return {CONNECTION: connection, **own, "match": {"path": Variant("as", [device.device.udev_path])}}
    return {CONNECTION: {**connection, "interface-name": Variant("s", device.name)}, **own}


def vlan_settings(parent: str, number: int, profile_id: str) -> Settings:
    """A profile for a VLAN on an interface."""
    name = f"{parent}.{number}"
    return {
        CONNECTION: {
            "id": Variant("s", f"{OURS} {name}"),
            "uuid": Variant("s", profile_id),
            "type": Variant("s", "vlan"),
            "interface-name": Variant("s", name),
            "autoconnect": Variant("b", True),
        },
        "vlan": {"id": Variant("u", number), "parent": Variant("s", parent)},
    }


def with_id(settings: Settings, profile_id: str, name: str) -> Settings:
    """A profile like this one, for one interface alone."""
    copied = {key: dict(section) for key, section in settings.items()}
    copied[CONNECTION] |= {
        "id": Variant("s", f"{OURS} {name}"),
        "uuid": Variant("s", profile_id),
        "interface-name": Variant("s", name),
    }
    return copied


def another_id() -> str:
    """An id for a profile."""
    return str(uuid.uuid4())


async def _profile(
    bus: SystemBus, name: str, device: Device, active: ActiveConnection | None
) -> tuple[str | None, Settings]:
    """The profile in force, unless somebody else has set the device up; else one that is for this interface alone."""
    if active is not None and active.profile not in {None, NO_OBJECT} and not (active.flags or 0) & EXTERNAL:
        return str(active.profile), await settings_of(bus, str(active.profile))
    for path in device.available or ():
        settings = await settings_of(bus, path)
        connection = settings[CONNECTION]
        bound = connection.get("interface-name")
        if connection["id"].value == f"{OURS} {name}" or (bound is not None and bound.value == name):
            return path, settings
    return None, {}


async def _read[P](bus: SystemBus, kind: type[P], at: BusObject, path: str | None) -> P | None:
    """The properties of an object; ``None`` where there is none, or it has gone meanwhile."""
    if path is None or path == NO_OBJECT:
        return None
    with suppress(BusRefused):
        return await bus.read(kind, at.at(path))
    return None
