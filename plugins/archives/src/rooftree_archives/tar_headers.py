"""Headers of tar members, as bytes and read: POSIX pax, with what GNU tar adds to it for sparse files.

Python's ``tarfile`` takes a header that is none for the end of the archive, keeps every member in memory, and knows
times as floating point numbers. So the blocks are read and written here; they are no more than this.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, mutable

from rooftree_archives.faults import Damaged

BLOCK: Final = 512
RECORD: Final = 10_240
"""What an archive's length is a multiple of."""
MOST_EXTENDED: Final = 1024 * 1024
"""Bytes of the extended header of one member: attributes of a file are 64 kB at most on the disks that we know."""
END: Final = bytes(BLOCK)

FILE: Final = b"0"
HARD_LINK: Final = b"1"
LINK: Final = b"2"
CHARACTER_DEVICE: Final = b"3"
BLOCK_DEVICE: Final = b"4"
FOLDER: Final = b"5"
PIPE: Final = b"6"

_KINDS: Final = {b"\0": FILE, b"7": FILE, **{kind: kind for kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6")}}
_EXTENDED: Final = b"x"
_EXTENDED_FOR_ALL: Final = b"g"
_LONG_NAME: Final = b"L"
_LONG_TARGET: Final = b"K"
_USTAR: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ATTRIBUTE: Final = "SCHILY.xattr."


@mutable(kw_only=True)
class Member:
    """One member of a tar archive."""

    name: str
    """Undecodable bytes as surrogates."""
    kind: bytes = FILE
    size: int = 0
    """Bytes that follow the header."""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    """Of a link; of a hard link, the name of another member."""
    attributes: Mapping[str, bytes] = field(factory=dict)
    """Extended attributes, by name."""
    sparse_size: int | None = None
    """Of a sparse file, its length with the holes; a map of its data then comes first in what follows the header."""


def encode(member: Member, *, always_extended: bool = False) -> bytes:
    """The blocks that stand before a member's bytes.

    :param always_extended: have an extended header even for a time of whole seconds, so that the length of this does
        not depend on the time or, up to any, on the size
    """
    records: list[bytes] = []
    name, target = _bytes(member.name), _bytes(member.target)
    if not (_is_utf8(name) and _is_utf8(target)):
        records.append(_record("hdrcharset", b"BINARY"))
    if member.sparse_size is not None:
        sparse = {"major": b"1", "minor": b"0", "name": name, "realsize": b"%d" % member.sparse_size}
        records += [_record(f"GNU.sparse.{key}", value) for key, value in sparse.items()]
        name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
    if len(name) > 100 or not name.isascii():
        records.append(_record("path", name))
    if len(target) > 100 or not target.isascii():
        records.append(_record("linkpath", target))
    seconds, fraction = divmod(member.mtime_ns, 1_000_000_000)
    if fraction or seconds < 0 or always_extended:
        records.append(_record("mtime", _decimal(member.mtime_ns)))
    numbers = {"uid": (member.uid, 7), "gid": (member.gid, 7), "size": (member.size, 11), "": (max(seconds, 0), 11)}
    octal: dict[str, bytes] = {}
    for key, (number, digits) in numbers.items():
        if number >= 8**digits:
            records.append(_record(key or "mtime", b"%d" % number))
        octal[key] = b"%0*o" % (digits, number if number < 8**digits else 0)
    records += [_record(_ATTRIBUTE + key, value) for key, value in member.attributes.items()]
    block = _block(name[:100], member.kind, octal["size"], target[:100], member.mode, octal)
    if not records:
        return block
    text = b"".join(records)
    extended = _block(b"././@PaxHeader", _EXTENDED, b"%011o" % len(text), b"", 0o644, {})
    return extended + text + bytes(-len(text) % BLOCK) + block


def padding(size: int) -> int:
    """Bytes between what a member holds and the next header."""
    return -size % BLOCK


def _block(name: bytes, kind: bytes, size: bytes, target: bytes, mode: int, octal: Mapping[str, bytes]) -> bytes:
    zero = b"0000000"
    block = _USTAR.pack(
        name, b"%07o" % (mode & 0o7777), octal.get("uid", zero), octal.get("gid", zero), size, octal.get("", b"0" * 11),
        b" " * 8, kind, target, b"ustar\x0000", b"", b"", zero, zero, b"",
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: str, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts itself."""
    rest = b" " + _bytes(key) + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _decimal(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    text = f"{'-' if nanoseconds < 0 else ''}{seconds}.{fraction:09d}".rstrip("0").rstrip(".")
    return text.encode("ascii")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# --- reading ---------------------------------------------------------------------------------------------------------


def decode(take: Callable[[int], bytes]) -> Member | None:
    """The next member, or ``None`` at the archive's end, a block of zeros. Raises :class:`Damaged`.

    :param take: gives exactly that many bytes of the archive, or raises :class:`Damaged`
    """
    records: dict[str, bytes] = {}
    while True:
        block = take(BLOCK)
        if block == END:
            if records:
                raise Damaged("an extended header is followed by nothing")
            return None
        fields = _USTAR.unpack(block)
        if sum(block) - sum(fields[6]) + 8 * 32 != _number(fields[6]):
            raise Damaged("a header is damaged")
        kind, size = fields[7], _number(fields[4])
        if kind not in {_EXTENDED, _EXTENDED_FOR_ALL, _LONG_NAME, _LONG_TARGET}:
            return _member(fields, records)
        if size > MOST_EXTENDED:
            raise Damaged(f"an extended header is larger than {MOST_EXTENDED} bytes")
        text = take(size + padding(size))[:size]
        if kind == _EXTENDED:
            records |= _records(text)
        elif kind != _EXTENDED_FOR_ALL:
            records.setdefault("path" if kind == _LONG_NAME else "linkpath", text.rstrip(b"\0"))


def _member(fields: tuple[bytes, ...], records: Mapping[str, bytes]) -> Member:
    name = _string(fields[0])
    if fields[9][:6] == b"ustar\0" and (prefix := _string(fields[14])):
        name = prefix + b"/" + name
    name = records.get("path", name)
    kind = _KINDS.get(fields[7])
    if kind is None:
        raise Damaged(f"{_text(name)!a} is of a kind that is not known: {fields[7]!r}")
    member = Member(
        name=_text(name),
        kind=FOLDER if kind == FILE and name.endswith(b"/") else kind,
        size=_integer(records, "size", fields[4]),
        mode=_number(fields[1]) & 0o7777,
        uid=_integer(records, "uid", fields[2]),
        gid=_integer(records, "gid", fields[3]),
        mtime_ns=_nanoseconds(records["mtime"]) if "mtime" in records else _number(fields[5]) * 1_000_000_000,
        target=_text(records.get("linkpath", _string(fields[8]))),
    )
    if member.kind != FILE:
        member.size = 0  # of a hard link, some write the size of the file, and none its bytes
    if records:
        member.attributes = {
            key.removeprefix(_ATTRIBUTE): value for key, value in records.items() if key.startswith(_ATTRIBUTE)
        }
        _mark_sparse(member, records)
    if "\0" in member.name or "\0" in member.target:
        raise Damaged(f"{member.name!a} has a NUL in its name or target")
    return member


def _mark_sparse(member: Member, records: Mapping[str, bytes]) -> None:
    if not any(key.startswith("GNU.sparse.") for key in records):
        return
    version = records.get("GNU.sparse.major"), records.get("GNU.sparse.minor")
    if version != (b"1", b"0") or member.kind != FILE:
        raise Damaged(f"{member.name!a} is sparse in a way that is not known")
    member.name = _text(records.get("GNU.sparse.name", _bytes(member.name)))
    member.sparse_size = _integer(records, "GNU.sparse.realsize", b"")


def _records(text: bytes) -> dict[str, bytes]:
    """The records of an extended header; raises :class:`Damaged`."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(text):
        space = text.find(b" ", at, at + 20)
        digits = text[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise Damaged("an extended header is damaged")
        end = at + int(digits)
        key, equals, value = text[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(text) or text[end - 1 : end] != b"\n" or not equals:
            raise Damaged("an extended header is damaged")
        records[_text(key)] = value
        at = end
    return records


def _string(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def _number(data: bytes) -> int:
    """Octal digits, or binary where the first bit is set, as GNU tar has it for what is too large."""
    if data[:1] >= b"\x80":
        return int.from_bytes(data, "big", signed=True) if data[0] == 0xFF else int.from_bytes(data[1:], "big")
    digits = _string(data).strip(b" ")
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError:
        raise Damaged("a header is damaged") from None


def _integer(records: Mapping[str, bytes], key: str, field: bytes) -> int:
    text = records.get(key)
    if text is not None and not (text.isdigit() and len(text) <= 20):
        raise Damaged(f"an extended header says {key}={text[:40]!r}")
    number = _number(field) if text is None else int(text)
    if number < 0:
        raise Damaged(f"a header says that {key} is {number}")
    return number


def _nanoseconds(text: bytes) -> int:
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not (whole + fraction).isdigit() or len(whole) > 18:
        raise Damaged(f"an extended header says mtime={text[:40]!r}")
    return sign * (int(whole or b"0") * 1_000_000_000 + int((fraction + b"000000000")[:9]))
