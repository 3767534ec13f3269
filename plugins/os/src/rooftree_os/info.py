"""The answer of ``/os/info``: what the parts say, side by side, and ``null`` for each that says nothing."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

import structlog

from rooftree import RooftreeError
from rooftree_os.data_disk import DataDisksOfMachine
from rooftree_os.models import BootSlot, OsInfo
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.slots import BOOTED, Slot, Slots, operation

log = structlog.get_logger(__name__)


async def os_info(system: OperatingSystem, disks: DataDisksOfMachine) -> OsInfo:
    """What is known of the operating system."""
    home_assistant_os = await system.home_assistant_os_if_known()
    if home_assistant_os is None:
        return OsInfo()
    (slots, boot), data_disk = await asyncio.gather(_slots(system), disks.current())
    latest = system.releases.next_after(home_assistant_os.version, home_assistant_os.board)
    pending = slots.pending.version if slots.pending is not None else None
    return OsInfo(
        version=home_assistant_os.version,
        version_latest=latest,
        version_pending=pending,
        update_available=system.update() is not None,
        board=home_assistant_os.board,
        boot=boot,
        data_disk=data_disk,
        boot_slots={name: _shown(slot) for name, slot in slots.by_bootname.items()},
    )


async def _slots(system: OperatingSystem) -> tuple[Slots, str | None]:
    try:
        slots, installer = await asyncio.gather(system.slots(), operation(system.bus))
    except RooftreeError as error:
        log.warning("boot_slots_not_known", reason=error.message)
        return Slots(), None
    return slots, installer.boot_slot


def _shown(slot: Slot) -> BootSlot:
    known = slot.status in {"good", "bad"}
    return BootSlot(
        state="active" if slot.state == BOOTED else "inactive",
        status=cast('Literal["good", "bad"]', slot.status) if known else None,
        version=slot.version,
    )
