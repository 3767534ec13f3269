"""The services of the host: systemd's units."""

from __future__ import annotations

import asyncio
import os
from typing import Final, Literal

import structlog

from rooftree import Failed, Invalid, Lock, NotFound, ParsedString, Step, Steps, Unavailable, job, step
from rooftree import Service as ServiceKey
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_host.models import HostService
from rooftree_machine import systemd
from rooftree_machine.systemd import (
    DONE,
    GET_UNIT_BY_PID,
    LIST_UNITS,
    RELOAD_UNIT,
    START_UNIT,
    STOP_UNIT,
    SYSTEMD,
)

log = structlog.get_logger(__name__)

UNIT_S: Final = 90.0
"""Seconds that a unit may take to start or stop: systemd's own usual limit."""
GUARDED: Final = frozenset(
    {
        "NetworkManager.service",
        "containerd.service",
        "dbus-broker.service",
        "dbus.service",
        "docker.service",
        "haos-agent.service",
        "hassos-supervisor.service",
        "os-agent.service",
        "rooftree.service",
        "systemd-journal-gatewayd.service",
        "systemd-journald.service",
        "systemd-logind.service",
        "systemd-networkd.service",
        "systemd-resolved.service",
        "systemd-udevd.service",
        "udisks2.service",
    }
)
"""Units without which we, the add-ons or the way to them would be gone, and nobody could start them again from here."""

type Verb = Literal["start", "stop", "reload"]
_METHODS: Final = {"start": START_UNIT, "stop": STOP_UNIT, "reload": RELOAD_UNIT}


class UnitName(ParsedString):
    """A service unit, systemd.unit(5); ``.service`` may be left out."""

    __slots__ = ()

    pattern = r"[A-Za-z0-9:_.\\@-]{1,248}"
    allowed = "the name of a service unit, such as ssh.service; /host/services lists them"

    @property
    def unit(self) -> str:
        """The whole name; raises :class:`Invalid` for a unit of another kind."""
        name, dot, kind = self.rpartition(".")
        if not dot or not name:
            return f"{self}.service"
        if kind == "service":
            return str(self)
        if kind in {"socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"}:
            raise Invalid(f"{self}: only services can be started, stopped and reloaded from here, no {kind} units")
        return f"{self}.service"


class UnitGuarded(Invalid):
    """The unit must not be stopped from here."""

    error_key = "host_service_guarded_error"


class Units:
    """Looks at units and starts, stops and reloads them."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    async def services(self) -> list[HostService]:
        """The services that systemd has loaded, by name. Raises :class:`Unavailable` without systemd."""
        units = await self._bus.call(SYSTEMD, LIST_UNITS, [], ["*.service"])
        found = [
            HostService(name=name, description=description, state=active)
            for name, description, loaded, active, *_ in units
            if loaded == "loaded"
        ]
        return sorted(found, key=lambda service: service.name)

    async def refuse_guarded(self, unit: str) -> None:
        """Raise :class:`UnitGuarded` for a unit that must go on: without it nobody could say "start" again."""
        if unit in GUARDED or unit == await self._own():
            raise UnitGuarded(f"{unit} must not be stopped from here: Rooftree, the add-ons or the way to them need it")

    async def _own(self) -> str | None:
        """The unit that we are."""
        try:
            path: str = await self._bus.call(SYSTEMD, GET_UNIT_BY_PID, os.getpid())
        except (BusRefused, Unavailable):  # we are nobody's: in a container, or started by hand
            return None
        return _unescaped(path.rpartition("/")[2])

    async def change(self, unit: str, verb: Verb) -> None:
        """Start, stop or reload it, and wait until that is done; raises :class:`NotFound`, :class:`Failed`."""
        try:
            async with asyncio.timeout(UNIT_S):
                outcome = await systemd.change_unit(self._bus, _METHODS[verb], unit)
        except TimeoutError:
            raise Failed(
                f"systemd did not {verb} {unit} within {UNIT_S:g} s; `systemctl status {unit}` says what it waits for"
            ) from None
        except BusRefused as error:
            if error.name in {"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.LoadFailed"}:
                raise NotFound(f"This host has no service {unit}; /host/services lists those it has") from None
            raise
        if outcome != DONE:
            raise Failed(f"systemd could not {verb} {unit} ({outcome}); `journalctl -u {unit}` says why")
        log.info("host_service_changed", unit=unit, verb=verb)


UNITS = ServiceKey[Units]("host.units/1")


def _unescaped(label: str) -> str:
    """A unit's name from the last part of its object's path: other characters are _ and two hex digits."""
    parts = label.split("_")
    try:
        return parts[0] + "".join(chr(int(part[:2], 16)) + part[2:] for part in parts[1:])
    except ValueError:
        return label


@step("host.change_unit/1")
class ChangeUnit(Step):
    """Start, stop or reload a service of the host."""

    unit: str
    verb: Verb

    async def do(self, units: Units) -> None:
        """Do it."""
        await units.change(self.unit, self.verb)


@job("host_service", reference="unit", locks=lambda unit, verb: [Lock("host_service", unit)], recovery="forward")
async def change_unit(units: Units, unit: str, verb: Verb) -> Steps:
    """Start, stop or reload a service of the host."""
    if verb == "stop":
        await units.refuse_guarded(unit)
    return [ChangeUnit(unit, verb)]
