"""A tower clock that has to be wound. What other plugins may use is here."""

from rooftree_service_clock.models import ClockWound
from rooftree_service_clock.tower_clock import CLOCK, TowerClock

__all__ = ["CLOCK", "ClockWound", "TowerClock"]
