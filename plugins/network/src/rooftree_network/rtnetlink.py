"""Links, addresses and routes from the kernel: dumps of rtnetlink(7), as ``linux/if_link.h``, ``if_addr.h`` and
``rtnetlink.h`` have them. Every call blocks for a moment, and raises ``OSError`` where the kernel can't be asked.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from rooftree_machine.netlink import aligned, asked, attributes, messages

_NEW_LINK, _GET_LINK = 16, 18
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_NEW_ROUTE, _GET_ROUTE = 24, 26
_LINK_HEAD: Final = struct.Struct("=BxHiII")
"""``struct ifinfomsg``: family, hardware type, index, flags, change."""
_ADDRESS_HEAD: Final = struct.Struct("=BBBBI")
"""``struct ifaddrmsg``: family, prefix length, flags, scope, index."""
_ROUTE_HEAD: Final = struct.Struct("=BBBBBBBBI")
"""``struct rtmsg``: family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
_HOP_HEAD: Final = struct.Struct("=HBBi")
"""``struct rtnexthop``: length, flags, hops, interface."""

_MAC, _NAME, _PARENT, _MASTER, _INFO = 1, 3, 5, 10, 18
_INFO_KIND, _INFO_DATA, _VLAN_ID = 1, 2, 1
_ADDRESS, _LOCAL, _FLAGS = 1, 2, 8
_INTERFACE, _GATEWAY, _METRIC, _HOPS = 4, 5, 6, 9
_MAIN_TABLE, _UNICAST = 254, 1
_ADDRESS_BYTES: Final[Mapping[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 16}

ETHERNET: Final = 1
"""Hardware type of everything that has frames as Ethernet has them."""
UP, LOWER_UP = 0x1, 0x10000
"""Flags of a link."""
GLOBAL_SCOPE: Final = 0
TENTATIVE, PERMANENT = 0x40, 0x80
"""Flags of an address."""


@frozen(kw_only=True)
class LinkEntry:
    """A link."""

    index: int
    name: str
    hardware: int
    flags: int
    kind: str
    """``vlan``, ``bridge`` …; empty for hardware."""
    mac: str
    master: int | None
    parent: int | None
    vlan_id: int | None


@frozen(kw_only=True)
class AddressEntry:
    """An address of a link."""

    link: int
    family: int
    text: str
    """With prefix length."""
    scope: int
    flags: int


@frozen(kw_only=True)
class DefaultRouteEntry:
    """A route to everywhere, by one link."""

    family: int
    link: int
    gateway: str | None
    metric: int


def links() -> list[LinkEntry]:
    return [_link(body) for body in _dump(_GET_LINK, _NEW_LINK, _LINK_HEAD.pack(0, 0, 0, 0, 0))]


def addresses() -> list[AddressEntry]:
    """Every address, of IPv4 and IPv6."""
    bodies = _dump(_GET_ADDRESS, _NEW_ADDRESS, _ADDRESS_HEAD.pack(0, 0, 0, 0, 0))
    return [entry for body in bodies if (entry := _address(body)) is not None]


def default_routes() -> list[DefaultRouteEntry]:
    """The routes to everywhere in the main table; one by several links at once is as many."""
    asked = [_ROUTE_HEAD.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) for family in (socket.AF_INET, socket.AF_INET6)]
    return [entry for head in asked for body in _dump(_GET_ROUTE, _NEW_ROUTE, head) for entry in _default_route(body)]


def _link(body: bytes) -> LinkEntry:
    _, hardware, index, flags, _ = _LINK_HEAD.unpack_from(body)
    told = attributes(body[_LINK_HEAD.size :])
    info = attributes(told.get(_INFO, b""))
    kind = _text(info.get(_INFO_KIND, b""))
    vlan = attributes(info.get(_INFO_DATA, b"")) if kind == "vlan" else {}
    return LinkEntry(
        index=index,
        name=_text(told.get(_NAME, b"")),
        hardware=hardware,
        flags=flags,
        kind=kind,
        mac=told.get(_MAC, b"").hex(":").upper(),
        master=_number(told.get(_MASTER)),
        parent=_number(told.get(_PARENT)),
        vlan_id=_number(vlan.get(_VLAN_ID)),
    )


def _address(body: bytes) -> AddressEntry | None:
    family, prefix, flags, scope, link = _ADDRESS_HEAD.unpack_from(body)
    told = attributes(body[_ADDRESS_HEAD.size :])
    packed = told.get(_LOCAL) or told.get(_ADDRESS)
    if packed is None or len(packed) != _ADDRESS_BYTES.get(family):
        return None
    flags = _number(told.get(_FLAGS)) or flags
    return AddressEntry(link=link, family=family, text=f"{ip_address(packed)}/{prefix}", scope=scope, flags=flags)


def _default_route(body: bytes) -> Iterator[DefaultRouteEntry]:
    family, destination, _, _, table, _, _, kind, _ = _ROUTE_HEAD.unpack_from(body)
    if destination or (table, kind) != (_MAIN_TABLE, _UNICAST):
        return
    told = attributes(body[_ROUTE_HEAD.size :])
    metric = _number(told.get(_METRIC)) or 0
    for link, hop in [(_number(told.get(_INTERFACE)), told), *_hops(told.get(_HOPS, b""))]:
        if link is not None:
            yield DefaultRouteEntry(family=family, link=link, gateway=_gateway(family, hop), metric=metric)


def _hops(body: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """The links of a route that has several, with what is said of each."""
    while len(body) >= _HOP_HEAD.size:
        length, _, _, link = _HOP_HEAD.unpack_from(body)
        if length < _HOP_HEAD.size:
            return
        yield link, attributes(body[_HOP_HEAD.size : length])
        body = body[aligned(length) :]


def _gateway(family: int, told: dict[int, bytes]) -> str | None:
    """The next hop; ``None`` for one of another family (``via inet6 …``), which is no gateway in a client's sense."""
    packed = told.get(_GATEWAY, b"")
    return str(ip_address(packed)) if len(packed) == _ADDRESS_BYTES.get(family) else None


def _dump(ask: int, answer: int, head: bytes) -> list[bytes]:
    """The bodies of the messages that the kernel answers with."""
    return [body for kind, body in asked(ask, head) if kind == answer]


def changes_default_route(datagram: bytes) -> bool:
    """Whether one of these messages is about a route to everywhere."""
    return any(kind in {_NEW_ROUTE, _NEW_ROUTE + 1} and body[1:2] == b"\0" for kind, body in messages(datagram))


def _number(packed: bytes | None) -> int | None:
    return None if packed is None else int.from_bytes(packed, sys.byteorder)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")
