"""What the kernel of this host is asked over rtnetlink(7), and how its answers are read: ``linux/netlink.h``.

No command is run for it: to start a process holds the whole daemon up for as long as its memory is copied for that.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

_HEAD: Final = struct.Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence, port."""
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_ATTRIBUTE: Final = struct.Struct("=HH")
"""``struct nlattr``: length, type."""
_TYPE_BITS: Final = 0x3FFF
_ANSWER_BYTES: Final = 1 << 18
_ANSWER_S: Final = 5.0


def asked(request: int, body: bytes, *, dump: bool = True) -> list[tuple[int, bytes]]:
    """What the kernel answers: type and body of each message. Blocks for a moment.

    :param request: such as ``RTM_GETLINK``
    :param body: what comes behind the message's head
    :param dump: whether everything of that kind is wanted, rather than the one thing that ``body`` names

    Raises ``OSError`` where the kernel can't be asked, or refuses.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_ANSWER_S)
        flags = _REQUEST | (_DUMP if dump else 0)
        kernel.send(_HEAD.pack(_HEAD.size + len(body), request, flags, 1, 0) + body)
        answers: list[tuple[int, bytes]] = []
        while True:
            for kind, answer in messages(kernel.recv(_ANSWER_BYTES)):
                if kind == _DONE:
                    return answers
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", answer)[0]
                    raise OSError(number, f"rtnetlink refused request {request}")
                answers.append((kind, answer))
            if not dump:
                return answers


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages in what was received: type and body of each."""
    while len(datagram) >= _HEAD.size:
        length, kind, *_ = _HEAD.unpack_from(datagram)
        if length < _HEAD.size:
            return
        yield kind, datagram[_HEAD.size : length]
        datagram = datagram[aligned(length) :]


def attributes(body: bytes) -> dict[int, bytes]:
    """What is said in a message, or within an attribute, by the attribute's type."""
    told: dict[int, bytes] = {}
    while len(body) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body)
        if length < _ATTRIBUTE.size:
            break
        told[kind & _TYPE_BITS] = body[_ATTRIBUTE.size : length]
        body = body[aligned(length) :]
    return told


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, for a question; ``value`` ends where the next one may begin."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def aligned(length: int) -> int:
    """Where the next thing begins behind one of that many bytes."""
    return (length + 3) & ~3
