"""The shapes of the host's answers, as the contract has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from attrs import frozen

from rooftree import UNSET, FreeText, ParsedString, Unset


class Identifier(FreeText):
    """What a program calls itself in the system journal: ``SYSLOG_IDENTIFIER`` of systemd.journal-fields(7)."""

    __slots__ = ()

    pattern = r"[^\x00-\x1f]{1,256}"
    allowed = "what a program calls itself in the journal; /host/logs/identifiers lists them"


@frozen(kw_only=True)
class HostInfo:
    """Facts about the host; ``None`` where nobody knows."""

    agent_version: str | None
    """Of the agent of Home Assistant OS."""
    apparmor_version: str | None
    boot_timestamp: int | None
    """When the last boot was complete: microseconds since 1970."""
    broadcast_llmnr: bool | None
    broadcast_mdns: bool | None
    chassis: str | None
    virtualization: str | None
    """The hypervisor; empty on metal."""
    cpe: str | None
    """The operating system's CPE name."""
    deployment: str | None
    disk_total: float
    """GiB, as the next two."""
    disk_used: float
    disk_free: float
    disk_life_time: float | None
    """Percent of the disk's life that is used up."""
    features: Sequence[str]
    """What can be done with this host."""
    hostname: str | None
    llmnr_hostname: str | None
    kernel: str | None
    operating_system: str | None
    timezone: str
    dt_utc: str
    """Now: ISO 8601."""
    dt_synchronized: bool | None
    use_ntp: bool | None
    startup_time: float | None
    """Seconds that the last boot took."""


@frozen
class HostOptions:
    """What can be changed of the host."""

    hostname: str | Unset = UNSET


@frozen
class EndOptions:
    """How the host is ended."""

    force: bool = False
    """Also while something speaks against it."""


@frozen(kw_only=True)
class HostService:
    """A service of the host."""

    name: str
    """Of its unit."""
    description: str
    state: str
    """``active``, ``inactive``, ``failed`` …"""


@frozen
class HostServices:
    """The services of the host."""

    services: Sequence[HostService]


@frozen(kw_only=True)
class DiskUsage:
    """What takes the room on a disk, or in a part of it."""

    id: str
    label: str
    used_bytes: int
    total_bytes: int | Unset = UNSET
    """Of the disk."""
    children: Sequence[DiskUsage] | Unset = UNSET
    """Its parts, where it was asked for as many levels."""


@frozen
class TimeConfig:
    """Whom the clock is set by."""

    servers: Sequence[str]
    fallback_servers: Sequence[str]


@frozen
class TimeInfo:
    """The clock's configuration."""

    config: TimeConfig


@frozen
class TimeOptions:
    """What can be changed of it."""

    servers: list[str] | Unset = UNSET
    """Names or addresses; none returns to those of the system."""
    fallback_servers: list[str] | Unset = UNSET


class DiskName(ParsedString):
    """What a disk is called here."""

    __slots__ = ()

    pattern = r"[A-Za-z0-9_.-]{1,64}"
    allowed = "the name of a mount, or default for the disk of the data folder"


@frozen
class Identifiers:
    """The programs that wrote to the journal."""

    identifiers: Sequence[str]


@frozen
class JournalBoots:
    """The boots that the journal has entries of: how many boots ago (``"0"``, ``"-1"`` …), and their ids."""

    boots: Mapping[str, str]

    @classmethod
    def of(cls, ids: Sequence[str]) -> Self:
        """From the ids, the oldest first."""
        return cls({str(-ago): boot for ago, boot in enumerate(reversed(ids))})
