"""The slots that the host can boot from, as rauc knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

from attrs import field, frozen

from rooftree import Invalid
from rooftree.interfaces.bus import SystemBus
from rooftree_os.bus_objects import GET_PRIMARY, GET_SLOT_STATUS, INSTALLER, MARK, Installer

ANSWER_S: Final = 10.0
"""Seconds that a question to rauc may take: it asks the bootloader."""
BOOTED: Final = "booted"
"""rauc's word for the slot that runs, as state and as a slot's name."""


@frozen(kw_only=True)
class Slot:
    """A slot that can be booted."""

    name: str
    """rauc's name for it, such as ``kernel.0``."""
    state: str
    """``booted``, ``active`` (part of what is booted) or ``inactive``."""
    status: str | None
    """``good`` or ``bad``, as the bootloader has it."""
    version: str | None
    """Of the bundle that was installed last."""


@frozen
class Slots:
    """All of them, by the bootloader's name for them (``A``, ``B``)."""

    by_bootname: Mapping[str, Slot] = field(factory=dict)
    primary: str | None = None
    """rauc's name for the one that is booted next."""

    @classmethod
    async def read(cls, bus: SystemBus) -> Self:
        """Ask rauc; raises :class:`~rooftree.interfaces.bus.BusUnavailable`, ``BusRefused``."""
        listed, primary = await asyncio.gather(
            bus.call(INSTALLER, GET_SLOT_STATUS, timeout_s=ANSWER_S),
            bus.call(INSTALLER, GET_PRIMARY, timeout_s=ANSWER_S),
        )
        slots = {said["bootname"]: _slot(name, said) for name, said in listed if said.get("bootname")}
        return cls(dict(sorted(slots.items())), primary or None)

    def named(self, bootname: str) -> Slot:
        """The slot of that name; raises :class:`Invalid` where there is none."""
        slot = self.by_bootname.get(bootname)
        if slot is None:
            there = ", ".join(self.by_bootname) or "none"
            raise Invalid(f"boot_slot: there is no slot {bootname}; there are {there}")
        return slot

    @property
    def booted(self) -> Slot | None:
        """The slot that runs."""
        return next((slot for slot in self.by_bootname.values() if slot.state == BOOTED), None)

    @property
    def pending(self) -> Slot | None:
        """The slot that runs after the next boot, where that is another one."""
        following = next((slot for slot in self.by_bootname.values() if slot.name == self.primary), None)
        return following if self.booted is not None and following != self.booted else None


def _slot(name: str, said: Mapping[str, Any]) -> Slot:
    return Slot(
        name=name,
        state=str(said.get("state", "inactive")),
        status=said.get("boot-status"),
        version=said.get("bundle.version"),
    )


async def mark(bus: SystemBus, state: str, slot: str) -> str:
    """Mark a slot ``good``, ``bad`` or ``active`` (booted next); what rauc says to it."""
    _, message = await bus.call(INSTALLER, MARK, state, slot, timeout_s=ANSWER_S)
    return str(message)


async def operation(bus: SystemBus) -> Installer:
    """What rauc does now."""
    return await bus.read(Installer, INSTALLER)
