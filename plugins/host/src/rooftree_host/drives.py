"""Drives and the file systems on them, as UDisks2 knows them (https://storaged.org/doc/udisks2-api/latest/).

Read with one call of its object manager and kept until UDisks2, or the bus, says that something changed. Without
UDisks2 there are none: what the kernel says of disks is in the list of devices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from attrs import frozen

from rooftree import Event
from rooftree.interfaces.bus import (
    BusConnected,
    BusLost,
    BusObject,
    BusPropertiesChanged,
    BusRefused,
    BusServiceChanged,
    BusUnavailable,
    SystemBus,
    bus_property,
)
from rooftree.services import Service
from rooftree_machine.udisks import BLOCK, DRIVE, FILESYSTEM, UDISKS, UDISKS_PATH

log = structlog.get_logger(__name__)

MANAGER: Final = BusObject(UDISKS, UDISKS_PATH, "org.freedesktop.DBus.ObjectManager")
READ_S: Final = 5.0
"""Seconds that UDisks2 may take to tell of all its objects."""
SILENCE_S: Final = 30.0
"""Seconds after which a UDisks2 that did not answer is asked again."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

type Properties = Mapping[str, Any]
type Objects = Mapping[str, Mapping[str, Properties]]


@frozen(kw_only=True)
class Filesystem:
    """A file system on a drive, as the contract has it."""

    device: str
    """Its node below ``/dev``."""
    id: str
    """Stays the same when it is plugged in elsewhere."""
    size: int
    """Bytes, of the partition that it is on."""
    name: str
    """Its label; empty where it has none."""
    system: bool
    """Whether it is on a disk that belongs to the host."""
    mount_points: Sequence[str]
    """Folders of the host."""


@frozen(kw_only=True)
class Drive:
    """A drive, as the contract has it."""

    vendor: str
    model: str
    revision: str
    serial: str
    id: str
    size: int
    """Bytes; 0 without a medium in it."""
    time_detected: datetime | None
    connection_bus: str
    """``usb``, ``sdio``, ``ieee1394``; else empty."""
    seat: str
    removable: bool
    ejectable: bool
    filesystems: Sequence[Filesystem]


@frozen
class _ToldOf:
    """Some property of an object: to read it is to be told of changes of all of them."""

    size: int | None = bus_property("Size", "t")


class Drives:
    """The drives, from memory while nothing changes."""

    def __init__(self, bus: SystemBus) -> None:
        self._bus = bus
        self._known: Sequence[Drive] | None = None
        self._revision = 0
        self._silent_until: float | None = None
        self._bus_news = asyncio.Event()

    @property
    def revision(self) -> str:
        """Changes with what is known."""
        if self._silent_until is not None and asyncio.get_running_loop().time() >= self._silent_until:
            self.forget()
        return str(self._revision)

    def forget(self) -> None:
        """Ask anew when somebody asks."""
        self._revision += 1
        self._known = self._silent_until = None

    async def drives(self) -> Sequence[Drive]:
        """All drives; none where UDisks2 is not there, or does not answer."""
        if self._known is not None:
            return self._known
        asked = self.revision
        if self._silent_until is not None or not self._bus.has(UDISKS):
            return ()
        try:
            async with asyncio.timeout(READ_S):
                objects = await self._bus.objects(UDISKS, UDISKS_PATH)
                await self._be_told(objects)
        except (BusUnavailable, BusRefused, TimeoutError) as error:
            log.warning("drives_unknown", reason=str(error) or f"UDisks2 did not answer within {READ_S:g} s")
            self._silent_until = asyncio.get_running_loop().time() + SILENCE_S
            return ()
        drives = drives_of(objects)
        if asked == self.revision:
            self._known = drives
        return drives

    async def _be_told(self, objects: Objects) -> None:
        # What a read returns may be of an earlier object at that path. It is not looked at: the object manager's answer
        # is always of now.
        for path, interfaces in objects.items():
            for interface in {DRIVE, FILESYSTEM} & interfaces.keys():
                with suppress(BusRefused):  # it went away since
                    await self._bus.read(_ToldOf, BusObject(UDISKS, path, interface))

    # --- what may have changed ----------------------------------------------------------------------------------------

    def bus_said(self, event: Event) -> None:
        """The bus or UDisks2 came or went, something was mounted, a medium was changed."""
        match event:
            case BusPropertiesChanged() if event.object.service == UDISKS:
                self.forget()
            case BusServiceChanged(service=service) if service == UDISKS:
                self.forget()
                self._bus_news.set()
            case BusConnected() | BusLost():
                self.forget()
                self._bus_news.set()

    async def watch(self) -> None:
        """Hear of drives and file systems that come and go, for ever."""
        while True:
            self._bus_news.clear()
            if self._bus.has(UDISKS):
                try:
                    await self._listen()
                except* (BusUnavailable, BusRefused) as errors:
                    log.debug("drives_unwatched", reason=str(errors.exceptions[0]))
            await self._bus_news.wait()

    async def _listen(self) -> None:
        """Listen for as long as UDisks2 and the bus are there."""
        async with (
            self._bus.listening(MANAGER, "InterfacesAdded") as added,
            self._bus.listening(MANAGER, "InterfacesRemoved") as removed,
            asyncio.TaskGroup() as both,
        ):
            self.forget()  # what came between
            both.create_task(self._forget_at_each(added))
            both.create_task(self._forget_at_each(removed))

    async def _forget_at_each(self, signals: AsyncIterator[tuple[Any, ...]]) -> None:
        async for _ in signals:
            self.forget()


DRIVES = Service[Drives]("host_drives/1")


def drives_of(objects: Objects) -> list[Drive]:
    """The drives among UDisks2's objects, by path, each with the file systems on its partitions."""
    filesystems: dict[str, list[Filesystem]] = {}
    for _, interfaces in sorted(objects.items()):
        block, filesystem = interfaces.get(BLOCK), interfaces.get(FILESYSTEM)
        if block is not None and filesystem is not None:
            filesystems.setdefault(_text(block, "Drive"), []).append(_filesystem(block, filesystem))
    return [
        _drive(interfaces[DRIVE], filesystems.get(path, []))
        for path, interfaces in sorted(objects.items())
        if DRIVE in interfaces
    ]


def _drive(drive: Properties, filesystems: Sequence[Filesystem]) -> Drive:
    return Drive(
        vendor=_text(drive, "Vendor"),
        model=_text(drive, "Model"),
        revision=_text(drive, "Revision"),
        serial=_text(drive, "Serial"),
        id=_text(drive, "Id"),
        size=_number(drive, "Size"),
        time_detected=_time(_number(drive, "TimeDetected")),
        connection_bus=_text(drive, "ConnectionBus"),
        seat=_text(drive, "Seat"),
        removable=drive.get("Removable") is True,
        ejectable=drive.get("Ejectable") is True,
        filesystems=filesystems,
    )


def _filesystem(block: Properties, filesystem: Properties) -> Filesystem:
    return Filesystem(
        device=_path(block.get("Device")),
        id=_text(block, "Id"),
        size=_number(block, "Size"),
        name=_text(block, "HintName") or _text(block, "IdLabel"),
        system=block.get("HintSystem") is True,
        mount_points=[_path(point) for point in filesystem.get("MountPoints", ())],
    )


def _text(properties: Properties, name: str) -> str:
    value = properties.get(name)
    return value if isinstance(value, str) else ""


def _number(properties: Properties, name: str) -> int:
    value = properties.get(name)
    return value if isinstance(value, int) else 0


def _time(since_epoch_us: int) -> datetime | None:
    """``None`` for 0, which says that it is not known, and for what is in no calendar."""
    try:
        return EPOCH + timedelta(microseconds=since_epoch_us) if since_epoch_us else None
    except OverflowError:
        return None


def _path(value: object) -> str:
    """A path as D-Bus carries it: bytes, with a NUL at the end."""
    return value.rstrip(b"\0").decode(errors="replace") if isinstance(value, bytes) else ""
