"""What was made of short texts that come again and again: the names of header fields, and lines of heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST: Final = 1024
"""Texts that are remembered; all are forgotten when there are more."""
LONGEST: Final = 128
"""Bytes of a text that is."""


class Memo[V](dict[bytes, V]):
    """``memo[text]`` is ``make(text)``, which is asked once for a short text that comes often.

    :param make: may raise, and is asked again then
    """

    def __init__(self, make: Callable[[bytes], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, text: bytes) -> V:
        value = self._make(text)
        if len(text) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[text] = value
        return value
