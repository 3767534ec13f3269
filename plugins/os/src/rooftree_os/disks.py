"""The disks of the host, and what speaks against putting the data on one.

UDisks2 describes them: drives, the block devices that they are, partitions, and what is on those. A disk that the
running system uses in any way is never offered: whatever is on a disk that is moved to is erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from rooftree import Failed, Invalid
from rooftree.interfaces.bus import SystemBus
from rooftree_machine.udisks import (
    BLOCK,
    DRIVE,
    FILESYSTEM,
    PARTITION,
    PHYSICAL_VOLUME,
    SWAP_SPACE,
    UDISKS,
    UDISKS_PATH,
)

PARTITION_NAME: Final = "hassos-data-external"
PARTITION_TYPE: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"
"""Linux file system data (Discoverable Partitions Specification)."""
_SYSTEM_LABEL: Final = "hassos-"
_LEFT_BEHIND: Final = frozenset({PARTITION_NAME, "hassos-data-old", "hassos-data-dis"})
"""Partitions of the system's that nothing uses any more, unless they are mounted."""
_COMPOUND_TYPES: Final = frozenset({"zfs_member", "bcache", "btrfs_member"})
_NOTHING: Final = "/"

type _Objects = Mapping[str, Mapping[str, Mapping[str, Any]]]


class DiskRefused(Invalid):
    """The data can't be moved to that disk. ``extra_fields``: ``device``, ``reason``."""

    error_key = "os_data_disk_refused_error"


@frozen(kw_only=True)
class Disk:
    """A whole disk."""

    id: str
    """UDisks2's for the drive; the path where there is none."""
    path: str
    """Below ``/dev``."""
    names: frozenset[str]
    """Other paths of it, and those of its partitions."""
    object_path: str
    vendor: str
    model: str
    serial: str
    size: int
    """Bytes."""
    partitions: tuple[tuple[str, str], ...] = ()
    """Names and types."""
    refusal: str | None = field(default=None)
    """Why the data can't be moved there."""

    @property
    def name(self) -> str:
        what = " ".join(part for part in (self.vendor, self.model) if part) or self.path
        return f"{what} ({self.serial})" if self.serial else what

    @property
    def is_prepared(self) -> bool:
        """Whether it is partitioned as a data disk is, and nothing else is on it."""
        return self.partitions == ((PARTITION_NAME, PARTITION_TYPE),)


@frozen
class Disks:
    """All disks."""

    all: tuple[Disk, ...]

    @classmethod
    async def read(cls, bus: SystemBus, current: str | None, used_bytes: int) -> Disks:
        """Ask UDisks2; raises :class:`~rooftree.interfaces.bus.BusUnavailable`.

        :param current: the device that the data is on, as the OS agent names it
        :param used_bytes: how much data there is
        """
        objects = await bus.objects(UDISKS, UDISKS_PATH)
        disks = [
            _disk(objects, path, drive, current, used_bytes)
            for drive in objects
            if DRIVE in objects[drive] and (path := _whole(objects, drive)) is not None
        ]
        return cls(tuple(sorted(disks, key=lambda disk: disk.path)))

    @property
    def offered(self) -> list[Disk]:
        """Those that the data can be moved to."""
        return [disk for disk in self.all if disk.refusal is None]

    def holding(self, device: str) -> Disk | None:
        """The disk that a device is, or is a part of."""
        return next((disk for disk in self.all if device == disk.path or device in disk.names), None)

    def wanted(self, device: str) -> Disk:
        """The disk of that id or path, to move the data to; raises :class:`DiskRefused`, ``Invalid``."""
        disk = next((disk for disk in self.all if device in {disk.id, disk.path}), None)
        if disk is None:
            offered = ", ".join(disk.id for disk in self.offered) or "no disk of this machine"
            raise Invalid(f"device: there is no disk {device!r}; the data can be moved to {offered}")
        if disk.refusal is not None:
            raise DiskRefused(
                f"device: the data can't be moved to {disk.name}: {disk.refusal}", device=disk.path, reason=disk.refusal
            )
        return disk


def _whole(objects: _Objects, drive: str) -> str | None:
    """The block device that is the whole of a drive; the largest, where it has special areas that look like disks."""
    blocks = [
        path
        for path, interfaces in objects.items()
        if BLOCK in interfaces and PARTITION not in interfaces and interfaces[BLOCK].get("Drive") == drive
    ]
    return max(blocks, key=lambda path: int(objects[path][BLOCK].get("Size", 0)), default=None)


def _disk(objects: _Objects, path: str, drive_path: str, current: str | None, used_bytes: int) -> Disk:
    block, drive = objects[path][BLOCK], objects[drive_path][DRIVE]
    partitions = [block_path for block_path, said in objects.items() if said.get(PARTITION, {}).get("Table") == path]
    device = _text(block.get("Device", b""))
    names = frozenset(name for block_path in (path, *partitions) for name in _names(objects[block_path][BLOCK]))
    size = int(block.get("Size", 0))
    return Disk(
        id=str(drive.get("Id") or device),
        path=device,
        names=names,
        object_path=path,
        vendor=str(drive.get("Vendor", "")).strip(),
        model=str(drive.get("Model", "")).strip(),
        serial=str(drive.get("Serial", "")).strip(),
        size=size,
        partitions=tuple(
            (
                str(objects[block_path][PARTITION].get("Name", "")),
                str(objects[block_path][PARTITION].get("Type", "")).lower(),
            )
            for block_path in partitions
        ),
        refusal=_refusal(objects, path, partitions, drive, current, names)
        or (f"it is too small: it has {size} bytes, the data {used_bytes}" if size <= used_bytes else None),
    )


def _refusal(
    objects: _Objects,
    path: str,
    partitions: Sequence[str],
    drive: Mapping[str, Any],
    current: str | None,
    names: Iterable[str],
) -> str | None:
    if drive.get("Optical"):
        return "it is an optical drive"
    if not objects[path][BLOCK].get("Size"):
        return "there is no medium in it"
    if objects[path][BLOCK].get("ReadOnly"):
        return "it is read-only"
    if current is not None and current in names:
        return "the data is on it now"
    for block_path in (path, *partitions):
        reason = _use(objects, block_path)
        if reason is not None:
            return f"{_text(objects[block_path][BLOCK].get('Device', b''))} {reason}"
    return None


def _use(objects: _Objects, path: str) -> str | None:
    """What a device is used for, as the end of a sentence; ``None`` for nothing."""
    said, block = objects[path], objects[path][BLOCK]
    mounted = [_text(point) for point in said.get(FILESYSTEM, {}).get("MountPoints", ())]
    if mounted:
        return f"is mounted at {', '.join(mounted)}"
    if said.get(SWAP_SPACE, {}).get("Active"):
        return "is swap space in use"
    if block.get("MDRaidMember", _NOTHING) != _NOTHING or block.get("IdUsage") == "raid" or PHYSICAL_VOLUME in said:
        return "is part of a volume group or an array"
    if block.get("IdType") in _COMPOUND_TYPES:
        return f"is part of a larger store ({block['IdType']})"
    if any(other.get(BLOCK, {}).get("CryptoBackingDevice") == path for other in objects.values()):
        return "is encrypted and opened"
    for label in (str(block.get("IdLabel", "")), str(said.get(PARTITION, {}).get("Name", ""))):
        if label.startswith(_SYSTEM_LABEL) and label not in _LEFT_BEHIND:
            return f"belongs to an installation of Home Assistant OS ({label})"
    return None


def _names(block: Mapping[str, Any]) -> Iterable[str]:
    yield _text(block.get("Device", b""))
    yield _text(block.get("PreferredDevice", b""))
    yield from map(_text, block.get("Symlinks", ()))


def _text(raw: bytes | Sequence[int]) -> str:
    """A path as UDisks2 writes it: bytes with a zero at the end."""
    return bytes(raw).rstrip(b"\0").decode(errors="surrogateescape")


def failed_unless_same(disk: Disk, path: str) -> None:
    """Raise :class:`Failed` where a disk has changed its place since somebody decided about it."""
    if disk.path != path:
        raise Failed(f"The disk {disk.id} was {path} and is {disk.path} now: nothing was changed; try again")
