"""Which port of a bridge leads to which process, as the kernel of this host says.

A container's interface and its port of the bridge are the two ends of a veth pair. The host's end knows the network
namespace of the other one by a number, and the kernel tells the number of a process's namespace: so nothing is asked
inside of a container, where it could be made up. Two questions over netlink; iproute2 has no words for the second.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

_NEW_LINK, _GET_LINK = 16, 18
_NEW_NAMESPACE_NUMBER, _GET_NAMESPACE_NUMBER = 88, 90
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_NAME, _MASTER, _PEER_NAMESPACE = 3, 10, 37
_NUMBER, _OF_PROCESS = 1, 2
_HEAD: Final = struct.Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence, port."""
_LINK_HEAD: Final = struct.Struct("=BxHiII")
"""``struct ifinfomsg``."""
_NAMESPACE_HEAD: Final = b"\0\0\0\0"
"""``struct rtgenmsg``, padded."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_INTEGER: Final = struct.Struct("=i")
_TYPE_BITS: Final = 0x3FFF
_ANSWER_BYTES: Final = 1 << 18
_ANSWER_S: Final = 5.0


def ports_of(bridge: str, processes: Iterable[int]) -> Mapping[int, str]:
    """The name of the port of ``bridge`` that leads to each of the processes; those that have none are left out.

    Blocks for some milliseconds. Raises ``OSError`` where the kernel can't be asked.
    """
    index = socket.if_nametoindex(bridge)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.bind((0, 0))
        ports = dict(_ports_by_namespace(kernel, index))
        numbers = ((process, _namespace_number(kernel, process)) for process in processes)
        return {process: ports[number] for process, number in numbers if number in ports}


def ports_there(bridge: str) -> frozenset[str]:
    """The names of all ports of the bridge; none where it is not there."""
    try:
        ports = (Path("/sys/class/net") / bridge / "brif").iterdir()  # ours: the kernel's
        return frozenset(port.name for port in ports)
    except OSError:
        return frozenset()


def _ports_by_namespace(kernel: socket.socket, bridge: int) -> Iterator[tuple[int, str]]:
    _send(kernel, _GET_LINK, _DUMP, _LINK_HEAD.pack(0, 0, 0, 0, 0))
    for kind, body in _answers(kernel):
        if kind == _NEW_LINK:
            link = dict(_attributes(body[_LINK_HEAD.size :]))
            if _PEER_NAMESPACE in link and link.get(_MASTER) == _INTEGER.pack(bridge):
                yield _INTEGER.unpack(link[_PEER_NAMESPACE])[0], link[_NAME].rstrip(b"\0").decode()


def _namespace_number(kernel: socket.socket, process: int) -> int | None:
    asked = _ATTRIBUTE.pack(_ATTRIBUTE.size + _INTEGER.size, _OF_PROCESS) + _INTEGER.pack(process)
    _send(kernel, _GET_NAMESPACE_NUMBER, 0, _NAMESPACE_HEAD + asked)
    number = None
    for kind, body in _answers(kernel, single=True):
        if kind == _NEW_NAMESPACE_NUMBER:
            told = dict(_attributes(body[len(_NAMESPACE_HEAD) :])).get(_NUMBER)
            number = None if told is None else _INTEGER.unpack(told)[0]
    return None if number is None or number < 0 else number


def _send(kernel: socket.socket, kind: int, flags: int, body: bytes) -> None:
    kernel.send(_HEAD.pack(_HEAD.size + len(body), kind, _REQUEST | flags, 1, 0) + body)


def _answers(kernel: socket.socket, *, single: bool = False) -> Iterator[tuple[int, bytes]]:
    """The messages of an answer; a refusal (no such process) ends it like its end does."""
    while True:
        datagram = kernel.recv(_ANSWER_BYTES)
        while datagram:
            length, kind, *_ = _HEAD.unpack_from(datagram)
            if kind in {_DONE, _ERROR}:
                return
            yield kind, datagram[_HEAD.size : length]
            datagram = datagram[_aligned(length) :]
        if single:
            return


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    while len(body) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_BITS, body[_ATTRIBUTE.size : length]
        body = body[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
