"""Places in a log that is not in the system journal: what a client sends back of an answer's ``X-First-Cursor``.

Who keeps lines (a container engine, a memory) gives them neither a number nor a name. So a place is the time of its
line, and a checksum of its text for lines of one microsecond; only lines that are the same in both can't be told apart.
"""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from rooftree import Invalid

_CURSOR: Final = re.compile(r"t=([0-9a-f]{1,15});c=([0-9a-f]{8})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@frozen
class Place:
    """Where a line is."""

    time: datetime
    checksum: int

    @classmethod
    def of(cls, time: datetime, text: bytes) -> Place:
        """That of a line."""
        return cls(time, zlib.crc32(text))

    @classmethod
    def named(cls, cursor: str) -> Place:
        """That which a cursor names; raises :class:`Invalid` for one of something else."""
        parts = _CURSOR.fullmatch(cursor)
        try:
            if parts is not None:
                return cls(_EPOCH + int(parts[1], 16) * _MICROSECOND, int(parts[2], 16))
        except OverflowError:
            pass
        raise Invalid(
            f"The header Range names the cursor {cursor!r}, which is none of this log's: take one that its header "
            "X-First-Cursor named, or leave the cursor empty, as in entries=:-99:100"
        )

    def __str__(self) -> str:
        """The cursor. The system journal can read it too: by its time."""
        return f"t={(self.time - _EPOCH) // _MICROSECOND:x};c={self.checksum:08x}"


def names_place(cursor: str) -> bool:
    """Whether a cursor is one of ours, and not of the system journal."""
    return _CURSOR.fullmatch(cursor) is not None
