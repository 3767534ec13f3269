"""What a hostile program on the add-on network can send, and what it gets to see.

The test holds the sockets that a program inside of a container could open with NET_RAW, and nothing else of the
container.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from tests.rig.namespaces import in_namespace_of

ARP, IPV4, IPV6, TAG = 0x0806, 0x0800, 0x86DD, 0x8100
EVERYBODY = "ff:ff:ff:ff:ff:ff"
ALL_PROTOCOLS = 3


def raw_socket(process: int, interface: str = "eth0") -> socket.socket:
    """A socket for whole frames, which sees all that comes to the interface."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        made.bind((interface, ALL_PROTOCOLS))
        index = socket.if_nametoindex(interface)
        promiscuous = struct.pack("iHH8s", index, 1, 0, b"")
        made.setsockopt(263, 1, promiscuous)  # SOL_PACKET, PACKET_ADD_MEMBERSHIP
        made.setblocking(False)
        return made

    return in_namespace_of(process, make)


def sees(sniffing: socket.socket, what: bytes, within_s: float = 0.5) -> bool:
    """Whether a frame with ``what`` in it came by."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            while True:
                if what in sniffing.recv(65535):
                    return True
        time.sleep(0.01)
    return False


def mac(text: str) -> bytes:
    """A hardware address as frames have it."""
    return bytes.fromhex(text.replace(":", ""))


def arp(
    sender_mac: str, sender: str, *, source: str | None = None, tags: int = 0, answer_to: str | None = None
) -> bytes:
    """An ARP packet to everybody that says: ``sender`` is at ``sender_mac``.

    :param source: the frame's own source, where it is another one
    :param tags: how many VLAN tags of number 0 it hides behind
    :param answer_to: whom it answers; a question by itself, which is learnt from as well, unless told
    """
    own = mac(source or sender_mac)
    target = IPv4Address(answer_to or sender).packed
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, 2 if answer_to else 1)
    body += mac(sender_mac) + IPv4Address(sender).packed + mac(EVERYBODY) + target
    return mac(EVERYBODY) + own + struct.pack("!HH", TAG, 0) * tags + struct.pack("!H", ARP) + body


def udp(source_mac: str, source: str, to_mac: str, to: str, port: int, data: bytes) -> bytes:
    """A UDP packet with whatever addresses."""
    payload = struct.pack("!HHHH", 4000, port, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, socket.IPPROTO_UDP, 0)
    head += IPv4Address(source).packed + IPv4Address(to).packed
    head = head[:10] + struct.pack("!H", _sum(head)) + head[12:]
    return mac(to_mac) + mac(source_mac) + struct.pack("!H", IPV4) + head + payload


def neighbour_advertisement(source_mac: str, claimed: str, *, source: str) -> bytes:
    """An ICMPv6 message to everybody that says: ``claimed`` is at ``source_mac``."""
    body = struct.pack("!BBHI", 136, 0, 0, 0x2000_0000) + IPv6Address(claimed).packed + b"\x02\x01" + mac(source_mac)
    return _icmpv6(source_mac, source, body)


def router_advertisement(source_mac: str, *, source: str) -> bytes:
    """An ICMPv6 message to everybody that says: I am your way out."""
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + mac(source_mac)
    return _icmpv6(source_mac, source, body)


def _icmpv6(source_mac: str, source: str, body: bytes) -> bytes:
    everybody = IPv6Address("ff02::1").packed
    pseudo = IPv6Address(source).packed + everybody + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    body = body[:2] + struct.pack("!H", _sum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255)
    head += IPv6Address(source).packed + everybody
    return mac("33:33:00:00:00:01") + mac(source_mac) + struct.pack("!H", IPV6) + head + body


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def believed_mac(process: int | str, address: str) -> str | None:
    """Where the machine of ``process`` (``self`` for the host) believes that an address is."""
    for line in Path(f"/proc/{process}/net/arp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[0] == address and words[2] != "0x0":
            return words[3]
    return None
