"""The interfaces as NetworkManager has them: what it manages, from what it tells of itself."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

import structlog
from attrs import frozen

from rooftree.interfaces.bus import BusObject, BusRefused, SystemBus
from rooftree_network.bus_objects import (
    ACCESS_POINT,
    ACTIVATED,
    ACTIVATING,
    ACTIVE,
    DEVICE,
    EXTERNAL,
    GET_SETTINGS,
    IP4,
    IP4_READY,
    IP6,
    IP6_READY,
    MANAGER,
    NO_OBJECT,
    PROFILE,
    VLAN,
    WIRELESS,
    AccessPoint,
    ActiveConnection,
    Device,
    Ip4Config,
    Ip6Config,
    Manager,
    VlanDevice,
    WirelessDevice,
)
from rooftree_network.models import (
    TYPES,
    AddressGeneration,
    Interface,
    Ipv4,
    Ipv6,
    Kind,
    Method,
    NamesMode,
    Privacy,
    Tunnel,
    Vlan,
    Wifi,
    WifiMode,
    is_link_local,
)
from rooftree_network.wifi_keys import SHOWN

log = structlog.get_logger(__name__)

type Profile = Mapping[str, Mapping[str, Any]]
"""How an interface is to be: settings by section, those left out that are as usual."""

ANSWER_S: Final = 5.0
"""Seconds that NetworkManager may take to say how an interface is to be."""
_KINDS: Final[dict[int, Kind]] = {
    1: "ethernet",
    2: "wireless",
    10: "bond",
    11: "vlan",
    13: "bridge",
    15: "team",
    18: "macvlan",
    20: "veth",
}
"""``NMDeviceType``: what is shown."""
_TUNNELS: Final = {8: "modem", 16: "tun", 17: "ip-tunnel", 19: "vxlan", 23: "ppp", 29: "wireguard"}
"""``NMDeviceType``: what leads to other networks over one of those."""
_METHODS: Final[dict[str, Method]] = {
    "auto": "auto",
    "dhcp": "auto",
    "ignore": "auto",
    "manual": "static",
    "shared": "static",
    "disabled": "disabled",
    "link-local": "disabled",
}
"""By the method of a profile. What is ignored is left to the kernel; what is shared has an address of its own."""
_NAMES: Final[dict[int, NamesMode]] = {-1: "default", 0: "off", 1: "resolve", 2: "announce"}
_GENERATIONS: Final[dict[int, AddressGeneration]] = {
    0: "eui64",
    1: "stable-privacy",
    2: "default-or-eui64",
    3: "default",
}
_PRIVACY: Final[dict[int, Privacy]] = {-1: "default", 0: "disabled", 1: "enabled-prefer-public", 2: "enabled"}
_WIFI_MODES: Final[dict[str, WifiMode]] = {
    "infrastructure": "infrastructure",
    "mesh": "mesh",
    "adhoc": "adhoc",
    "ap": "ap",
}


@frozen(kw_only=True)
class ManagedNetwork:
    """What NetworkManager says."""

    interfaces: Sequence[Interface]
    """Those that it manages."""
    unmanaged: Sequence[Device]
    """Those that it leaves alone."""
    tunnels: Sequence[Tunnel]


@frozen
class _InUse:
    """A device that NetworkManager manages, with what it is used for."""

    path: str
    device: Device
    active: ActiveConnection | None
    ip4: Ip4Config
    ip6: Ip6Config


class NetworkManager:
    """Reads NetworkManager, one reading at a time. Every call raises
    :class:`~rooftree.interfaces.bus.BusUnavailable` without it."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus
        self._reading = asyncio.Lock()
        self._watched: set[BusObject] = set()

    async def manager(self) -> Manager:
        """What it says of itself."""
        return await self._bus.read(Manager, MANAGER)

    async def network(self) -> ManagedNetwork:
        async with self._reading:
            before, self._watched = self._watched, set()
            try:
                return await self._network()
            finally:
                # Connections, addresses and access points are other objects each time: those before are gone.
                for at in before - self._watched:
                    await self._bus.unwatch(at)

    async def _network(self) -> ManagedNetwork:
        manager = await self.manager()
        paths = sorted(manager.devices or ())
        read = await asyncio.gather(*(self._read(Device, DEVICE, path) for path in paths))
        devices = {path: device for path, device in zip(paths, read, strict=True) if device is not None}
        in_use = await asyncio.gather(
            *(self._in_use(path, device) for path, device in devices.items() if device.managed)
        )
        primary = _primary(in_use, manager)
        shown = await asyncio.gather(*(self._understood(device, device is primary) for device in in_use))
        return ManagedNetwork(
            interfaces=[interface for interface in shown if interface is not None],
            unmanaged=[device for device in devices.values() if not device.managed],
            tunnels=[_tunnel(used) for used in in_use if used.device.type in _TUNNELS],
        )

    async def _in_use(self, path: str, device: Device) -> _InUse:
        active, ip4, ip6 = await asyncio.gather(
            self._read(ActiveConnection, ACTIVE, device.active),
            self._read(Ip4Config, IP4, device.ip4),
            self._read(Ip6Config, IP6, device.ip6),
        )
        return _InUse(path, device, active, ip4 or Ip4Config(), ip6 or Ip6Config())

    async def _understood(self, used: _InUse, primary: bool) -> Interface | None:
        """A device as an interface; one that cannot be made sense of is left out, and spoils none of the others."""
        try:
            return await self._interface(used, primary)
        except (ValueError, TypeError, KeyError, AttributeError):
            log.exception("interface_not_understood", interface=used.device.name)
            return None

    async def _interface(self, used: _InUse, primary: bool) -> Interface | None:
        """A device as an interface; ``None`` for one that is not shown."""
        kind, name, active = _KINDS.get(used.device.type or 0), used.device.name, used.active
        if kind is None or not name:
            return None
        flags = (active.flags or 0) if active else 0
        if flags & EXTERNAL and kind in {"bridge", "veth"} and not primary:
            return None  # a container engine's, or another program's
        profile = await self._profile(active)
        names = _section(profile, "connection")
        return Interface(
            interface=name,
            type=TYPES[kind],
            kind=kind,
            enabled=active is not None,
            connected=active is not None and active.state in {ACTIVATING, ACTIVATED},
            primary=primary,
            mac=used.device.mac or "",
            ipv4=_ipv4(profile, used, bool(flags & IP4_READY)),
            ipv6=_ipv6(profile, used, bool(flags & IP6_READY)),
            wifi=await self._wifi(used.path, profile) if kind == "wireless" else None,
            vlan=await self._vlan(used.path, profile) if kind == "vlan" else None,
            mdns=_NAMES.get(names.get("mdns", -1), "default") if profile else None,
            llmnr=_NAMES.get(names.get("llmnr", -1), "default") if profile else None,
        )

    async def _wifi(self, path: str, profile: Profile | None) -> Wifi | None:
        """``None`` without a profile, and where its way to log in is none that clients know."""
        wireless = _section(profile, "802-11-wireless")
        if not wireless:
            return None
        key_management = _section(profile, "802-11-wireless-security").get("key-mgmt")
        auth = SHOWN.get(key_management)
        if auth is None:
            return None
        device = await self._read(WirelessDevice, WIRELESS, path)
        point = await self._read(AccessPoint, ACCESS_POINT, device.access_point if device else None)
        return Wifi(
            mode=_WIFI_MODES.get(wireless.get("mode", ""), "infrastructure"),
            auth=auth,
            ssid=wireless.get("ssid", b"").decode(errors="replace"),
            signal=point.strength if point else None,
            key_management=key_management,
        )

    async def _vlan(self, path: str, profile: Profile | None) -> Vlan | None:
        vlan = await self._read(VlanDevice, VLAN, path)
        parent = await self._read(Device, DEVICE, vlan.parent if vlan else None)
        section = _section(profile, "vlan")
        number = vlan.id if vlan and vlan.id is not None else section.get("id")
        if number is None:
            return None
        return Vlan(id=number, parent=parent.name if parent else section.get("parent"))

    async def _read[P](self, kind: type[P], at: BusObject, path: str | None) -> P | None:
        """The properties of an object; ``None`` where there is none, or it has gone meanwhile."""
        if path is None or path == NO_OBJECT:
            return None
        self._watched.add(at.at(path))
        with suppress(BusRefused):
            return await self._bus.read(kind, at.at(path))
        return None

    async def _profile(self, active: ActiveConnection | None) -> Profile | None:
        """What is in force; not what is a secret in it, which this call leaves out."""
        if active is None or active.profile in {None, NO_OBJECT}:
            return None
        with suppress(BusRefused):
            profile: Profile = await self._bus.call(PROFILE.at(str(active.profile)), GET_SETTINGS, timeout_s=ANSWER_S)
            return profile
        return None


def _tunnel(used: _InUse) -> Tunnel:
    return Tunnel(
        interface=used.device.name or "",
        kind=_TUNNELS[used.device.type or 0],
        connected=used.active is not None and used.active.state == ACTIVATED,
        address=[*_addresses(used.ip4.addresses), *_addresses(used.ip6.addresses)],
    )


def _section(profile: Profile | None, name: str) -> Mapping[str, Any]:
    return profile.get(name, {}) if profile else {}


def _primary(devices: Sequence[_InUse], manager: Manager) -> _InUse | None:
    """The device that leads to everywhere: that of NetworkManager's primary connection, or, where somebody else has
    set it up, the one with a gateway that the kernel prefers."""
    for device in devices:
        if manager.primary not in {None, NO_OBJECT} and device.device.active == manager.primary:
            return device
    for configs in ([(used, used.ip4) for used in devices], [(used, used.ip6) for used in devices]):
        if ways := [(_way_metric(config), used) for used, config in configs if config.gateway]:
            return min(ways, key=itemgetter(0))[1]
    return None


def _way_metric(config: Ip4Config | Ip6Config) -> int:
    """The metric of the way to everywhere: the lowest is taken. Without one it is the first of all."""
    return min((route.get("metric", 0) for route in config.routes or () if route.get("prefix") == 0), default=0)


def _ipv4(profile: Profile | None, used: _InUse, ready: bool) -> Ipv4:
    section, config = _section(profile, "ipv4"), used.ip4
    by_dhcp = used.device.dhcp4 not in {None, NO_OBJECT}
    return Ipv4(
        method=_method(section, config.addresses, "auto" if by_dhcp else "static"),
        address=[str(ipaddress.IPv4Interface(text)) for text in _addresses(config.addresses)],
        nameservers=[str(ipaddress.IPv4Address(server["address"])) for server in config.nameservers or ()],
        gateway=str(ipaddress.IPv4Address(config.gateway)) if config.gateway else None,
        route_metric=_metric(section),
        ready=ready,
    )


def _ipv6(profile: Profile | None, used: _InUse, ready: bool) -> Ipv6:
    section, config = _section(profile, "ipv6"), used.ip6
    return Ipv6(
        method=_method(section, config.addresses, "auto"),
        address=[str(ipaddress.IPv6Interface(text)) for text in _addresses(config.addresses)],
        nameservers=[str(ipaddress.IPv6Address(server)) for server in config.nameservers or ()],
        gateway=str(ipaddress.IPv6Address(config.gateway)) if config.gateway else None,
        route_metric=_metric(section),
        ready=ready,
        addr_gen_mode=_GENERATIONS.get(section.get("addr-gen-mode", 3), "default"),
        ip6_privacy=_PRIVACY.get(section.get("ip6-privacy", -1), "default"),
    )


def _method(section: Mapping[str, Any], addresses: Sequence[Mapping[str, Any]] | None, guess: Method) -> Method:
    """How addresses are to come. A profile that we may not read (NetworkManager shows them to none whose process it
    can't see, such as that of a container beside its own) is guessed from there being addresses."""
    if "method" in section:
        return _METHODS.get(section["method"], "disabled")
    return guess if any(not is_link_local(address) for address in _addresses(addresses)) else "disabled"


def _addresses(told: Sequence[Mapping[str, Any]] | None) -> list[str]:
    return [f"{entry['address']}/{entry['prefix']}" for entry in told or ()]


def _metric(section: Mapping[str, Any]) -> int | None:
    """What a profile says; NetworkManager's -1 leaves it to the kind of device."""
    metric = section.get("route-metric", -1)
    return metric if metric >= 0 else None
