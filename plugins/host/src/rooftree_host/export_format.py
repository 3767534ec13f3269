"""Journal entries in the Journal Export Format (systemd.io/JOURNAL_EXPORT_FORMATS), taken apart.

An entry is a row of fields and ends with an empty line. A field is ``NAME=value`` and a line feed; one whose value has
control characters (a colour is enough) is its name, a line feed, the value's length as 64 bits little-endian, the
value, and a line feed.

Most of a journal is text, so it is looked at in stretches rather than line by line: only a length has NUL bytes, and
up to the next NUL all but the last lines are text. What is kept between blocks is never more than the beginning of one
line, and of a value no more than :data:`LONGEST_VALUE_BYTES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from rooftree import Failed

LONGEST_VALUE_BYTES: Final = 256 * 1024
"""A longer value is cut, so that memory stays flat; a core dump in the journal has hundreds of megabytes."""

_NO_EXPORT_FORMAT: Final = "The system journal's gateway sent something that is no journal export format"
_LONGEST_NAME_BYTES: Final = 64
_LENGTH_BYTES: Final = 8
_TAIL_BYTES: Final = _LONGEST_NAME_BYTES + _LENGTH_BYTES + 2
_NAME: Final = rb"\n([A-Z0-9_]{1,%d})\n" % _LONGEST_NAME_BYTES
_BINARY_NAME: Final = re.compile(_NAME)
_NAME_AT_END: Final = re.compile(_NAME + rb"[^\0]{0,%d}\Z" % (_LENGTH_BYTES - 1))

_CURSOR: Final = re.compile(rb"\n__CURSOR=([^\n]*)\n")
_TIME_OF_CURSOR: Final = re.compile(rb"(?:^|;)t=([0-9a-f]{1,16})(?:;|$)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

type Piece = bytes | tuple[bytes, bytes]
"""A stretch of whole lines of text, with a line feed in front, or the name and value of a field that has any bytes."""


class ExportReader:
    """Takes blocks, hands on what they complete."""

    def __init__(self) -> None:
        # The line feed stands for the one that ends a field before: every name then has one in front.
        self._rest = b"\n"
        self._name = b""
        self._value = bytearray()
        self._missing_bytes = 0
        """How much of a value's bytes, and its line feed, is still to come."""
        self._in_long_line = False
        self._size = 0

    def feed(self, block: bytes) -> Iterator[Piece]:
        """The pieces that ``block`` completes; raises :class:`Failed` for something that is no export format."""
        if self._missing_bytes:
            taken = block[: self._missing_bytes]
            self._keep(taken)
            self._missing_bytes -= len(taken)
            if self._missing_bytes:
                return
            block = block[len(taken) :]
            yield self._whole_value()
        if self._in_long_line:
            end = block.find(b"\n")
            self._keep(block if end < 0 else block[: end + 1])
            if end < 0:
                return
            block = block[end + 1 :]
            self._in_long_line = False
            yield self._whole_value()
        yield from self._fields(self._rest + block)

    def _fields(self, data: bytes) -> Iterator[Piece]:
        """``data`` begins with the line feed of the field before."""
        at = 0
        while True:
            nul = data.find(b"\0", at)
            if nul < 0:
                break
            # Each line of text has an equals sign, so the first name that stands alone behind the last one is it. What
            # is so near to the NUL that it may be part of the length is not looked at for one.
            text_end = max(at, nul - _LENGTH_BYTES + 1)
            match = _BINARY_NAME.search(data, max(at, data.rfind(b"=", at, text_end)), nul + _LENGTH_BYTES)
            if match is None:
                raise Failed(_NO_EXPORT_FORMAT)
            start = match.end()
            if match.start() > at:
                yield data[at : match.start() + 1]
            if len(data) - start < _LENGTH_BYTES:
                self._rest = data[match.start() :]
                return
            size = int.from_bytes(data[start : start + _LENGTH_BYTES], "little")
            start += _LENGTH_BYTES
            if len(data) - start <= size:
                self._begin_value(match[1], data[start:], size + 1 - (len(data) - start))
                return
            yield match[1], _cut(data[start : start + min(size, LONGEST_VALUE_BYTES)], size)
            at = start + size
        yield from self._text(data, at)

    def _text(self, data: bytes, at: int) -> Iterator[Piece]:
        """What is text for sure in data without a NUL; the rest waits for the next block."""
        end = data.rfind(b"\n", at)
        tail = max(at, len(data) - _TAIL_BYTES)
        name = _NAME_AT_END.search(data, tail)  # its length may be still to come
        if name is not None:
            end = name.start()
        if end > at:
            yield data[at : end + 1]
        self._rest = data[end:]
        if len(self._rest) > LONGEST_VALUE_BYTES:
            self._begin_line()

    def _begin_value(self, name: bytes, beginning: bytes, missing_bytes: int) -> None:
        self._name, self._missing_bytes, self._rest = name, missing_bytes, b"\n"
        self._keep(beginning)

    def _begin_line(self) -> None:
        self._name, _, beginning = self._rest[1:].partition(b"=")
        self._in_long_line, self._rest = True, b"\n"
        self._keep(beginning)

    def _keep(self, part: bytes) -> None:
        self._value += part[: max(0, LONGEST_VALUE_BYTES + 1 - len(self._value))]
        self._size += len(part)

    def _whole_value(self) -> Piece:
        size = self._size - 1  # the line feed behind it is no part of it
        value = bytes(self._value[: min(size, LONGEST_VALUE_BYTES)])
        self._value, self._size = bytearray(), 0
        return self._name, _cut(value, size)


def _cut(value: bytes, size: int) -> bytes:
    return value if size <= LONGEST_VALUE_BYTES else b"%b [cut: %d bytes in all]" % (value, size)


# --- cut short ---------------------------------------------------------------------------------------------------


class Cut:
    """Hands on pieces up to the first entry that is too late, or is the one at a cursor.

    :param until: the last time that is not too late
    """

    def __init__(self, *, until: datetime | None = None, cursor: str | None = None) -> None:
        self.is_over = False
        self._until_us = None if until is None else microseconds(until)
        self._cursor = None if cursor is None else cursor.encode()
        self._cuts = until is not None or cursor is not None

    def __call__(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """What is before the cut."""
        for piece in pieces:
            end = self._end(piece) if self._cuts and isinstance(piece, bytes) else None
            if end is None:
                yield piece
                continue
            self.is_over = True
            if end:
                yield piece[: end + 1]  # type: ignore[misc]
            return

    def _end(self, piece: bytes) -> int | None:
        """Where the first entry begins that is too much; its cursor comes first, and has its time."""
        for entry in _CURSOR.finditer(piece):
            if entry[1] == self._cursor:
                return entry.start()
            time = _TIME_OF_CURSOR.search(entry[1])
            if self._until_us is not None and time is not None and int(time[1], 16) > self._until_us:
                return entry.start()
        return None


# --- as text ------------------------------------------------------------------------------------------------------


def plain(pieces: Iterator[Piece]) -> bytes:
    """The messages alone, one after the other."""
    lines: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, tuple):
            if piece[0] == b"MESSAGE":
                lines += (piece[1], b"\n")
        elif (at := piece.find(b"\nMESSAGE=")) >= 0:
            lines += [text[: text.index(b"\n") + 1] for text in piece[at:].split(b"\nMESSAGE=")[1:]]
    return b"".join(lines)


_SHOWN: Final = (
    b"__REALTIME_TIMESTAMP",
    b"_HOSTNAME",
    b"SYSLOG_IDENTIFIER",
    b"_COMM",
    b"SYSLOG_PID",
    b"_PID",
    b"MESSAGE",
)
_SHOWN_LINES: Final = tuple((name, b"\n%b=" % name, len(name) + 2) for name in _SHOWN)
_NO_TIME_US: Final = 2**55
"""From here on systemd takes a time for none (the year 3111)."""
_MOST_DIGITS: Final = len(str(_NO_TIME_US))


class WithTime:
    """Each message with its time; keeps what it has of an entry that is not whole yet.

    :param author: with host and author too
    """

    def __init__(self, *, author: bool) -> None:
        self._author = author
        self._entry: dict[bytes, bytes] = {}
        self._second = -1
        self._second_text = ""

    def __call__(self, pieces: Iterator[Piece]) -> bytes:
        """The lines of the entries that are whole now."""
        lines: list[bytes] = []
        for piece in pieces:
            if isinstance(piece, tuple):
                self._entry[piece[0]] = piece[1]
                continue
            begin = 0
            while (end := piece.find(b"\n\n", begin)) >= 0:
                self._note(piece, begin, end + 1)
                self._line(lines)
                begin = end + 1
            self._note(piece, begin, len(piece))
        return b"".join(lines)

    def _note(self, text: bytes, begin: int, end: int) -> None:
        """Keep the fields that are shown of those between a line feed at ``begin`` and one just before ``end``."""
        for name, line, size in _SHOWN_LINES:
            at = text.find(line, begin, end)
            if at >= 0:
                self._entry[name] = text[at + size : text.index(b"\n", at + size)]

    def _line(self, lines: list[bytes]) -> None:
        entry, self._entry = self._entry, {}
        message = entry.get(b"MESSAGE")
        if message is None:
            return
        time = self._time(time_us(entry.get(b"__REALTIME_TIMESTAMP", b"0")))
        if not self._author:
            lines.append(b"%b %b\n" % (time, message))
            return
        host = entry.get(b"_HOSTNAME", b"-")
        author = entry.get(b"SYSLOG_IDENTIFIER") or entry.get(b"_COMM") or b"unknown"
        process = entry.get(b"SYSLOG_PID") or entry.get(b"_PID")
        lines.append(b"%b %b %b%b: %b\n" % (time, host, author, b"[%b]" % process if process else b"", message))

    def _time(self, microseconds: int) -> bytes:
        second, rest = divmod(microseconds, 1_000_000)
        if second != self._second:
            self._second = second
            self._second_text = (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")
        return f"{self._second_text}.{rest // 1000:03}".encode()


def time_us(text: bytes) -> int:
    """Microseconds since 1970, as a field has them; raises :class:`Failed` for what is no time."""
    if not text.isdigit() or len(text) > _MOST_DIGITS or (microseconds := int(text)) >= _NO_TIME_US:
        raise Failed(_NO_EXPORT_FORMAT)
    return microseconds


def microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


type Form = Callable[[Iterator[Piece]], bytes]
"""What makes text of pieces."""


def cursor_in(piece: Piece) -> str | None:
    """The cursor of the entry that the piece begins with; gateways put it first."""
    match = _CURSOR.match(piece) if isinstance(piece, bytes) else None
    return match[1].decode("ascii", "replace") if match else None


def last_entry(pieces: Iterator[Piece]) -> dict[str, bytes] | None:
    """All fields of the last entry among a few whole ones."""
    entry: dict[str, bytes] = {}
    last: dict[str, bytes] | None = None
    for piece in pieces:
        if isinstance(piece, tuple):
            entry[piece[0].decode("ascii")] = piece[1]
            continue
        for line in piece[1:].split(b"\n")[:-1]:
            if line:
                name, _, value = line.partition(b"=")
                entry[name.decode("ascii", "replace")] = value
            elif entry:
                entry, last = {}, entry
    return last
