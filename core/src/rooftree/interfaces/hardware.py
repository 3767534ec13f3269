"""Devices of the machine, as those who come and go are told to other domains."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


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
