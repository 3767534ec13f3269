"""The one spelling of a path.

Authorisation runs on the matched route and its canonical path. A target that is spelt any other way (doubled slashes,
dot segments, needless or overlong escapes) is refused rather than normalised: two components that normalise
differently are how allow-lists are bypassed. Syntax: RFC 3986, sections 2 and 3.3.

The tail of a proxied path (:class:`Tail`) is somebody else's name and is passed on as it was spelt. Its rule: however
often its escapes are read, it stays below where it was put, and each segment stays one segment.

A part that is a free text (:class:`FreeText`) is a name that somebody else gave, such as a program's in a journal. Its
escapes are read once, however it was spelt, and what is compared is what they say.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from rooftree.errors import Invalid
from rooftree.model import ParsedString

MAX_ESCAPED = 4
"""How often a proxied path may be escaped over and over; what is escaped more often is refused."""

_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})+")
_PLAIN = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/\\\x00-\x1f\x7f]")
_SPELT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]|^]|%[0-9A-Fa-f]{2})*")
"""What browsers send in a path, which is a little more than RFC 3986 allows."""
_PARTING = frozenset({"/", "\\", "\x7f", *map(chr, range(0x20))})
"""What ends a segment, or a name, for one program or another."""


class FreeText(ParsedString):
    """A part of a path that may be any text, slashes among it: ``%2F``. Every character may be escaped, once.

    A subclass may say with :attr:`pattern` and :attr:`allowed` what it can be.
    """

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for what does not match the pattern, where there is one."""
        if cls.pattern is not None:
            super().check(text)


def free_text(segment: str) -> FreeText | None:
    """What a segment says whose escapes are read once, or ``None`` for one that says nothing or leads elsewhere."""
    if not _SPELT.fullmatch(segment):
        return None
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return FreeText(text) if text not in {"", ".", ".."} else None


def segments(path: str) -> tuple[str, ...]:
    """The decoded segments of a canonical path (``/`` has none); raises :class:`Invalid` for any other spelling."""
    if path == "/":
        return ()
    if not path.startswith("/"):
        raise Invalid("The request target must be a path that begins with /")
    if path.endswith("/") and not path.endswith("//"):
        raise Invalid("The path ends with a slash: write it without")
    return tuple(_decoded(segment) for segment in path[1:].split("/"))


def _decoded(segment: str) -> str:
    if not segment:
        raise Invalid("The path has an empty segment: a name in it is empty, or a / is written twice")
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


class Tail(ParsedString):
    """The rest of a proxied path, without the slash in front of it and as the client spelt it: safe to be put behind a
    prefix as it is. Empty where the path ends with the prefix's slash; a slash at its end is kept."""

    __slots__ = ()

    @classmethod
    def check(cls, text: str) -> None:
        """Raise ``ValueError`` for a tail that could lead out of where it is put."""
        *inner, last = text.split("/")
        if not all(inner):
            raise ValueError("the path has an empty segment: a name in it is empty, or a / is written twice")
        for segment in (*inner, last):
            readings(segment)


def readings(segment: str) -> frozenset[str]:
    """What a segment of a proxied path says: as it is spelt, and as whoever reads its escapes once, twice … sees it.

    Raises ``ValueError`` where one of these is a dot segment, or has a slash, backslash or control character.
    """
    if not _SPELT.fullmatch(segment):
        raise ValueError("the path has a character that must be percent-encoded, or an escape that is cut short")
    seen = [segment]
    while "%" in seen[-1]:
        try:
            read = unquote_to_bytes(seen[-1]).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("the path has an escape that is not UTF-8") from None
        if read == seen[-1]:
            break
        if len(seen) > MAX_ESCAPED:
            raise ValueError(f"the path is escaped more than {MAX_ESCAPED} times over")
        seen.append(read)
    for text in seen:
        if text.partition(";")[0] in {".", ".."} or any(sign in _PARTING for sign in text):
            raise ValueError("the path has a dot segment, slash, backslash or control character in disguise")
    return frozenset(seen)
