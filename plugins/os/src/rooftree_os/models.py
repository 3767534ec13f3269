"""What the routes of this domain take and answer."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

from rooftree import ParsedString

MOST_SWAPPINESS = 200
"""Of the Linux kernel (Documentation/admin-guide/sysctl/vm.rst)."""

type BoardOptions = dict[str, Any]
"""Settings of a board: which there are, and of what type, says its driver."""


class BoardName(ParsedString):
    """The name of a board."""

    __slots__ = ()

    pattern = r"[a-z0-9][a-z0-9-]{0,63}"
    allowed = "the name of a board: lower-case letters, digits and dashes"


class OsVersion(ParsedString):
    """A version of the operating system. It becomes part of a file's name and an address."""

    __slots__ = ()

    pattern = r"[0-9][0-9A-Za-z]{0,15}(?:[.+-][0-9A-Za-z]{1,24}){0,5}"
    allowed = "a version such as 17.0 or 18.0.rc1"


_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


class SwapSize(ParsedString):
    """How large the swap is."""

    __slots__ = ()

    pattern = r"[0-9]{1,15}(?:[KMG]?(?:i?B)?)"
    allowed = "a whole number with an optional unit K, M or G, such as 2G; less than 40K switches swap off"

    @property
    def size_bytes(self) -> int:
        """As a number; K, M and G are powers of 1024, however they are written."""
        number = self.rstrip("iB")
        digits = number.rstrip("KMG")
        return int(digits) * _UNITS[number.removeprefix(digits)]


@frozen(kw_only=True)
class BootSlot:
    """A slot that the host can boot from."""

    state: Literal["active", "inactive"]
    """``active``: it runs."""
    status: Literal["good", "bad"] | None
    """How its last boot went."""
    version: str | None


@frozen(kw_only=True)
class OsInfo:
    """The answer of ``/os/info``; outside Home Assistant OS nothing of it is known."""

    version: str | None = None
    version_latest: str | None = None
    version_pending: str | None = None
    """What runs after the next reboot, where that is another version."""
    update_available: bool = False
    board: str | None = None
    boot: str | None = None
    """The slot that runs."""
    data_disk: str | None = None
    """The id of the disk that the data is on."""
    boot_slots: dict[str, BootSlot] = field(factory=dict)


@frozen(kw_only=True)
class OsUpdate:
    """The body of ``/os/update``."""

    version: OsVersion | None = None
    """Absent or null: the newest."""


@frozen
class BootSlotChoice:
    """The body of ``/os/boot-slot``."""

    boot_slot: str
    """A key of ``boot_slots``."""


@frozen
class SwapInfo:
    """The answer of ``/os/config/swap``."""

    swap_size: str | None
    swappiness: int | None


def _swappiness(_: object, field: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and not 0 <= value <= MOST_SWAPPINESS:
        raise ValueError(f"{field.alias}: must be from 0 to {MOST_SWAPPINESS}, not {value}")


@frozen(kw_only=True)
class SwapChange:
    """The body of ``/os/config/swap``; what is absent stays."""

    swap_size: SwapSize | None = None
    swappiness: int | None = field(default=None, validator=_swappiness)


@frozen
class ShownDisk:
    """A disk that the data could be moved to."""

    name: str
    vendor: str
    model: str
    serial: str
    size: int
    """Bytes."""
    id: str
    dev_path: str


@frozen
class DataDisks:
    """The answer of ``/os/datadisk/list``."""

    devices: list[str]
    """The ids."""
    disks: list[ShownDisk]


@frozen
class DiskChoice:
    """The body of ``/os/datadisk/move``."""

    device: str
    """The id of a disk, or its path."""


@frozen(kw_only=True)
class FirmwareInfo:
    """The answer of ``/os/boards/raspberrypi/firmware``."""

    current_version: str | None
    latest_version: str | None
    update_available: bool
    update_blocked: bool
    update_pending: bool
    blocked_reason: str | None
