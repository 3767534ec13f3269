"""The boot firmware of a Raspberry Pi, through the OS agent (1.9.0 and later; Pi 4, Pi 5 and Yellow)."""

from __future__ import annotations

from typing import Final

from rooftree import Invalid, Lock, NotFound, Step, Steps, job, step
from rooftree.interfaces.bus import BusRefused, SystemBus
from rooftree_os.bus_objects import FIRMWARE, UPDATE_FIRMWARE, Firmware
from rooftree_os.models import FirmwareInfo
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import RequireReboot

TAKES_S: Final = 360.0
"""Seconds that writing the firmware may take; the agent itself gives up after 300."""


class NoFirmwareUpdate(Invalid):
    """The firmware can't be updated. ``extra_fields``: ``reason``."""

    error_key = "os_firmware_update_error"


async def read_firmware(system: OperatingSystem) -> FirmwareInfo:
    """The state of the firmware; raises :class:`NotFound` where the agent knows of none."""
    if not system.has_agent():
        raise NotFound("There is no OS agent on this machine, which would know of a Raspberry Pi's firmware")
    try:
        said = await system.bus.read(Firmware, FIRMWARE)
    except BusRefused as error:
        raise NotFound(f"The OS agent knows of no Raspberry Pi firmware on this machine: {error.message}") from error
    return FirmwareInfo(
        current_version=said.current_version or None,
        latest_version=said.latest_version or None,
        update_available=bool(said.update_available),
        update_blocked=bool(said.update_blocked),
        update_pending=bool(said.update_pending),
        blocked_reason=said.blocked_reason or None,
    )


@step("os.update_firmware/1")
class UpdateFirmware(Step):
    """Write the boot firmware that came with the operating system."""

    version: str

    async def do(self, bus: SystemBus, system: OperatingSystem) -> None:
        """Write it, unless that was done."""
        if not (await read_firmware(system)).update_pending:
            await bus.call(FIRMWARE, UPDATE_FIRMWARE, timeout_s=TAKES_S)


@job("os_manager_update_raspberrypi_firmware", locks=lambda: [Lock("os", "firmware")], conditions=("haos",),
     recovery="forward", when_busy="refuse")  # fmt: skip
async def update_firmware(system: OperatingSystem) -> Steps:
    """Update the boot firmware; it is used from the next reboot on."""
    now = await read_firmware(system)
    if now.update_pending:
        raise NoFirmwareUpdate("The new firmware is written already; reboot to use it", reason="pending")
    if now.update_blocked:
        reason = now.blocked_reason or "the agent does not say why"
        raise NoFirmwareUpdate(f"The firmware can't be updated on this machine: {reason}", reason=reason)
    if not now.update_available:
        raise NoFirmwareUpdate(f"The firmware {now.current_version} is the newest there is", reason="up_to_date")
    return [
        UpdateFirmware(now.latest_version or ""),
        RequireReboot("The new boot firmware is used after a reboot"),
    ]
