"""How often something may happen, counted on the monotonic clock: a clock that jumps opens and closes nothing."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from attrs import field, frozen, mutable

from rooftree.clock import MACHINE, Clock


@frozen
class Rate:
    """At most ``times`` within ``per``."""

    times: int
    per: timedelta

    def __str__(self) -> str:
        return f"{self.times} within {self.per}"


@mutable
class Meter:
    """Counts what happened lately."""

    rate: Rate
    clock: Clock = MACHINE
    _moments: deque[float] = field(factory=deque)

    def wait_s(self) -> float:
        """Seconds until it may happen again; 0 when it may now."""
        now = self.clock.monotonic()
        while self._moments and self._moments[0] <= now - self.rate.per.total_seconds():
            self._moments.popleft()
        if len(self._moments) < self.rate.times:
            return 0.0
        return self._moments[0] + self.rate.per.total_seconds() - now

    def note(self) -> None:
        """It happens now."""
        self._moments.append(self.clock.monotonic())
