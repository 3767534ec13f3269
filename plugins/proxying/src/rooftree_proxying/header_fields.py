"""Header fields on their way through a proxy: which concern one connection only, and which a proxy must not pass on.

Names are compared as whoever gets them may read them: in any case, and with ``_`` for ``-``, which programs behind CGI
or WSGI can't tell apart. Syntax: RFC 9110, sections 5 and 7.6.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rooftree import Field
from rooftree_proxying.memo import Memo

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""What belongs to one connection, or to where a message ends on it: written anew for each."""


_USUAL: Final = frozenset({b"close", b"keep-alive", b"Close", b"Keep-Alive", b"Upgrade", b"upgrade"})
"""What ``Connection`` says that names no field."""


_CANONICAL: Final = Memo[bytes](lambda name: name.lower().replace(b"_", b"-"))


def canonical(name: bytes) -> bytes:
    """A field's name as names are compared."""
    return _CANONICAL[name]


def end_to_end(fields: Iterable[Field]) -> list[Field]:
    """The fields that are meant for the other end: those of the connection are gone, and those that it names."""
    kept, connection = [], []
    for field in fields:
        name = _CANONICAL[field[0]]
        if name not in HOP_BY_HOP:
            kept.append(field)
        elif name == b"connection":
            connection.append(field[1])
    return without_named(kept, connection)


def without_named(fields: list[Field], connection: Iterable[bytes]) -> list[Field]:
    """The fields but those that the values of ``Connection`` name."""
    named: set[bytes] = set()
    for value in connection:
        if value not in _USUAL:
            named.update(canonical(option.strip()) for option in value.split(b","))
    return without(fields, named) if named else fields


def closes(connection: Iterable[bytes]) -> bool:
    """Whether the values of ``Connection`` say that it ends with this message."""
    return b"close" in b",".join(connection).lower()


def without(fields: Iterable[Field], names: Collection[bytes]) -> list[Field]:
    """The fields but those of these names, which are canonical."""
    return [field for field in fields if _CANONICAL[field[0]] not in names]


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """The values of the fields of a canonical name, in order."""
    return [value for other, value in fields if _CANONICAL[other] == name]


def options(fields: Sequence[Field], name: bytes) -> list[bytes]:
    """The members, in lower case, of a field that is a list, such as ``Connection``."""
    return [member.strip().lower() for value in values(fields, name) for member in value.split(b",") if member.strip()]


def without_cookie(fields: Iterable[Field], cookie: bytes) -> list[Field]:
    """The fields of a request with that cookie taken out of its ``Cookie`` fields; one that has no other is gone."""
    kept = []
    for field in fields:
        if _CANONICAL[field[0]] == b"cookie" and cookie in field[1]:
            pairs = [pair.strip() for pair in field[1].split(b";")]
            others = [pair for pair in pairs if not _is_of(pair, cookie)]
            if others:
                kept.append((field[0], b"; ".join(others)))
        else:
            kept.append(field)
    return kept


def without_set_cookie(fields: Iterable[Field], cookie: bytes) -> list[Field]:
    """The fields of an answer without what would set that cookie."""
    return [field for field in fields if _CANONICAL[field[0]] != b"set-cookie" or not _is_of(field[1], cookie)]


def _is_of(pair: bytes, cookie: bytes) -> bool:
    """Whether a name and value, as cookies have them, are those of that cookie."""
    return pair.partition(b"=")[0].strip() == cookie
