"""The shapes of the network's answers, as the contract has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from rooftree import FreeText

type InterfaceType = Literal["ethernet", "wireless", "vlan"]
"""Clients know no other and refuse a whole answer with another in it; :attr:`Interface.kind` says what it is."""
type Kind = Literal["ethernet", "wireless", "vlan", "bridge", "bond", "team", "veth", "macvlan"]
type Method = Literal["static", "auto", "disabled"]
type AddressGeneration = Literal["eui64", "stable-privacy", "default-or-eui64", "default"]
type Privacy = Literal["disabled", "enabled-prefer-public", "enabled", "default"]
type WifiMode = Literal["infrastructure", "mesh", "adhoc", "ap"]
type WifiAuth = Literal["open", "wep", "wpa-psk"]
type NamesMode = Literal["default", "off", "resolve", "announce"]
"""How multicast DNS, or LLMNR, is done."""

TYPES: dict[Kind, InterfaceType] = {
    "ethernet": "ethernet",
    "wireless": "wireless",
    "vlan": "vlan",
    "bridge": "ethernet",
    "bond": "ethernet",
    "team": "ethernet",
    "veth": "ethernet",
    "macvlan": "ethernet",
}
"""What each kind is for clients: how it is configured."""


class InterfaceName(FreeText):
    """How an interface is asked for: its name, its MAC address, or ``default`` for the primary one."""

    __slots__ = ()

    pattern = r"[^\x00-\x1f]{1,64}"
    allowed = "the name of an interface, its MAC address, or default; /network/info lists them"


@frozen(kw_only=True)
class Ipv4:
    """IPv4 of an interface."""

    method: Method = "disabled"
    address: Sequence[str] = ()
    """With prefix length: ``192.0.2.2/24``."""
    nameservers: Sequence[str] = ()
    gateway: str | None = None
    route_metric: int | None = None
    """The lower wins; ``None`` where it is left to the system."""
    ready: bool | None = None
    """Whether it can be used; ``None`` where nobody says."""


@frozen(kw_only=True)
class Ipv6:
    """IPv6 of an interface."""

    method: Method = "disabled"
    address: Sequence[str] = ()
    nameservers: Sequence[str] = ()
    gateway: str | None = None
    route_metric: int | None = None
    ready: bool | None = None
    addr_gen_mode: AddressGeneration = "default"
    ip6_privacy: Privacy = "default"


@frozen(kw_only=True)
class Wifi:
    """The wireless network that an interface is set for."""

    mode: WifiMode
    auth: WifiAuth
    ssid: str
    signal: int | None
    """Percent; ``None`` while it is not connected."""
    key_management: str | None
    """NetworkManager's word for how one logs in, such as ``sae`` for WPA3 alone; ours, clients do without."""


@frozen(kw_only=True)
class Vlan:
    """What makes an interface a VLAN."""

    id: int
    parent: str | None
    """The interface that it lies on, by name."""


@frozen(kw_only=True)
class Interface:
    """An interface of the host."""

    interface: str
    """Its name."""
    type: InterfaceType
    kind: Kind
    """What it is; ours, clients do without."""
    enabled: bool
    """Whether it is set up: a profile is active on it, or somebody else has switched it on."""
    connected: bool
    primary: bool
    """Whether what goes to the internet goes through it."""
    mac: str
    ipv4: Ipv4 = field(factory=Ipv4)
    ipv6: Ipv6 = field(factory=Ipv6)
    wifi: Wifi | None = None
    vlan: Vlan | None = None
    mdns: NamesMode | None = None
    llmnr: NamesMode | None = None


@frozen(kw_only=True)
class Tunnel:
    """A way to another network that goes over an interface: a VPN and its like. It is set up elsewhere."""

    interface: str
    kind: str
    """``wireguard``, ``tun``, ``ip-tunnel``, ``ppp``, ``modem`` …"""
    connected: bool
    address: Sequence[str]


@frozen(kw_only=True)
class AddonNetworkInfo:
    """The network that add-ons are on."""

    interface: str
    """The bridge on the host."""
    address: str
    """Its range: ``172.30.32.0/23``."""
    gateway: str
    dns: str
    """The address that is kept for the base service of names."""


@frozen(kw_only=True)
class NetworkInfo:
    """Interfaces, and what can be reached."""

    interfaces: Sequence[Interface]
    docker: AddonNetworkInfo
    host_internet: bool | None
    """Whether the host reaches the internet; ``None`` where nobody checks that."""
    supervisor_internet: bool
    """Whether we do."""
    why_offline: str | None
    """Why we do not; ours, clients do without."""
    tunnels: Sequence[Tunnel]
    """What has no type that clients know, and would make them refuse the whole answer; ours."""


def is_link_local(address: str) -> bool:
    """Whether an address with its prefix length is of use on one link only."""
    return ipaddress.ip_interface(address).is_link_local
