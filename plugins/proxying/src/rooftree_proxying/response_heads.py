"""What an upstream says of its answer before the body: status, fields, and how the body's end is told.

Read strictly where two readers could disagree on where a body ends, and as it is usual elsewhere: single line feeds and
folded lines are taken. Syntax: RFC 9112, sections 4, 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import mutable

from rooftree import Field
from rooftree_proxying.header_fields import HOP_BY_HOP, canonical, closes, without_named
from rooftree_proxying.memo import Memo

HEAD_BYTES: Final = 64 * 1024
"""How long a head may be."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORBIDDEN: Final = frozenset(b"\r\n\0")
_FOLD = re.compile(rb"\r\n[ \t]+")
_BODILESS = frozenset({204, 304})


class NoResponse(ValueError):
    """What came is not the head of an answer, or it does not say where the answer ends."""


@mutable(eq=False)  # one is made for each answer, and a frozen one costs three times as much
class ResponseHead:
    """The head of an answer."""

    status: int
    reason: bytes
    fields: Sequence[Field]
    """Those that are meant for the client, as they came."""
    length: int | None
    """Bytes that the body has, or would have if it came; ``None`` where that is not told beforehand."""
    is_chunked: bool
    has_body: bool
    keeps_connection: bool
    """Whether another request may follow on the connection."""

    def is_all_with(self, size: int) -> bool:
        """Whether the answer is whole with a body of ``size`` bytes, and another request may follow."""
        return self.status >= 200 and self.keeps_connection and not self.is_chunked and size == self.body_bytes

    @property
    def body_bytes(self) -> int:
        """Bytes of the body that comes, where it is announced."""
        return self.length or 0 if self.has_body else 0


def end_of_head(data: bytes) -> int:
    """Where the body begins; 0 while the head is not whole. Raises :class:`NoResponse` when it is too long."""
    end = data.find(b"\n\r\n", 0, HEAD_BYTES)
    odd_end = data.find(b"\n\n", 0, end if end >= 0 else HEAD_BYTES)
    if odd_end >= 0:
        return odd_end + 2
    if end >= 0:
        return end + 3
    if len(data) >= HEAD_BYTES:
        raise NoResponse(f"its head is longer than {HEAD_BYTES} bytes")
    return 0


def parse_head(head: bytes, method: str) -> ResponseHead:
    """Read the head of the answer to a request of that method, its empty line included; raises :class:`NoResponse`."""
    try:
        return _parse_head(head, method)
    except NoResponse:
        plain = _plain(head)
        if plain == head:
            raise
        return _parse_head(plain, method)


def _parse_head(head: bytes, method: str) -> ResponseHead:
    line, *lines = head.split(b"\r\n")
    version, status, reason = _STATUSES[line]
    if lines.pop() or lines.pop():
        raise NoResponse("the last line of its head has no end")
    kept: list[Field] = []
    of_connection: dict[bytes, list[bytes]] = {}
    for line in lines:
        hop, field = _FIELDS[line]
        if hop is None:
            kept.append(field)
        else:
            of_connection.setdefault(hop, []).append(field[1])
    connection = of_connection.get(b"connection", ())
    length = _length(of_connection.get(b"content-length"))
    is_chunked = _is_chunked(of_connection.get(b"transfer-encoding"))
    has_body = status >= 200 and status not in _BODILESS and method != "HEAD"
    ends_itself = not has_body or is_chunked or length is not None
    is_new = version == b"1"
    if is_chunked and not is_new:
        raise NoResponse("it is chunked, in a version of HTTP that knows no chunks")
    return ResponseHead(
        status,
        reason,
        without_named(kept, connection),
        None if is_chunked else length,
        is_chunked,
        has_body,
        ends_itself and is_new and not closes(connection),
    )


def parse_fields(text: bytes) -> list[Field]:
    """Fields, each line with its end; raises :class:`NoResponse`."""
    try:
        return _parse_fields(text)
    except NoResponse:
        plain = _plain(text)
        if plain == text:
            raise
        return _parse_fields(plain)


def _parse_fields(text: bytes) -> list[Field]:
    *lines, behind = text.split(b"\r\n")
    if behind:
        raise NoResponse("the last line of its head has no end")
    return [_FIELDS[line][1] for line in lines]


def _plain(text: bytes) -> bytes:
    """The same with the usual ends of lines, and none folded."""
    return _FOLD.sub(b" ", text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def _read_field(line: bytes) -> tuple[bytes | None, Field]:
    """A field, with its name as names are compared where it is about the connection only."""
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, _NAME_BYTES) or not _FORBIDDEN.isdisjoint(value):
        raise NoResponse(f"a line of its head is no header field: {line[:60]!r}")
    plain = canonical(name)
    return plain if plain in HOP_BY_HOP else None, (name, value.strip(b" \t"))


def _read_status(line: bytes) -> tuple[bytes, int, bytes]:
    status_line = _STATUS.fullmatch(line)
    if status_line is None:
        raise NoResponse(f"it begins with {line[:60]!r}")
    version, code, reason = status_line.groups(b"")
    return version, int(code), reason


_FIELDS: Final = Memo(_read_field)
"""Most lines of an answer's head are those of the answer before."""
_STATUSES: Final = Memo(_read_status)


def _length(told: Sequence[bytes] | None) -> int | None:
    if not told:
        return None
    if not told[0].isdigit() or len(told[0]) > 18 or told.count(told[0]) != len(told):
        raise NoResponse(f"its length is told as {b', '.join(told)!r}")
    return int(told[0])


def _is_chunked(told: Sequence[bytes] | None) -> bool:
    if not told:
        return False
    codings = [coding.strip().lower() for value in told for coding in value.split(b",")]
    if codings == [b"identity"]:
        return False
    if codings != [b"chunked"]:
        raise NoResponse(f"its transfer coding is {b', '.join(codings)!r}")
    return True
