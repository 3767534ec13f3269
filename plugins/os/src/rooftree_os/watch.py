"""Staying in step with the host: services come to the bus when they like, and each start has its duties.

The slot that runs is marked good once we run: this is what tells the bootloader that it need not fall back to the other
one. Once for each boot it is made the one that is booted next as well, so that a fallback lasts; not more often, for an
update that waits for its reboot has made the other slot the next one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, Problem, RooftreeError, document
from rooftree.interfaces.bus import BusConnected, BusServiceChanged
from rooftree.interfaces.versions import VersionsChanged
from rooftree_machine.agent import AGENT
from rooftree_machine.hostnamed import HOSTNAME
from rooftree_os.boards import Boards
from rooftree_os.boot_slots import set_boot_slot
from rooftree_os.bus_objects import IDLE, RAUC
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import Reboots
from rooftree_os.slots import BOOTED, mark, operation
from rooftree_os.updates import update_os

log = structlog.get_logger(__name__)

AGAIN_S: Final = 60.0
"""Seconds until a slot that could not be marked is marked again."""
CHANGING: Final = frozenset({update_os.name, set_boot_slot.name})
"""Jobs that choose the slot to boot next."""
_KEY: Final = "last"
_PROBLEM: Final = "boot_slot_not_marked"


@document("os.marked_boot", version=1)
@frozen
class MarkedBoot:
    """The boot in which the slot that ran was made the one to boot next."""

    boot_id: str


class Watch:
    """Looks at the host when something has changed."""

    def __init__(
        self,
        kernel: Kernel,
        system: OperatingSystem,
        boards: Boards,
        reboots: Reboots,
        marked: Collection[MarkedBoot],
    ) -> None:
        self._kernel = kernel
        self._system = system
        self._boards = boards
        self._reboots = reboots
        self._marked = marked
        self._is_marked = False
        self._changed = asyncio.Event()
        self._came = set(boards.needed_services)
        """Services that may have come; at first all, for the bus may be older than the subscriptions below."""
        kernel.on(BusConnected, self._connected)
        kernel.on(BusServiceChanged, self._service_changed)
        kernel.on(VersionsChanged, self._versions_changed)

    def _connected(self, _: BusConnected) -> None:
        self._came |= self._boards.needed_services
        self._changed.set()

    def _service_changed(self, event: BusServiceChanged) -> None:
        if event.service in self._boards.needed_services and event.runs:
            self._came.add(event.service)
            self._changed.set()
        if event.service in {AGENT, HOSTNAME.service, RAUC}:
            self._changed.set()

    def _versions_changed(self, _: VersionsChanged) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Look at once, and whenever something has changed; ends when it is cancelled."""
        while True:
            self._changed.clear()
            came, self._came = self._came, set()
            await self._boards.came(came)
            await self._system.judge()
            waits = await self._recognize()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if waits else None):
                    await self._changed.wait()

    async def _recognize(self) -> bool:
        """On Home Assistant OS, mark what runs; whether that is still to be done."""
        if await self._system.home_assistant_os_if_known() is None:
            return False
        if self._is_marked:
            return False
        try:
            await self._mark()
        except RooftreeError as error:
            sentence = f"The slot that runs could not be marked good, so the bootloader may fall back: {error.message}"
            self._kernel.problems.report(Problem(_PROBLEM, "os", None, sentence))
            return True
        self._is_marked = True
        self._kernel.problems.clear(_PROBLEM, "os")
        return False

    async def _mark(self) -> None:
        log.info("slot_marked_good", said=await mark(self._system.bus, "good", BOOTED))
        if _KEY in self._marked and self._marked[_KEY].boot_id == self._reboots.boot_id:
            return
        if self._is_changing() or (await operation(self._system.bus)).operation not in {IDLE, None}:
            log.info("slot_not_marked_active", reason="an update is being installed, or waits for its reboot")
            return
        log.info("slot_marked_active", said=await mark(self._system.bus, "active", BOOTED))
        await self._kernel.commit(self._marked.put(_KEY, MarkedBoot(self._reboots.boot_id)))

    def _is_changing(self) -> bool:
        """Whether another slot is to be booted next, or may be: a job that an end of the host interrupted says so
        only when it is done."""
        jobs = self._kernel.jobs.listing()
        return self._reboots.is_required or any(job.name in CHANGING and not job.done for job in jobs)
