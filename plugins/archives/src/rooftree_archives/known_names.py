"""Which names there were in an archive, and of what kind: by their hashes, eight bytes each. As a dict, those of a
million files would not fit into the worker.
"""

from __future__ import annotations

from array import array
from typing import Final

NOTHING: Final = 0
FOLDER: Final = 1
OTHER: Final = 2
type Name = tuple[str | None, ...]

MOST: Final = 500_000
"""So many names are kept in mind; not those beyond."""
_SLOTS_AT_FIRST: Final = 1024
_HASH: Final = 2**64 - 4
"""Of the 64 bits of a slot, those that are the hash's; the others are the kind."""


class KnownNames:
    """The kinds of names, the latest of each.

    :ivar is_full: there are names beyond those that are kept in mind, of which nothing is known
    """

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * _SLOTS_AT_FIRST
        self._count = 0
        self.is_full = False

    def kind(self, name: Name) -> int:
        """What has that name; ``NOTHING`` where it was not noted."""
        return self._slots[self._slot(hash(name) & _HASH)] & ~_HASH

    def note(self, name: Name, kind: int) -> None:
        """Keep it in mind, unless there are too many."""
        hashed = hash(name) & _HASH
        slot = self._slot(hashed)
        if not self._slots[slot]:
            if self._count >= MOST:
                self.is_full = True
                return
            self._count += 1
        self._slots[slot] = hashed | kind
        if 2 * self._count > len(self._slots):
            self._grow()

    def _slot(self, hashed: int) -> int:
        """Where it is, or would be."""
        slots, mask = self._slots, len(self._slots) - 1
        at = (hashed >> 2) & mask
        while slots[at] and slots[at] & _HASH != hashed:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        before = self._slots
        self._slots = array("Q", [0]) * (2 * len(before))
        for value in before:
            if value:
                self._slots[self._slot(value & _HASH)] = value
