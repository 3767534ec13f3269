"""The routes of the clock."""

from rooftree import JobCall, Role, Routes, role

from rooftree_service_clock.models import Face, Winding
from rooftree_service_clock.tower_clock import TowerClock
from rooftree_service_clock.winding import wind

routes = Routes()


@routes.get("/clock", access=role(Role.DEFAULT))
def show(clock: TowerClock) -> Face:
    """What the clock shows, and how far it is wound."""
    return clock.face()


@routes.post("/clock/wind", access=role(Role.MANAGER))
def wind_clock(body: Winding) -> JobCall[None]:
    """Wind the clock; returns when it is wound."""
    return wind(turns=body.turns)
