"""Ending the host: what runs on it first, then the host itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import structlog

from rooftree import Failed, Kernel, Lock, Step, Steps, Unavailable, job, step
from rooftree.clock import boot_id
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree.interfaces.hooks import EndingWork, before_host_ends, objections_to_host_end
from rooftree.interfaces.power import HostPower, HostStays, Way
from rooftree_host.bus_objects import LOGIN, POWER_OFF_BY_LOGIN, REBOOT_BY_LOGIN
from rooftree_machine.systemd import POWER_OFF, REBOOT, SYSTEMD

log = structlog.get_logger(__name__)

_BY_LOGIN: Final = {"reboot": REBOOT_BY_LOGIN, "shutdown": POWER_OFF_BY_LOGIN}
_BY_SYSTEMD: Final = {"reboot": REBOOT, "shutdown": POWER_OFF}


class HostBusy(Unavailable):
    """Something speaks against ending the host now."""

    error_key = "host_busy_error"


class Power:
    """Provides :class:`~rooftree.interfaces.power.HostPower`."""

    def __init__(self, kernel: Kernel, bus: SystemBus) -> None:
        self._kernel = kernel
        self._bus = bus

    async def refuse_objections(self) -> None:
        """Raise :class:`HostBusy`, with the reasons, while something speaks against it."""
        objections = [reason for reason in await self._kernel.call(objections_to_host_end) if reason]
        if objections:
            raise HostBusy(
                f"{'; '.join(objections)}. Wait until that is over; a reboot or shutdown of the host may be forced"
            )

    def refuse_impossible(self) -> None:
        """Raise :class:`Unavailable` where nobody could do it."""
        if not self._bus.has(LOGIN.service) and not self._bus.has(SYSTEMD.service):
            raise Unavailable(
                "This machine cannot be ended from here: neither systemd-logind nor systemd is on the system bus"
            )

    async def what_runs(self) -> Sequence[str]:
        """The names of what would be ended, in that order."""
        return [name for work in await self._works() for name in work.ends]

    async def _works(self) -> Sequence[EndingWork]:
        works = [work for works in await self._kernel.call(before_host_ends) for work in works]
        return sorted(works, key=lambda work: work.order)

    async def end_what_runs(self) -> None:
        """Let the domains end what they run: group by group, those of a group side by side."""
        for _, group in groupby(await self._works(), key=lambda work: work.order):
            await asyncio.gather(*(self._end(work) for work in group))

    async def _end(self, work: EndingWork) -> None:
        try:
            async with asyncio.timeout(work.within_s):
                await work.run()
        except TimeoutError:
            log.warning("not_ended_in_time", what=work.name, within_s=work.within_s)
        except Exception as error:
            log.warning("not_ended", what=work.name, reason=str(error), exc_info=True)

    async def end(self, way: Way) -> None:
        """End the host. logind is preferred: it lets others object, and tells who is logged in."""
        log.warning("host_ends", way=way)
        if self._bus.has(LOGIN.service):
            try:
                await self._bus.call(LOGIN, _BY_LOGIN[way], False)
                return
            except (Unavailable, BusRefused) as error:
                log.warning("logind_does_not_end_the_host", reason=error.message)
        try:
            await self._bus.call(SYSTEMD, _BY_SYSTEMD[way])
        except (Unavailable, BusRefused) as error:
            self._kernel.publish(HostStays())
            if isinstance(error, Unavailable):
                raise
            raise Failed(f"The machine could not be ended: {error.message}") from None


@step("host.end_what_runs/1")
class EndWhatRuns(Step):
    """End what runs on this machine for its users, in an order that does it no harm."""

    boot_id: str
    ends: tuple[str, ...] = ()
    """What ran when the plan was made."""
    downtime = True
    interruptible = True

    def acts_on(self) -> str | None:
        return ", ".join(self.ends) or None

    async def do(self, power: HostPower) -> None:
        """End it, unless the host has been ended since."""
        if self.boot_id == await boot_id():
            await power.end_what_runs()


@step("host.end/1")
class EndHost(Step):
    """Reboot or switch off the machine.

    Once: not again when Rooftree finds this job after the host's next start.
    """

    way: Way
    boot_id: str
    downtime = True

    async def do(self, power: HostPower) -> None:
        if self.boot_id == await boot_id():
            await power.end(self.way)


async def _plan(power: HostPower, way: Way, force: bool) -> Steps:
    power.refuse_impossible()
    if not force:
        await power.refuse_objections()
    current = await boot_id()
    return [EndWhatRuns(current, tuple(await power.what_runs())), EndHost(way, current)]


@job("host_reboot", locks=lambda force: [Lock("host", "power")], recovery="forward", makes_room=True)
async def reboot(power: HostPower, force: bool) -> Steps:
    """Start the host again."""
    return await _plan(power, "reboot", force)


@job("host_shutdown", locks=lambda force: [Lock("host", "power")], recovery="forward", makes_room=True)
async def shut_down(power: HostPower, force: bool) -> Steps:
    """Switch the host off."""
    return await _plan(power, "shutdown", force)
