"""How many may be open at once that stay open, such as WebSockets: for each of those who could open any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rooftree import Unavailable


class TooManyOpen(Unavailable):
    """As many are open as may be."""


class Places:
    """Counts what is open, by name.

    :param most: how many there may be for each
    :param what: what they are, for the sentence that refuses one more
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, name: str) -> Iterator[None]:
        """Have one for as long as this lasts; raises :class:`TooManyOpen`."""
        if self._taken[name] >= self._most:
            raise TooManyOpen(f"{name} has {self._most} {self._what} open, as many as may be. Close some first")
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
