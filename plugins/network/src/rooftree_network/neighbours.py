"""Whether somebody on the same wire answers: ARP (RFC 826) and neighbour discovery (RFC 4861), asked by ourselves.

The kernel's own table would tell what was so a while ago, and routes decide over which wire it asks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

_ARP: Final = 0x0806
_ARP_BODY: Final = struct.Struct("!HHBBH6s4s6s4s")
"""Kinds of hardware and protocol, lengths of their addresses, what it is, and both ends."""
_ASKS, _ANSWERS = 1, 2
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136
_ASK_BODY: Final = struct.Struct("!BBHI16sBB6s")
"""``struct nd_neighbor_solicit`` with the option for our own address; the kernel fills in the checksum."""
_SOLICITED: Final = bytes.fromhex("ff0200000000000000000001ff")
"""The multicast address of who has an IPv6 address ends with the last three bytes of that."""
_HOPS: Final = 255
_BROADCAST: Final = b"\xff" * 6
_FRAME_BYTES: Final = 2048


async def answers(interface: str, mac: str, address: str, own: Sequence[str], within_s: float) -> bool | None:
    """Whether who has an address answers on the wire of an interface; ``None`` where it can't be asked from here.

    :param mac: of the interface: in a container with a network of its own another one may have the name
    :param own: our addresses on it, with prefix length
    """
    try:
        if _hardware(interface).hex(":").upper() != mac.upper():
            return None
        asking = _ipv6_socket(interface) if ":" in address else _arp_socket(interface)
    except OSError:  # not our network, or not allowed
        return None
    with asking:
        try:
            async with asyncio.timeout(within_s):
                return await (_solicited if ":" in address else _asked)(asking, interface, address, own)
        except TimeoutError:
            return False
        except OSError:  # the wire has gone
            return False


def in_reach(address: str, own: Sequence[str]) -> bool:
    """Whether an address is on one of the networks that we have addresses of."""
    at = ipaddress.ip_address(address)
    return any(at in ipaddress.ip_interface(entry).network for entry in own)


def _hardware(interface: str) -> bytes:
    """The address of an interface; raises ``OSError`` for one that there is not, or that has none like Ethernet's."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as own:
        own.bind((interface, 0))
        address: bytes = own.getsockname()[4]
    if len(address) != len(_BROADCAST):
        raise OSError(f"{interface} has no address of its own")
    return address


def _arp_socket(interface: str) -> socket.socket:
    asking = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ARP))
    try:
        asking.bind((interface, _ARP))
    except OSError:
        asking.close()
        raise
    return asking


async def _asked(asking: socket.socket, interface: str, address: str, own: Sequence[str]) -> bool:
    wanted = ipaddress.IPv4Address(address).packed
    hardware = _hardware(interface)
    ours = next((host for host in _hosts(own, 4) if in_reach(address, [host])), "0.0.0.0/0").partition("/")[0]
    source = ipaddress.IPv4Address(ours).packed
    question = _ARP_BODY.pack(1, 0x0800, 6, 4, _ASKS, hardware, source, bytes(6), wanted)
    asking.sendto(question, (interface, _ARP, 0, 0, _BROADCAST))
    while True:
        frame = await asyncio.get_running_loop().sock_recv(asking, _FRAME_BYTES)
        if len(frame) >= _ARP_BODY.size:
            _, _, _, _, what, _, sender, _, _ = _ARP_BODY.unpack_from(frame)
            if what == _ANSWERS and sender == wanted:
                return True


def _ipv6_socket(interface: str) -> socket.socket:
    index = socket.if_nametoindex(interface)
    asking = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    try:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
    except OSError:
        asking.close()
        raise
    return asking


async def _solicited(asking: socket.socket, interface: str, address: str, _: Sequence[str]) -> bool:
    wanted = ipaddress.IPv6Address(address).packed
    question = _ASK_BODY.pack(_NEIGHBOUR_SOLICITATION, 0, 0, 0, wanted, 1, 1, _hardware(interface))
    group = socket.inet_ntop(socket.AF_INET6, _SOLICITED + wanted[-3:])
    asking.sendto(question, (group, 0, 0, socket.if_nametoindex(interface)))
    while True:
        packet = await asyncio.get_running_loop().sock_recv(asking, _FRAME_BYTES)
        if len(packet) >= 24 and packet[0] == _NEIGHBOUR_ADVERTISEMENT and packet[8:24] == wanted:
            return True


def _hosts(own: Sequence[str], version: int) -> Iterator[str]:
    return (entry for entry in own if ipaddress.ip_interface(entry).version == version)
