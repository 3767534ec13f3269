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
from rooftree_proxying.header_fields import canonical

HEAD_BYTES: Final = 64 * 1024
"""How long a head may be."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FOLD = re.compile(rb"\r\n[ \t]+")
_END = re.compile(rb"\r?\n\r?\n")
_BODILESS = frozenset({204, 304})


class NoResponse(ValueError):
    """What came is not the head of an answer, or it does not say where the answer ends."""


@mutable(eq=False)  # one is made for each answer, and a frozen one costs three times as much
class ResponseHead:
    """The head of an answer."""

    status: int
    reason: bytes
    fields: Sequence[Field]
    """All of them, as they came."""
    length: int | None
    """Bytes that the body has, or would have if it came; ``None`` where that is not told beforehand."""
    is_chunked: bool
    has_body: bool
    keeps_connection: bool
    """Whether another request may follow on the connection."""


def end_of_head(data: bytes) -> int:
    """Where the body begins; 0 while the head is not whole. Raises :class:`NoResponse` when it is too long."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES) + 4
    if end > 3 and data.count(b"\n", 0, end) == data.count(b"\r\n", 0, end):
        return end
    odd_end = _END.search(data, 0, HEAD_BYTES)  # with single line feeds, which is rare, and slow to look for
    if odd_end is None and len(data) >= HEAD_BYTES:
        raise NoResponse(f"its head is longer than {HEAD_BYTES} bytes")
    return odd_end.end() if odd_end is not None else 0


def parse_head(head: bytes, method: str) -> ResponseHead:
    """Read the head of the answer to a request of that method, its empty line included; raises :class:`NoResponse`."""
    text = head if head.count(b"\n") == head.count(b"\r\n") else head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    line, _, rest = text.partition(b"\r\n")
    status_line = _STATUS.fullmatch(line)
    if status_line is None:
        raise NoResponse(f"it begins with {line[:60]!r}")
    fields = parse_fields(rest[:-2])
    lengths: list[bytes] = []
    codings: list[bytes] = []
    closes = False
    for name, value in fields:
        match canonical(name):
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings += [coding.strip().lower() for coding in value.split(b",")]
            case b"connection":
                closes = closes or b"close" in value.lower()
    status = int(status_line[2])
    length = _length(lengths)
    is_chunked = _is_chunked(codings)
    has_body = method != "HEAD" and status >= 200 and status not in _BODILESS
    ends_itself = not has_body or is_chunked or length is not None
    is_new = status_line[1] == b"1"
    if is_chunked and not is_new:
        raise NoResponse("it is chunked, in a version of HTTP that knows no chunks")
    return ResponseHead(
        status,
        status_line[3] or b"",
        fields,
        None if is_chunked else length,
        is_chunked,
        has_body,
        ends_itself and is_new and not closes,
    )


def parse_fields(text: bytes) -> list[Field]:
    """Fields, each line with its end; raises :class:`NoResponse`."""
    if b"\n " in text or b"\n\t" in text:
        text = _FOLD.sub(b" ", text)
    lines = text.split(b"\r\n")
    if lines.pop() or text.count(b"\r") != len(lines) or b"\0" in text:
        raise NoResponse("a line of its head has no end, or a sign that no field has")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, _NAME_BYTES):
            raise NoResponse(f"a line of its head is no header field: {line[:60]!r}")
        fields.append((name, value.strip(b" \t")))
    return fields


def _length(told: Sequence[bytes]) -> int | None:
    if not told:
        return None
    if not told[0].isdigit() or len(told[0]) > 18 or told.count(told[0]) != len(told):
        raise NoResponse(f"its length is told as {b', '.join(told)!r}")
    return int(told[0])


def _is_chunked(codings: Sequence[bytes]) -> bool:
    if not codings or codings == [b"identity"]:
        return False
    if codings != [b"chunked"]:
        raise NoResponse(f"its transfer coding is {b', '.join(codings)!r}")
    return True
