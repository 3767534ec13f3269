"""How many connections there may be, and who makes place when it is full."""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol


class Open(Protocol):
    """A connection that is open."""

    address: str | None
    """The peer's; ``None`` on a unix socket."""

    def let_go(self) -> None:
        """Close at once."""


class OpenConnections:
    """What is open by where it comes from: there is only so much room, and when it is full, whoever has most of it
    makes place, so that one alone can't keep the others out. The unix socket, which is for the host's own, always has
    room.

    :param most: how many may be open
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._of: defaultdict[str, dict[Open, None]] = defaultdict(dict)
        self.sent_away = 0
        """How many had to make place since this was last looked at."""

    def add(self, connection: Open) -> None:
        """One was opened; the newest of whoever has most open is let go where there is no room for it."""
        if connection.address is None:
            return
        self._of[connection.address][connection] = None
        self._count += 1
        if self._count > self._most:
            most = max(self._of.values(), key=len)
            newest = next(reversed(most))
            self.discard(newest)
            self.sent_away += 1
            newest.let_go()

    def discard(self, connection: Open) -> None:
        """One is closed."""
        of_address = self._of.get(connection.address or "", {})
        if connection not in of_address:
            return
        del of_address[connection]
        self._count -= 1
        if not of_address:
            del self._of[connection.address or ""]
