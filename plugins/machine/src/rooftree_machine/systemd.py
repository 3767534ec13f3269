"""systemd on the bus, org.freedesktop.systemd1(5): the host's end, and its units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from attrs import frozen

from rooftree import Unavailable
from rooftree.interfaces.bus import BusMethod, BusObject, BusRefused, SystemBus, Variant

SYSTEMD: Final = BusObject("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
REBOOT: Final = BusMethod("Reboot")
POWER_OFF: Final = BusMethod("PowerOff")
SUBSCRIBE: Final = BusMethod("Subscribe")
LIST_UNITS: Final = BusMethod("ListUnitsByPatterns", "asas", "a(ssssssouso)")
LIST_UNITS_BY_NAMES: Final = BusMethod("ListUnitsByNames", "as", "a(ssssssouso)")
START_UNIT: Final = BusMethod("StartUnit", "ss", "o")
STOP_UNIT: Final = BusMethod("StopUnit", "ss", "o")
RELOAD_UNIT: Final = BusMethod("ReloadOrRestartUnit", "ss", "o")
RESTART_UNIT: Final = BusMethod("RestartUnit", "ss", "o")
START_TRANSIENT_UNIT: Final = BusMethod("StartTransientUnit", "ssa(sv)a(sa(sv))", "o")
RESET_FAILED_UNIT: Final = BusMethod("ResetFailedUnit", "s")
GET_UNIT_BY_PID: Final = BusMethod("GetUnitByPID", "u", "o")
LOOK_S: Final = 5.0
"""Seconds that systemd may take to say what a unit is."""
DONE: Final = "done"
"""The outcome of a job of systemd's that did what it should."""
_JOB_REMOVED: Final = "JobRemoved"
_ALREADY_SUBSCRIBED: Final = "org.freedesktop.systemd1.AlreadySubscribed"


@frozen
class Unit:
    """A unit as systemd knows it."""

    name: str
    """Its own, whatever alias it was asked for by."""
    description: str
    load: str
    """``loaded``, ``not-found``, ``masked`` …"""
    active: str
    """``active``, ``inactive``, ``failed`` …"""
    path: str
    """Of its object."""

    @classmethod
    def listed(cls, row: Sequence[Any]) -> Self:
        """As it stands in systemd's lists of units."""
        name, description, load, active, _, _, path, *_ = row
        return cls(name, description, load, active, path)


async def units_like(bus: SystemBus, pattern: str) -> list[Unit]:
    """The units in systemd's memory whose names match, such as ``*.service``."""
    return [Unit.listed(row) for row in await bus.call(SYSTEMD, LIST_UNITS, [], [pattern])]


async def unit_named(bus: SystemBus, name: str) -> Unit:
    """The unit of that name, or of which that is an alias; one that there is not is ``not-found``."""
    (unit,) = await bus.call(SYSTEMD, LIST_UNITS_BY_NAMES, [name], timeout_s=LOOK_S)
    return Unit.listed(unit)


async def change_unit(bus: SystemBus, method: BusMethod, unit: str) -> str:
    """Have systemd do something to a unit, such as :data:`RESTART_UNIT`, and wait until that is over, however long it
    takes; its outcome: :data:`DONE`, ``failed``, ``timeout``, ``canceled`` …

    :raises BusRefused: with systemd's reason, such as ``org.freedesktop.systemd1.NoSuchUnit``
    :raises Unavailable: where systemd goes away meanwhile
    """
    return await _end_of_job(bus, method, unit, "replace")


async def start_transient_unit(bus: SystemBus, unit: str, properties: Mapping[str, Variant]) -> str:
    """Have systemd make a unit that is forgotten when it ends, and start it; outcome and errors as of
    :func:`change_unit`, among these ``org.freedesktop.systemd1.UnitExists``."""
    pairs = [[name, value] for name, value in properties.items()]
    return await _end_of_job(bus, START_TRANSIENT_UNIT, unit, "fail", pairs, [])


async def _end_of_job(bus: SystemBus, method: BusMethod, *arguments: Any) -> str:
    async with bus.listening(SYSTEMD, _JOB_REMOVED) as removed:
        await _subscribe(bus)
        wanted = await bus.call(SYSTEMD, method, *arguments)
        async for _, path, _, outcome in removed:
            if path == wanted:
                return str(outcome)
    raise Unavailable("systemd no longer tells of the ends of its jobs")


async def _subscribe(bus: SystemBus) -> None:
    """Let systemd tell of the ends of jobs. It does so until we leave the bus, and refuses to be asked again."""
    try:
        await bus.call(SYSTEMD, SUBSCRIBE)
    except BusRefused as error:
        if error.name != _ALREADY_SUBSCRIBED:
            raise
