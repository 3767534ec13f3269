"""What the clock keeps, is told, and tells."""

from datetime import datetime

from attrs import field, frozen, validators
from rooftree import Event, document


@frozen
class ClockSettings:
    """The table ``[plugins.clock]`` of ``rooftree.toml``."""

    full_turns: int = field(default=48, validator=validators.ge(1))
    """How many turns the spring takes."""
    tick_s: int = field(default=60, validator=validators.ge(1))
    """Seconds from one tick to the next; each uses up a turn."""


@document("clock.spring", version=1)
@frozen
class Spring:
    """How far the clock is wound; kept over restarts."""

    turns: int
    ticks: int = 0
    """How often it has ticked in its life."""


@frozen
class Face:
    """The answer of ``GET /clock``."""

    now: datetime
    turns: int
    ticks: int


@frozen
class Winding:
    """The body of ``POST /clock/wind``."""

    turns: int


@frozen
class ClockWound(Event):
    """Somebody has wound the clock."""

    turns: int
    """How many turns it has now."""
