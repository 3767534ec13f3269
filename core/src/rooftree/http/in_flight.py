"""How many bytes of bodies and answers may be in memory at once, for all connections together and for each caller.

Each body and each answer has a limit of its own, and there may be thousands of connections. So what is taken in and
not yet dealt with, and what is made and not yet taken by its reader, is counted as it comes and goes. A caller may
hold as much as is still free: one alone gets half of all, each of two a third, each of ten an eleventh, and there is
always something left for who comes next. Strangers get an eighth of that. Who has nothing else under way may have one
large body or answer all the same. Who wants more is told to come again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from attrs import mutable

from rooftree.errors import Unavailable
from rooftree.http.turns import Account

SMALL_BYTES: Final = 16 * 1024
"""Bodies and answers up to this are not counted: they cost no more than their connection."""
WAIT_S: Final = 1
"""Seconds after which who was refused may try again."""
SHARE: Final = {True: 1.0, False: 1 / 8}
"""What a known caller, and a stranger, may hold of what is free."""
ALONE: Final = {True: 3 / 4, False: 1 / 2}
"""The same for who holds nothing else, of what is free without it."""


class TooMuchInFlight(Unavailable):
    """The caller's requests and answers under way, or everybody's, take as much memory as they may."""

    error_key = "too_much_in_flight_error"


@mutable(eq=False)
class Holding:
    """What one request holds."""

    account: Account
    bytes: int = 0


class InFlight:
    """Counts the bytes.

    :param most_bytes: how many there may be in all
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: Counter[str] = Counter()
        self.total = 0
        """Bytes that are held now."""
        self.refused = 0
        """How often there was no room, since somebody has set this to 0."""

    def take(self, holding: Holding, size: int) -> None:
        """Let ``holding`` hold ``size`` bytes more; raises :class:`TooMuchInFlight`, and changes nothing then."""
        account = holding.account
        held = self._held[account.name]
        if held + size > self._limit(account, held, is_alone=held == holding.bytes):
            if not held:
                del self._held[account.name]
            self.refused += 1
            raise TooMuchInFlight(
                f"Requests and answers under way hold {self.total // 1024} KiB, {held // 1024} of them of "
                f"{account.name}: there is no room for {size // 1024} KiB more. Try again when they have ended",
                wait_s=WAIT_S,
            )
        self._held[account.name] = held + size
        holding.bytes += size
        self.total += size

    def _limit(self, account: Account, held: int, *, is_alone: bool) -> float:
        """Bytes that the account, which holds ``held``, may hold in all."""
        free = self._most - self.total
        return (held + free) * ALONE[account.is_known] if is_alone else free * SHARE[account.is_known]

    def give_back(self, holding: Holding, size: int | None = None) -> None:
        """So many bytes, or all, are held no more."""
        size = holding.bytes if size is None else size
        holding.bytes -= size
        self.total -= size
        self._held[holding.account.name] -= size
        if self._held[holding.account.name] <= 0:
            del self._held[holding.account.name]
