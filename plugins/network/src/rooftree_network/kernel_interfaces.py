"""What the kernel has, as the interfaces that a user knows: those that lead somewhere, not what containers and programs
make by the dozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rooftree_network.kernel_network import Address, KernelNetwork, Link
from rooftree_network.models import TYPES, AddressGeneration, Interface, Ipv4, Ipv6, Kind, Method, Privacy, Tunnel, Vlan

_HARDWARE: Final = ""
_KINDS: Final[dict[str, Kind]] = {
    _HARDWARE: "ethernet",
    "vlan": "vlan",
    "bridge": "bridge",
    "bond": "bond",
    "team": "team",
    "veth": "veth",
    "macvlan": "macvlan",
}
"""The kernel's words for what is shown."""
_TUNNELS: Final = {
    "wireguard": "wireguard",
    "tun": "tun",
    "ppp": "ppp",
    "vxlan": "vxlan",
    **dict.fromkeys(("ipip", "sit", "gre", "ip6tnl", "vti", "vti6", "xfrm"), "ip-tunnel"),
}
"""The same for tunnels."""
_OF_HARDWARE: Final = {_HARDWARE, "bond", "team"}
_GENERATIONS: Final[dict[int | None, AddressGeneration]] = {0: "eui64", 2: "stable-privacy", 3: "stable-privacy"}
"""``EUI64``, ``STABLE_PRIVACY`` and ``RANDOM`` of the kernel's ``enum in6_addr_gen_mode``; 1 is none at all."""


def shown_links(network: KernelNetwork) -> list[Link]:
    """The links that are shown. A bridge counts when hardware, or what was made of it, is among its ports: those of
    container engines have nothing but virtual pairs. A virtual pair, and anything else, counts when it leads to
    everywhere: in a container that is a host of its own, that is how the outside is reached. A VLAN counts when what it
    lies on does."""
    ways_out = {route.link for route in network.routes}
    with_hardware = {link.master for link in network.links if link.kind in {*_OF_HARDWARE, "vlan"}}
    shown = {
        link.name
        for link in network.links
        if link.kind in _OF_HARDWARE or link.name in ways_out or (link.kind == "bridge" and link.name in with_hardware)
    }
    while more := {
        link.name for link in network.links if link.kind == "vlan" and link.parent in shown and link.name not in shown
    }:
        shown |= more
    return [link for link in network.links if link.kind in _KINDS and link.name in shown]


def tunnels_of(network: KernelNetwork) -> list[Tunnel]:
    """What leads to other networks over an interface, and is switched on."""
    return [
        Tunnel(
            interface=link.name,
            kind=_TUNNELS[link.kind],
            connected=link.has_carrier,
            address=[address.text for address in link.addresses],
        )
        for link in network.links
        if link.kind in _TUNNELS and link.is_up
    ]


def interface_of(link: Link, network: KernelNetwork, primary: str | None) -> Interface:
    """A link as an interface of the host; who has set it up is guessed from how its addresses came.

    :param primary: the name of the primary interface
    """
    kind: Kind = "wireless" if link.is_wireless else _KINDS[link.kind]
    nameservers = network.nameservers if link.name == primary else ()
    route4, route6 = network.default_route(4, link.name), network.default_route(6, link.name)
    addresses4 = [address for address in link.addresses if address.family == 4]
    addresses6 = [address for address in link.addresses if address.family == 6]
    return Interface(
        interface=link.name,
        type=TYPES[kind],
        kind=kind,
        enabled=link.is_up,
        connected=link.is_up and link.has_carrier,
        primary=link.name == primary,
        mac=link.mac,
        ipv4=Ipv4(
            method=_method(addresses4),
            address=[address.text for address in addresses4],
            nameservers=[server for server in nameservers if ":" not in server],
            gateway=route4.gateway if route4 else None,
            route_metric=route4.metric if route4 else None,
            ready=_ready(addresses4),
        ),
        ipv6=Ipv6(
            method=_method(addresses6),
            address=[address.text for address in addresses6],
            nameservers=[server for server in nameservers if ":" in server],
            gateway=route6.gateway if route6 else None,
            route_metric=route6.metric if route6 else None,
            ready=_ready(addresses6),
            addr_gen_mode=_GENERATIONS.get(link.generation, "default"),
            ip6_privacy=_privacy(link.temporary_addresses),
        ),
        vlan=Vlan(id=link.vlan_id, parent=link.parent) if link.vlan_id is not None else None,
    )


def _method(addresses: Sequence[Address]) -> Method:
    """The way that the addresses came; those of the link alone need nobody to give them."""
    reaching = [address for address in addresses if address.reaches_out]
    if not reaching:
        return "disabled"
    return "auto" if any(address.dynamic for address in reaching) else "static"


def _ready(addresses: Sequence[Address]) -> bool:
    return any(address.reaches_out and not address.tentative for address in addresses)


def _privacy(temporary_addresses: int) -> Privacy:
    if temporary_addresses <= 0:
        return "disabled"
    return "enabled-prefer-public" if temporary_addresses == 1 else "enabled"
