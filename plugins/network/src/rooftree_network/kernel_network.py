"""Interfaces, addresses and routes as the kernel has them: what there is to know without NetworkManager.

It is asked again when it says by netlink that something has changed; see :mod:`rooftree_network.kernel_news`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import structlog
from attrs import frozen

from rooftree_network import rtnetlink
from rooftree_network.rtnetlink import AddressEntry, LinkEntry

log = structlog.get_logger(__name__)

type Family = Literal[4, 6]

RESOLVERS: Final = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")
"""Where the name servers are written, resolv.conf(5); the first lists those behind systemd-resolved."""
NO_ETHERNET: Final = "other"
"""The kind of hardware that has no frames as Ethernet has them."""
_FAMILIES: Final[Mapping[int, Family]] = {socket.AF_INET: 4, socket.AF_INET6: 6}


@frozen(kw_only=True)
class Address:
    """An address of an interface."""

    text: str
    """With prefix length: ``192.0.2.2/24``."""
    family: Family
    reaches_out: bool
    """Whether it is of use beyond the link."""
    dynamic: bool
    """Whether it was given for a time, by DHCP or by a router."""
    tentative: bool
    """Whether the kernel is still finding out that nobody else has it."""


@frozen(kw_only=True)
class Link:
    """An interface."""

    name: str
    kind: str
    """The kernel's word: ``vlan``, ``bridge``, ``bond``, ``veth`` …; empty for hardware."""
    mac: str
    is_up: bool
    """Whether it is switched on."""
    has_carrier: bool
    master: str | None
    """The bridge or bond that it is a port of."""
    parent: str | None
    """Of a VLAN: the interface that it lies on."""
    vlan_id: int | None
    is_wireless: bool
    temporary_addresses: int
    """``use_tempaddr`` of the kernel's ip-sysctl."""
    generation: int | None
    """``addr_gen_mode`` of the same: how it makes IPv6 addresses."""
    addresses: Sequence[Address]


@frozen(kw_only=True)
class DefaultRoute:
    """A way to everywhere."""

    family: Family
    link: str
    gateway: str | None
    metric: int


@frozen(kw_only=True)
class KernelNetwork:
    """All of it, at one moment."""

    links: Sequence[Link] = ()
    routes: Sequence[DefaultRoute] = ()
    nameservers: Sequence[str] = ()

    def default_route(self, family: Family, link: str | None = None) -> DefaultRoute | None:
        """The one that is taken, of all or of those by ``link``."""
        routes = [route for route in self.routes if route.family == family and link in {None, route.link}]
        return min(routes, key=lambda route: route.metric, default=None)

    @property
    def primary(self) -> str | None:
        """The interface that leads to everywhere."""
        route = self.default_route(4) or self.default_route(6)
        return route.link if route is not None else None


async def read_kernel() -> KernelNetwork:
    """Ask the kernel; nothing where it can't be asked."""
    try:
        return await asyncio.to_thread(_read)
    except (OSError, ValueError, struct.error) as error:  # the last two: a kernel that tells it in another way
        log.info("kernel_network_unknown", reason=str(error))
        return KernelNetwork()


def _read() -> KernelNetwork:
    entries = rtnetlink.links()
    names = {entry.index: entry.name for entry in entries}
    addresses = defaultdict[int, list[Address]](list)
    for address in rtnetlink.addresses():
        if address.family in _FAMILIES:
            addresses[address.link].append(_address(address))
    return KernelNetwork(
        links=[_link(entry, names, addresses[entry.index]) for entry in entries],
        routes=[
            DefaultRoute(
                family=_FAMILIES[route.family], link=names[route.link], gateway=route.gateway, metric=route.metric
            )
            for route in rtnetlink.default_routes()
            if route.link in names
        ],
        nameservers=_nameservers(),
    )


def _link(entry: LinkEntry, names: Mapping[int, str], addresses: Sequence[Address]) -> Link:
    is_ethernet = entry.hardware == rtnetlink.ETHERNET
    return Link(
        name=entry.name,
        kind=entry.kind if is_ethernet else entry.kind or NO_ETHERNET,
        mac=entry.mac,
        is_up=bool(entry.flags & rtnetlink.UP),
        has_carrier=bool(entry.flags & rtnetlink.LOWER_UP),
        master=names.get(entry.master or 0),
        parent=names.get(entry.parent or 0) if entry.kind == "vlan" else None,
        vlan_id=entry.vlan_id,
        is_wireless=Path("/sys/class/net", entry.name, "phy80211").exists(),  # ours: the kernel's
        temporary_addresses=_setting(entry.name, "use_tempaddr") or 0,
        generation=_setting(entry.name, "addr_gen_mode"),
        addresses=addresses,
    )


def _address(entry: AddressEntry) -> Address:
    return Address(
        text=entry.text,
        family=_FAMILIES[entry.family],
        reaches_out=entry.scope == rtnetlink.GLOBAL_SCOPE,
        dynamic=not entry.flags & rtnetlink.PERMANENT,
        tentative=bool(entry.flags & rtnetlink.TENTATIVE),
    )


def _setting(link: str, name: str) -> int | None:
    """A setting of the kernel's for a link."""
    try:
        return int(Path("/proc/sys/net/ipv6/conf", link, name).read_text())  # ours: the kernel's
    except (OSError, ValueError):  # no IPv6
        return None


def _nameservers() -> list[str]:
    """Those of the host, but for one on the host itself. Blocks for a moment."""
    for path in RESOLVERS:
        with suppress(OSError):
            return nameservers_in(Path(path).read_text(errors="replace"))  # ours: the host's
    return []


def nameservers_in(text: str) -> list[str]:
    """The addresses that a resolv.conf(5) names, those of this host left out."""
    addresses = []
    for line in text.splitlines():
        word, *rest = line.split()[:2] or [""]
        if word == "nameserver" and rest:
            with suppress(ValueError):
                address = ipaddress.ip_address(rest[0].partition("%")[0])
                if not address.is_loopback:
                    addresses.append(str(address))
    return addresses
