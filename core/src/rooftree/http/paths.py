"""The one spelling of a path.

Authorisation runs on the matched route and its canonical path. A target that is spelt any other way (doubled slashes,
dot segments, needless or overlong escapes) is refused rather than normalised: two components that normalise
differently are how allow-lists are bypassed. Syntax: RFC 3986, sections 2 and 3.3.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from rooftree.errors import Invalid

_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})+")
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/\\\x00-\x1f\x7f]")


def segments(path: str) -> tuple[str, ...]:
    """The decoded segments of a canonical path (``/`` has none); raises :class:`Invalid` for any other spelling."""
    if path == "/":
        return ()
    if not path.startswith("/"):
        raise Invalid("The request target must be a path that begins with /")
    return tuple(_decoded(segment) for segment in path[1:].split("/"))


def _decoded(segment: str) -> str:
    if not segment:
        raise Invalid("The path has an empty segment: write each / once, and none at the end")
    if segment in {".", ".."}:
        raise Invalid("The path has a dot segment: write the path it leads to")
    if not _SEGMENT.fullmatch(segment):
        raise Invalid("The path has a character that must be percent-encoded, or an escape in lower case or cut short")
    if "%" not in segment:
        return segment
    for escape in re.findall(r"%..", segment):
        if _PLAIN.fullmatch(unquote_to_bytes(escape)):
            raise Invalid(f"The path has the escape {escape}, for a character that must not be escaped in a path here")
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("The path has an escape that is not UTF-8") from None
