"""How often somebody may send a wrong name and password: for each add-on that they come through, and for each name."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import Final

from rooftree import Clock, Rate, RateLimited
from rooftree.model import Meter

OF_ADDON: Final = Rate(30, timedelta(minutes=5))
"""Wrong ones through one add-on: of all the people who use it."""
OF_NAME: Final = Rate(10, timedelta(minutes=5))
"""Wrong ones for one name, whichever add-on they come through."""
MOST_METERS: Final = 2048
"""Add-ons and names that are remembered; beyond, the one that has been quiet for longest is forgotten."""

type Tried = tuple[str, str]


class LoginLimits:
    """Counts what was wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: OrderedDict[Tried, Meter] = OrderedDict()

    def begin(self, addon: str, username: str) -> None:
        """Somebody tries; counted as wrong until :meth:`was_right` says otherwise, so that many tries at once are
        many. Raises :class:`~rooftree.errors.RateLimited`."""
        meters = [(OF_ADDON, self._meter("addon", addon, OF_ADDON)), (OF_NAME, self._meter("name", username, OF_NAME))]
        for rate, meter in meters:
            if (wait_s := meter.wait_s()) > 0:
                raise RateLimited(
                    f"Too many wrong logins: {rate}. Those who were let in lately still are; others in {wait_s:.0f} s",
                    wait_s=round(wait_s, 1),
                )
        for _, meter in meters:
            meter.note()

    def was_right(self, addon: str, username: str) -> None:
        """What was tried last was right, or nobody could tell."""
        for key in (("addon", addon), ("name", username)):
            if (meter := self._meters.get(key)) is not None:
                meter.take_back()

    def _meter(self, kind: str, name: str, rate: Rate) -> Meter:
        meter = self._meters.setdefault((kind, name), Meter(rate, self._clock))
        self._meters.move_to_end((kind, name))
        while len(self._meters) > MOST_METERS:
            self._meters.popitem(last=False)
        return meter
