"""The swap of the operating system, through the OS agent."""

from __future__ import annotations

from attrs import frozen

from rooftree import Invalid, Lock, NotFound, Step, Steps, job, step
from rooftree.interfaces.bus import BusRefused, SystemBus, Variant
from rooftree_os.bus_objects import SWAP
from rooftree_os.bus_objects import Swap as AgentSwap
from rooftree_os.data_disk import DataDisksOfMachine
from rooftree_os.models import SwapChange, SwapInfo, SwapSize
from rooftree_os.operating_system import OperatingSystem
from rooftree_os.reboot import RequireReboot

SINCE = "15.0"
MIB = 1024 * 1024


@frozen
class _Before:
    swap_size: str | None
    swappiness: int | None


async def read_swap(system: OperatingSystem) -> SwapInfo:
    """The swap; raises :class:`NotFound` where the system does not offer it, :class:`BusUnavailable` while nobody can
    tell."""
    home_assistant_os = await system.home_assistant_os()
    if home_assistant_os is None or not home_assistant_os.is_at_least(SINCE):
        raise NotFound(f"Swap is set up on Home Assistant OS {SINCE} and later, which this machine does not run")
    try:
        known = await system.bus.read(AgentSwap, SWAP)
    except BusRefused as error:
        raise NotFound(f"The OS agent offers no swap: {error.message}") from error
    return SwapInfo(known.swap_size, known.swappiness)


@step("os.set_swap/1")
class SetSwap(Step):
    """Change the swap; what is absent stays."""

    swap_size: SwapSize | None
    swappiness: int | None

    def acts_on(self) -> str | None:
        """There is only one."""
        return None

    async def before(self, system: OperatingSystem) -> _Before:
        """What it is now."""
        now = await read_swap(system)
        return _Before(now.swap_size, now.swappiness)

    async def do(self, bus: SystemBus) -> None:
        await _write(bus, self.swap_size, self.swappiness)

    async def undo(self, before: _Before, bus: SystemBus) -> None:
        """Write what was there, where this wrote."""
        await _write(
            bus,
            before.swap_size if self.swap_size is not None else None,
            before.swappiness if self.swappiness is not None else None,
        )


async def _write(bus: SystemBus, swap_size: str | None, swappiness: int | None) -> None:
    if swap_size is not None:
        await bus.write(SWAP, "SwapSize", Variant("s", str(swap_size)))
    if swappiness is not None:
        await bus.write(SWAP, "Swappiness", Variant("i", swappiness))


@job("os_swap_options", locks=lambda changes: [Lock("os", "swap")])
async def change_swap(system: OperatingSystem, disks: DataDisksOfMachine, changes: SwapChange) -> Steps:
    """Change the swap; it takes effect with the next reboot, which silently does without one that is larger than the
    disk."""
    now = await read_swap(system)
    size = changes.swap_size if changes.swap_size != now.swap_size else None
    swappiness = changes.swappiness if changes.swappiness != now.swappiness else None
    if size is not None and size.size_bytes >= (capacity_bytes := await disks.capacity_bytes()):
        raise Invalid(f"swap_size: must be less than the data disk holds ({capacity_bytes // MIB}M), not {size}")
    if size is None and swappiness is None:
        return []
    return [SetSwap(size, swappiness), RequireReboot("The changed swap is in use after a reboot")]
