"""What strangers wrote, shown so that it is seen and does nothing.

Control characters drive a terminal, marks of direction reorder what stands around them, and halves of characters can't
be encoded at all. All of these, and whatever else has no form of its own, are shown as the escape that names them.
"""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def printable(text: str) -> str:
    """``text`` in one line, with everything that is not printable as an escape: ``\\x1b``, ``\\u202e``, ``\\n``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def without_addresses(text: str) -> str:
    """``text`` without where objects lie in memory (``<Lamp object at 0x7f…>``): that says nothing to anybody, and is
    other at each start, so that what is kept would seem to change."""
    return _ADDRESS.sub("", text)
