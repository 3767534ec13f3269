"""How often something may happen, counted on the monotonic clock: a clock that jumps opens and closes nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from attrs import field, frozen, mutable

from rooftree.clock import MACHINE, Clock
from rooftree.errors import RateLimited


@frozen
class Rate:
    """At most ``times`` within ``per``."""

    times: int
    per: timedelta

    def __str__(self) -> str:
        return f"at most {self.times} time{'' if self.times == 1 else 's'} within {self.per}"


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

    @property
    def is_idle(self) -> bool:
        """Whether nothing happened lately."""
        return self.wait_s() == 0.0 and not self._moments

    def note(self) -> None:
        """It happens now."""
        self._moments.append(self.clock.monotonic())

    def take_back(self) -> None:
        """What was noted last did not happen after all."""
        if self._moments:
            self._moments.pop()


@frozen
class Limit:
    """How often something may begin, such as a job, for one reference."""

    name: str
    reference: str | None
    rate: Rate

    def __str__(self) -> str:
        return f"{self.name} of {self.reference}" if self.reference else self.name


class Throttle:
    """Counts how often what is limited began. What was not begun lately takes no memory."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._meters: dict[tuple[str, str | None], Meter] = {}

    def wait_s(self, limit: Limit) -> int:
        """Whole seconds until it may begin; 0 when it may now."""
        meter = self._meters.get((limit.name, limit.reference))
        return math.ceil(meter.wait_s()) if meter else 0

    def refuse_too_soon(self, limits: Iterable[Limit]) -> None:
        """Raise :class:`~rooftree.errors.RateLimited`, saying when it may, for what would begin too often."""
        for limit in limits:
            if wait_s := self.wait_s(limit):
                sentence = f"{limit} may begin {limit.rate}; it may again in {wait_s} s"
                raise RateLimited(sentence, job=limit.name, reference=limit.reference, wait_s=wait_s)

    def note(self, limits: Iterable[Limit]) -> None:
        """These begin now."""
        self._meters = {key: meter for key, meter in self._meters.items() if not meter.is_idle}
        for limit in limits:
            self._meters.setdefault((limit.name, limit.reference), Meter(limit.rate, self._clock)).note()

    def take_back(self, limits: Iterable[Limit]) -> None:
        """These did not begin after all."""
        for limit in limits:
            if meter := self._meters.get((limit.name, limit.reference)):
                meter.take_back()
