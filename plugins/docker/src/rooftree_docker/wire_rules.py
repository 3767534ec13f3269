"""The rules of the add-on network's wire, in nftables' words: who may claim which address on it.

Two tables of the bridge family. The *guard* holds for every port of the bridge, is there before any container starts,
and knows only what never changes: nobody but our own port has our address, nobody at all has the gateway's, and where
the engine makes a container's hardware address of its IP address, each claim must be such a pair. The *ports* bind
each container's port to the addresses that the engine gave it, as soon as they are known.

Frames are looked at before the bridge learns from them, so that what is dropped here can't move an address to another
port either. Protocols are matched by what the kernel has made of the frame (``meta protocol``) and not by its bytes: a
frame with a VLAN tag of number 0 is untagged to its receiver, and must not pass as something else here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from attrs import field, frozen

OWN_PORT_PREFIX: Final = "rt"
"""How the names of our own ports of bridges begin; a container can't name a port of the host."""

SMALLEST_PREFIX_OF_PAIRS: Final = 20
"""The length of the prefix of the largest range whose pairs are all listed: 4096 of them."""

_MAC: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_TAGGED: Final = "{ 8021q, 8021ad }"
_NOBODYS_DISGUISE: Final = f"meta protocol {_TAGGED} @ll,116,12 0 drop"
"""A tag inside a tag of number 0 has no honest use, and its receiver takes both off."""
_ROUTER_ADVERTISEMENT, _NEIGHBOUR_ADVERTISEMENT, _REDIRECT = 134, 136, 137
_PRIORITY: Final = "filter"
_AFTER_THE_GUARD: Final = "filter + 1"


def _is_mac(_: object, __: object, text: str) -> None:
    if _MAC.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a hardware address")


@frozen(kw_only=True)
class Wire:
    """What of the network never changes while it is there."""

    interface: str
    """The bridge's name on the host."""
    subnet: IPv4Network
    gateway: IPv4Address
    supervisor: IPv4Address
    ipv6_subnet: IPv6Network | None = None
    ipv6_gateway: IPv6Address | None = None
    paired: bool = False
    """Whether the engine makes every hardware address of the IP address."""

    @property
    def guard_table(self) -> str:
        """The name of the table for all ports."""
        return f"{GUARD}{self.interface}"

    @property
    def ports_table(self) -> str:
        """The name of the table for the ports that are known."""
        return f"{PORTS}{self.interface}"


GUARD: Final = "rooftree_guard_"
PORTS: Final = "rooftree_ports_"


@frozen(kw_only=True)
class BoundPort:
    """A container's port of the bridge, with what the engine gave the container."""

    port: str
    mac: str = field(validator=_is_mac)
    address: IPv4Address | None
    ipv6_address: IPv6Address | None = None


def derived_mac(address: IPv4Address) -> str:
    """The hardware address that engines before version 28 give with an address, and that ours has, too."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed)


def guard_rules(wire: Wire, strangers: Iterable[BoundPort] = (), *, by_bridge: bool) -> str:
    """The guard's table, in place of the one there is.

    :param strangers: containers whose hardware address is not made of their IP address, because somebody chose it
    :param by_bridge: whether this kernel can tell from which bridge a frame is (``CONFIG_NFT_BRIDGE_META``). Where it
        can't, the rules go by addresses alone, and what has none of this network (tags, routers) is left to the ports
    """
    body = [_NOBODYS_DISGUISE, *_guard_of_addresses(wire), *_guard_of_ipv6(wire)]
    sets: list[str] = []
    if wire.paired and wire.subnet.prefixlen >= SMALLEST_PREFIX_OF_PAIRS:
        pairs = dict.fromkeys(f"{derived_mac(address)} . {address}" for address in wire.subnet.hosts())
        pairs |= dict.fromkeys(f"{port.mac} . {port.address}" for port in strangers if port.address is not None)
        sets = ["set pairs {", "type ether_addr . ipv4_addr", f"elements = {{ {', '.join(pairs)} }}", "}"]
        body += [
            f"meta protocol arp arp saddr ip {wire.subnet} arp saddr ether . arp saddr ip != @pairs drop",
            f"meta protocol ip ip saddr {wire.subnet} ether saddr . ip saddr != @pairs drop",
        ]
    scope = f'meta ibrname != "{wire.interface}" accept'
    if by_bridge:
        body = [scope, *_no_disguise(), *body]
    return _table(wire.guard_table, [*sets, *_chain(_PRIORITY, body)])


def _guard_of_addresses(wire: Wire) -> Iterator[str]:
    yield f"meta protocol arp arp saddr ip {wire.gateway} drop"
    yield f"meta protocol ip ip saddr {wire.gateway} drop"
    if wire.supervisor != wire.gateway:
        elsewhere = f'iifname != "{OWN_PORT_PREFIX}*"'
        yield f"{elsewhere} ether saddr {derived_mac(wire.supervisor)} drop"
        yield f"{elsewhere} meta protocol arp arp saddr ether {derived_mac(wire.supervisor)} drop"
        yield f"{elsewhere} meta protocol arp arp saddr ip {wire.supervisor} drop"
        yield f"{elsewhere} meta protocol ip ip saddr {wire.supervisor} drop"


def _guard_of_ipv6(wire: Wire) -> Iterator[str]:
    if wire.ipv6_gateway is not None:
        yield f"meta protocol ip6 ip6 saddr {wire.ipv6_gateway} drop"
        yield f"{_advertises()} @th,64,128 {_hex(wire.ipv6_gateway)} drop"


def _no_disguise() -> Iterator[str]:
    """A tag hides a frame from the other rules, and only routers say which router there is."""
    yield f"meta protocol {_TAGGED} drop"
    yield f"ether type {_TAGGED} drop"
    yield f"{_icmpv6()} @th,0,8 {{ {_ROUTER_ADVERTISEMENT}, {_REDIRECT} }} drop"


def port_rules(wire: Wire, ports: Sequence[BoundPort]) -> str:
    """The table of the ports, in place of the one there is."""
    lines: list[str] = []
    for port in ports:
        lines += [f"chain port_{port.port} {{", *_of_port(wire, port), "}"]
    lines += ["map ports {", "type ifname : verdict"]
    if ports:
        jumps = ", ".join(f'"{port.port}" : jump port_{port.port}' for port in ports)
        lines.append(f"elements = {{ {jumps} }}")
    lines.append("}")
    return _table(wire.ports_table, [*lines, *_chain(_AFTER_THE_GUARD, ["iifname vmap @ports"])])


def _of_port(wire: Wire, port: BoundPort) -> Iterator[str]:
    yield f"ether saddr != {port.mac} drop"
    yield from _no_disguise()
    yield f"meta protocol arp arp saddr ether != {port.mac} drop"
    own = "" if port.address is None else f" {{}} != {port.address}"
    for claimed in ("arp saddr ip", "ip saddr"):
        yield f"meta protocol {claimed.split()[0]} {claimed} {wire.subnet}{own.format(claimed)} drop"
    if wire.ipv6_subnet is not None:
        bits = wire.ipv6_subnet.prefixlen
        prefix = f"{int(wire.ipv6_subnet.network_address) >> (128 - bits):#x}"
        own6 = port.ipv6_address
        not_own = "" if own6 is None else f" ip6 saddr != {own6}"
        target = "" if own6 is None else f" @th,64,128 != {_hex(own6)}"
        yield f"meta protocol ip6 ip6 saddr {wire.ipv6_subnet}{not_own} drop"
        yield f"{_advertises()} @th,64,{bits} {prefix}{target} drop"


def _icmpv6() -> str:
    return "meta protocol ip6 meta l4proto ipv6-icmp"


def _advertises() -> str:
    return f"{_icmpv6()} @th,0,8 {_NEIGHBOUR_ADVERTISEMENT}"


def _hex(address: IPv6Address) -> str:
    return f"{int(address):#034x}"


def _chain(priority: str, body: Iterable[str]) -> list[str]:
    return ["chain prerouting {", f"type filter hook prerouting priority {priority}; policy accept;", *body, "}"]


def _table(name: str, body: Iterable[str]) -> str:
    """The whole table in one transaction: no frame ever meets half of it."""
    return "\n".join([*without_table(name), f"table bridge {name} {{", *body, "}", ""])


def without_table(name: str) -> list[str]:
    """The lines that take a table away, whether it is there or not."""
    return [f"table bridge {name}", f"delete table bridge {name}"]
