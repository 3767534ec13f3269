"""Booting from the other slot: what was there before the last update, or is there since it."""

from __future__ import annotations

from rooftree import Step, Steps, job, step
from rooftree.interfaces.bus import SystemBus
from rooftree.interfaces.power import HostPower
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import final_reboot
from rooftree_os.slots import mark
from rooftree_os.updates import UPDATE


@step("os.activate_slot/1")
class ActivateSlot(Step):
    """Let a slot be the one that is booted next."""

    slot: str
    """rauc's name for it."""

    async def before(self, system: OperatingSystem) -> str | None:
        """Which it is now."""
        return (await system.slots()).primary

    async def do(self, bus: SystemBus) -> None:
        await mark(bus, "active", self.slot)

    async def undo(self, before: str | None, bus: SystemBus) -> None:
        if before is not None:
            await mark(bus, "active", before)


@job("os_manager_set_boot_slot", reference="boot_slot", locks=lambda boot_slot: [UPDATE], conditions=("haos",),
     recovery="forward", when_busy="refuse")  # fmt: skip
async def set_boot_slot(system: OperatingSystem, power: HostPower, boot_slot: str) -> Steps:
    """Boot from a slot, now."""
    await system.required()
    slot = (await system.slots()).named(boot_slot)
    return [ActivateSlot(slot.name), await final_reboot(power)]
