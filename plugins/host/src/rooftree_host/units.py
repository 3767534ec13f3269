"""The services of the host: systemd's units."""

from __future__ import annotations

import asyncio
import os
from typing import Final, Literal

import structlog

from rooftree import Failed, FreeText, Invalid, Lock, NotFound, Step, Steps, Unavailable, job, step
from rooftree import Service as ServiceKey
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_host.models import HostService
from rooftree_machine import systemd
from rooftree_machine.systemd import (
    DONE,
    GET_UNIT_BY_PID,
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

ENDING: Final = frozenset(
    f"systemd-{way}.service"
    for way in (
        "halt",
        "hibernate",
        "hybrid-sleep",
        "kexec",
        "poweroff",
        "reboot",
        "soft-reboot",
        "suspend",
        "suspend-then-hibernate",
    )
)
"""Units whose start is the host's end, or its sleep."""

type Verb = Literal["start", "stop", "reload"]
_METHODS: Final = {"start": START_UNIT, "stop": STOP_UNIT, "reload": RELOAD_UNIT}


class UnitName(FreeText):
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
    """That must not be done to the unit from here."""

    error_key = "host_service_guarded_error"


class Units:
    """Looks at units and starts, stops and reloads them."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus

    async def services(self) -> list[HostService]:
        """The services that systemd has loaded, by name. Raises :class:`Unavailable` without systemd."""
        units = [
            HostService(name=unit.name, description=unit.description, state=unit.active)
            for unit in await systemd.units_like(self._bus, "*.service")
            if unit.load == "loaded"
        ]
        return sorted(units, key=lambda service: service.name)

    async def checked(self, unit: str, verb: Verb) -> str:
        """The unit's own name, for which the given one may be an alias.

        :raises NotFound: where there is no such unit
        :raises UnitGuarded: for a unit that must go on, or that ends the host
        """
        known = await systemd.unit_named(self._bus, unit)
        if known.load == "not-found":
            raise _no_such(unit)
        ours = known.path == await self._own_path()
        if verb == "stop" and (ours or _of_template(known.name) in GUARDED):
            raise UnitGuarded(
                f"{known.name} must not be stopped from here: Rooftree, the add-ons or the way to them need it"
            )
        if verb == "reload" and ours:
            raise UnitGuarded(f"{known.name} is Rooftree itself, which systemd would restart in the middle of this")
        if verb != "stop" and known.name in ENDING:
            raise UnitGuarded(
                f"{known.name} ends the machine at once; /host/reboot and /host/shutdown end what runs on it first"
            )
        return known.name

    async def _own_path(self) -> str | None:
        """The object of the unit that we are."""
        try:
            path: str = await self._bus.call(SYSTEMD, GET_UNIT_BY_PID, os.getpid(), timeout_s=systemd.LOOK_S)
        except (BusRefused, Unavailable):  # we are nobody's: in a container, or started by hand
            return None
        return path

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
                raise _no_such(unit) from None
            raise
        if outcome != DONE:
            raise Failed(f"systemd could not {verb} {unit} ({outcome}); `journalctl -u {unit}` says why")
        log.info("host_service_changed", unit=unit, verb=verb)


UNITS = ServiceKey[Units]("host.units/1")


def _no_such(unit: str) -> NotFound:
    return NotFound(f"This host has no service {unit}; /host/services lists those it has")


def _of_template(unit: str) -> str:
    """The unit that one with an instance (``name@instance.service``) is of, systemd.unit(5); any other itself."""
    name, instance, _ = unit.partition("@")
    return f"{name}.service" if instance else unit


@step("host.change_unit/1")
class ChangeUnit(Step):
    """Start, stop or reload a service of the host."""

    unit: str
    verb: Verb

    async def do(self, units: Units) -> None:
        await units.change(self.unit, self.verb)


@job("host_service", reference="unit", locks=lambda unit, verb: [Lock("host_service", unit)], recovery="forward")
async def change_unit(units: Units, unit: str, verb: Verb) -> Steps:
    """Start, stop or reload a service of the host."""
    return [ChangeUnit(await units.checked(unit, verb), verb)]
