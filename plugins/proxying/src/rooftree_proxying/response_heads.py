"""What an upstream says of its answer before the body: status, fields, and how the body's end is told.

Read strictly where two readers could disagree on where a body ends, and as it is usual elsewhere: single line feeds and
folded lines are taken. Syntax: RFC 9112, sections 4, 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from rooftree import Field
from rooftree_proxying.header_fields import options, values

HEAD_BYTES: Final = 64 * 1024
"""How long a head may be."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*?)[ \t]*\r?\n")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r?\n)*")
_FOLD = re.compile(rb"[ \t]*\r?\n[ \t]+")
_END = re.compile(rb"\r?\n\r?\n")
_BODILESS = frozenset({204, 304})


class NoResponse(ValueError):
    """What came is not the head of an answer, or it does not say where the answer ends."""


@frozen
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
    end = _END.search(data, 0, HEAD_BYTES)
    if end is None and len(data) >= HEAD_BYTES:
        raise NoResponse(f"its head is longer than {HEAD_BYTES} bytes")
    return end.end() if end is not None else 0


def parse_head(head: bytes, method: str) -> ResponseHead:
    """Read the head of the answer to a request of that method, its empty line included; raises :class:`NoResponse`."""
    line, _, rest = head.partition(b"\n")
    status_line = _STATUS.fullmatch(line.rstrip(b"\r"))
    if status_line is None:
        raise NoResponse(f"it begins with {line[:60]!r}")
    fields = parse_fields(rest.removesuffix(b"\n").removesuffix(b"\r"))
    status = int(status_line[2])
    length = _length(fields)
    is_chunked = _is_chunked(fields)
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
        ends_itself and is_new and b"close" not in options(fields, b"connection"),
    )


def parse_fields(text: bytes) -> Sequence[Field]:
    """Fields, each line with its end; raises :class:`NoResponse`."""
    if b"\n " in text or b"\n\t" in text:
        text = _FOLD.sub(b" ", text)
    if not _FIELDS.fullmatch(text):
        raise NoResponse("a line of its head is no header field")
    return _FIELD.findall(text)


def _length(fields: Sequence[Field]) -> int | None:
    lengths = set(values(fields, b"content-length"))
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not re.fullmatch(rb"[0-9]{1,18}", length):
        raise NoResponse(f"its length is told as {b', '.join([length, *lengths])!r}")
    return int(length)


def _is_chunked(fields: Sequence[Field]) -> bool:
    codings = options(fields, b"transfer-encoding")
    if not codings or codings == [b"identity"]:
        return False
    if codings != [b"chunked"]:
        raise NoResponse(f"its transfer coding is {b', '.join(codings)!r}")
    return True
