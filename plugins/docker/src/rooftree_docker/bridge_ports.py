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

from rooftree_machine.netlink import asked, attribute, attributes

_GET_LINK: Final = 18
_GET_NAMESPACE_NUMBER: Final = 90
_NAME, _MASTER, _PEER_NAMESPACE = 3, 10, 37
_NUMBER, _OF_PROCESS = 1, 2
_LINK_HEAD: Final = struct.Struct("=BxHiII")
"""``struct ifinfomsg``."""
_NAMESPACE_HEAD: Final = b"\0\0\0\0"
"""``struct rtgenmsg``, padded."""
_INTEGER: Final = struct.Struct("=i")


def ports_of(bridge: str, processes: Iterable[int]) -> Mapping[int, str]:
    """The name of the port of ``bridge`` that leads to each of the processes; those that have none are left out.

    Blocks for some milliseconds. Raises ``OSError`` where the kernel can't be asked.
    """
    ports = dict(_ports_by_namespace(socket.if_nametoindex(bridge)))
    numbers = ((process, _namespace_number(process)) for process in processes)
    return {process: ports[number] for process, number in numbers if number in ports}


def ports_there(bridge: str) -> frozenset[str]:
    """The names of all ports of the bridge; none where it is not there."""
    try:
        ports = (Path("/sys/class/net") / bridge / "brif").iterdir()  # ours: the kernel's
        return frozenset(port.name for port in ports)
    except OSError:
        return frozenset()


def _ports_by_namespace(bridge: int) -> Iterator[tuple[int, str]]:
    for _, body in asked(_GET_LINK, _LINK_HEAD.pack(0, 0, 0, 0, 0)):
        link = attributes(body[_LINK_HEAD.size :])
        if _PEER_NAMESPACE in link and link.get(_MASTER) == _INTEGER.pack(bridge):
            yield _INTEGER.unpack(link[_PEER_NAMESPACE])[0], link[_NAME].rstrip(b"\0").decode()


def _namespace_number(process: int) -> int | None:
    """The number of a process's network namespace; ``None`` where it has none, or there is no such process."""
    question = _NAMESPACE_HEAD + attribute(_OF_PROCESS, _INTEGER.pack(process))
    try:
        (_, body), *_ = asked(_GET_NAMESPACE_NUMBER, question, dump=False)
    except OSError:
        return None
    (number,) = _INTEGER.unpack(attributes(body[len(_NAMESPACE_HEAD) :])[_NUMBER])
    return number if number >= 0 else None
