"""How much of the life of the disk below the data folder is used up, as the disk itself says."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final

import structlog
from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, BusRefused, BusUnavailable, SystemBus, bus_property
from rooftree_machine.udisks import BLOCK, UDISKS, UDISKS_PATH

log = structlog.get_logger(__name__)

ASKED_AGAIN_S: Final = 3600.0
"""Seconds after which a disk is asked again."""
_SYS: Final = Path("/sys")
_SMART: Final = BusMethod("SmartGetAttributes", "a{sv}", "a{sv}")


@frozen(kw_only=True)
class _Block:
    drive: str | None = bus_property("Drive", "o")


class DiskWear:
    """The wear of one folder's disk."""

    def __init__(self, bus: SystemBus, folder: Path, sys: Path = _SYS) -> None:
        self._bus = bus
        self._folder = folder
        self._sys = sys
        self._asked: tuple[float, float | None] | None = None

    async def percent(self) -> float | None:
        """0 (new) to 100 (used up); ``None`` for a disk that does not tell. Asked for once an hour."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or now - self._asked[0] > ASKED_AGAIN_S:
            self._asked = (now, self._asked[1] if self._asked else None)  # whoever asks meanwhile does not wait
            self._asked = (now, await self._ask())
        return self._asked[1]

    async def _ask(self) -> float | None:
        disk = await asyncio.to_thread(disk_of, self._folder, self._sys)
        if disk is None:
            return None
        worn = await asyncio.to_thread(emmc_wear, self._sys / "block" / disk)
        if worn is not None or not disk.startswith("nvme"):
            return worn
        try:
            block = await self._bus.read(_Block, BusObject(UDISKS, f"{UDISKS_PATH}/block_devices/{disk}", BLOCK))
            controller = BusObject(UDISKS, block.drive or "/", f"{UDISKS}.NVMe.Controller")
            attributes: dict[str, Any] = await self._bus.call(controller, _SMART, {})
        except (BusUnavailable, BusRefused) as error:
            log.info("disk_wear_not_known", disk=disk, reason=error.message)
            return None
        used = attributes.get("percent_used")
        return min(float(used), 100.0) if isinstance(used, int | float) else None


def disk_of(folder: Path, sys: Path = _SYS) -> str | None:
    """The name of the disk that a folder lies on, ``None`` where it is on none (or on several). Blocks."""
    number = folder.stat().st_dev  # ours: the kernel's
    place = sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    try:
        device = place.resolve(strict=True)  # ours: the kernel's
    except OSError:
        return None
    while True:
        below = sorted(device.glob("slaves/*"))  # ours: the kernel's
        if len(below) != 1:
            break
        device = below[0].resolve()  # encrypted, or a logical volume  # ours: the kernel's
    if (device / "partition").exists():  # ours: the kernel's
        device = device.parent
    return device.name if (sys / "block" / device.name).exists() else None  # ours: the kernel's


def emmc_wear(disk: Path) -> float | None:
    """What an eMMC's ``life_time`` says (JESD84-B51, DEVICE_LIFE_TIME_EST_TYP_A and _B, in tenths). Blocks.

    The second number is of the area that holds most of the data.
    """
    try:
        text = (disk / "device" / "life_time").read_text()  # ours: the kernel's
        tenths = int(text.split()[1], 16)
    except (OSError, IndexError, ValueError):
        return None
    if not 1 <= tenths <= 11:
        return None
    return 100.0 if tenths == 11 else (tenths - 1) * 10.0
