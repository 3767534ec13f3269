"""The disk that the data is on: moving it to another one, and wiping it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

import structlog

from rooftree import Failed, Kernel, Lock, RooftreeError, Service, Step, Steps, job, step
from rooftree.interfaces.bus import BusObject, SystemBus, Variant
from rooftree.interfaces.power import HostPower
from rooftree_machine.home_assistant_os import newer
from rooftree_machine.udisks import BLOCK, PARTITION_TABLE, UDISKS
from rooftree_os.bus_objects import (
    AGENT_SYSTEM,
    CHANGE_DEVICE,
    CREATE_PARTITION,
    DATA_DISK,
    FORMAT,
    MARK_DATA_MOVE,
    SCHEDULE_WIPE,
    DataDisk,
)
from rooftree_os.disks import PARTITION_NAME, PARTITION_TYPE, Disk, Disks, failed_unless_same
from rooftree_os.models import DataDisks, ShownDisk
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import Reboots, final_reboot

log = structlog.get_logger(__name__)

MARKS_MOVES_SINCE: Final = "1.5.0"
"""The version of the OS agent that leaves partitioning to us."""
LOOKS_S: Final = 5.0
"""Seconds that looking for the name of the data disk may take."""
FORMATS_S: Final = 120.0
"""Seconds that writing a partition table may take."""
_LOCK: Final = Lock("os", "data_disk")
_UNATTENDED: Final = {"auth.no_user_interaction": Variant("b", True)}


class DataDisksOfMachine:
    """The disks, looked at with the data in mind."""

    def __init__(self, kernel: Kernel, system: OperatingSystem) -> None:
        self._folder: Path = kernel.data.path
        self._system = system

    async def disks(self) -> Disks:
        """All of them; raises :class:`~rooftree.interfaces.bus.BusUnavailable`."""
        used = (await asyncio.to_thread(shutil.disk_usage, self._folder)).used
        return await Disks.read(self._system.bus, await self.current_device(), used)

    async def capacity_bytes(self) -> int:
        """How much the file system that the data is on holds, free or not."""
        return (await asyncio.to_thread(shutil.disk_usage, self._folder)).total

    async def current_device(self) -> str | None:
        """What the data is on, as the OS agent says."""
        if not self._system.has_agent():
            return None
        return (await self._system.bus.read(DataDisk, DATA_DISK)).current_device or None

    async def listed(self) -> DataDisks:
        """The disks that the data could be moved to; none where it can't be moved at all."""
        if await self._system.home_assistant_os_if_known() is None or not self._system.has_agent():
            return DataDisks([], [])
        offered = (await self.disks()).offered
        return DataDisks([disk.id for disk in offered], [_shown(disk) for disk in offered])

    async def current(self) -> str | None:
        """The id of the disk that the data is on; its device, where nobody describes disks."""
        try:
            device = await self.current_device()
        except RooftreeError as error:
            log.warning("data_disk_not_known", reason=error.message)
            return None
        if device is None:
            return None
        try:
            async with asyncio.timeout(LOOKS_S):
                disk = (await self.disks()).holding(device)
        except (RooftreeError, TimeoutError) as error:
            log.warning("disks_not_known", reason=str(error) or f"no answer within {LOOKS_S:g} s")
            return device
        return disk.id if disk is not None else device


def _shown(disk: Disk) -> ShownDisk:
    return ShownDisk(disk.name, disk.vendor, disk.model, disk.serial, disk.size, disk.id, disk.path)


DATA_DISKS = Service[DataDisksOfMachine]("os.data_disks/1")


@step("os.partition_disk/1")
class PartitionDisk(Step):
    """Erase a disk, and make one partition for the data on it."""

    id: str
    device: str

    async def do(self, bus: SystemBus, disks: DataDisksOfMachine) -> None:
        """Partition it, if it still is the disk that was meant, and still unused."""
        disk = (await disks.disks()).wanted(self.id)
        failed_unless_same(disk, self.device)
        if disk.is_prepared:
            return
        whole = BusObject(UDISKS, disk.object_path, BLOCK)
        await bus.call(whole, FORMAT, "gpt", _UNATTENDED, timeout_s=FORMATS_S)
        table = BusObject(UDISKS, disk.object_path, PARTITION_TABLE)
        made = (0, 0, PARTITION_TYPE, PARTITION_NAME, _UNATTENDED)  # from the first free byte to the last
        await bus.call(table, CREATE_PARTITION, *made, timeout_s=FORMATS_S)


@step("os.mark_data_move/1")
class MarkDataMove(Step):
    """Let the operating system move the data when it boots next."""

    device: str

    async def do(self, bus: SystemBus) -> None:
        """Say so to the OS agent."""
        await bus.call(DATA_DISK, MARK_DATA_MOVE)


@step("os.change_data_device/1")
class ChangeDataDevice(Step):
    """Let the OS agent erase a disk, partition it, and have the data moved there by the next boot."""

    id: str
    device: str

    async def do(self, bus: SystemBus, disks: DataDisksOfMachine) -> None:
        """Say so to the OS agent, if it still is the disk that was meant, and still unused."""
        failed_unless_same((await disks.disks()).wanted(self.id), self.device)
        await bus.call(DATA_DISK, CHANGE_DEVICE, self.device, timeout_s=FORMATS_S)


@step("os.schedule_wipe/1")
class ScheduleWipe(Step):
    """Let the operating system erase all data when it boots next."""

    boot_id: str

    def acts_on(self) -> str | None:
        return None

    async def do(self, bus: SystemBus, reboots: Reboots) -> None:
        """Say so to the OS agent. Never in another boot than that in which somebody asked for it."""
        if reboots.boot_id != self.boot_id:
            raise Failed("The machine was rebooted before the wipe was scheduled: nothing was erased; ask again")
        await bus.call(AGENT_SYSTEM, SCHEDULE_WIPE)


@job("data_disk_migrate", reference="device", locks=lambda device: [_LOCK],
     conditions=("healthy", "haos", "os_agent"), recovery="forward", when_busy="refuse")  # fmt: skip
async def move_data(system: OperatingSystem, disks: DataDisksOfMachine, power: HostPower, device: str) -> Steps:
    """Move the data to another disk: what is on that is erased, and the host rebooted."""
    disk = (await disks.disks()).wanted(device)
    reboot = await final_reboot(power)
    if newer(MARKS_MOVES_SINCE, await system.agent_version()):
        return [ChangeDataDevice(disk.id, disk.path), reboot]
    return [PartitionDisk(disk.id, disk.path), MarkDataMove(disk.path), reboot]


@job("data_disk_wipe", locks=lambda: [_LOCK], conditions=("healthy", "haos", "os_agent"), recovery="forward",
     when_busy="refuse")  # fmt: skip
async def wipe_data(power: HostPower, reboots: Reboots) -> Steps:
    """Erase all data and settings, and reboot."""
    return [ScheduleWipe(reboots.boot_id), await final_reboot(power)]
