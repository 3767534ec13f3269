"""Devices of the host: those that are there, and those that come and go, as told to other domains.

Whoever wants to act on a device that appears implements the hooks ``hardware_added`` and ``hardware_removed``
(:mod:`rooftree.interfaces.hooks`); whoever only keeps something true listens to the events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from rooftree.events import Event
from rooftree.services import Service


@frozen(kw_only=True)
class Device:
    """A device; fields as in the answer of ``/hardware/info``."""

    name: str
    """The kernel's name for it, such as ``ttyUSB0``."""
    sysfs: str
    """Its path below ``/sys``."""
    dev_path: str
    """Its path below ``/dev``."""
    subsystem: str | None = None
    """``tty``, ``block``, ``sound`` …"""
    parent: str | None = None
    """The path of its parent below ``/sys``."""
    by_id: str | None = None
    """The link below ``/dev`` that stays the same when it is plugged in elsewhere."""
    attributes: Mapping[str, str] = field(factory=dict)
    """What udev says of it, as it says it."""
    children: tuple[str, ...] = ()
    """Paths below ``/sys``."""


class Hardware(Protocol):
    """The host's devices. Answers come from memory, which the kernel's and udev's events keep true; a device that
    comes and goes many times a second is shown as it was left."""

    @property
    def revision(self) -> str:
        """Changes with what is known."""
        ...

    def devices(self) -> Sequence[Device]:
        """The devices that have a node below ``/dev``, by path below ``/sys``; without those that the kernel makes up
        by the dozen (virtual terminals, loop and memory disks)."""
        ...

    def device(self, path: str) -> Device | None:
        """The device with that node, link below ``/dev`` (by id, by path, by label …), or path below ``/sys``."""
        ...

    async def reload(self) -> None:
        """Look at everything anew, for those who do not trust events."""
        ...


HARDWARE = Service[Hardware]("hardware/1")


@frozen
class DeviceAdded(Event):
    """A device appeared."""

    device: Device


@frozen
class DeviceRemoved(Event):
    """A device vanished."""

    device: Device
    """As it was last."""


@frozen
class DeviceChanged(Event):
    """What is known of a device that stays is something else now: a disk was put in, udev gave it a link …"""

    device: Device
