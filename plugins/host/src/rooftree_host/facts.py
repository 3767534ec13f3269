"""The answer of ``/host/info``: each field from its source, ``None`` from one that is not there."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from rooftree import Kernel, Service
from rooftree.interfaces.bus import BusObject, BusRefused, BusUnavailable, SystemBus
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_containers.timezone import host_timezone
from rooftree_host.bus_objects import (
    AGENT_APPARMOR,
    LOGIN,
    NETWORK_MANAGER,
    RESOLVE,
    TIMEDATE,
    AgentAppArmor,
    Resolve,
    Systemd,
    Timedate,
)
from rooftree_host.disk_wear import DiskWear
from rooftree_host.gateway import Gateway
from rooftree_host.models import HostInfo
from rooftree_host.mounts_seen import propagates
from rooftree_machine.agent import OS_AGENT, Agent
from rooftree_machine.home_assistant_os import HomeAssistantOs
from rooftree_machine.hostnamed import HOSTNAME, Hostname
from rooftree_machine.own_names import own_hostname, own_operating_system
from rooftree_machine.systemd import SYSTEMD
from rooftree_machine.udisks import UDISKS

GIB: Final = 1024**3
DISK_S: Final = 5.0
"""Seconds for which the room on the disk is not looked at again."""
KEPT_S: Final = 1.0
"""Seconds for which an answer is kept, so that what comes unannounced (the room on the disk, properties whose changes
nobody tells) is at most so much older."""
SOURCES: Final[tuple[tuple[type, BusObject], ...]] = (
    (Hostname, HOSTNAME),
    (Systemd, SYSTEMD),
    (Timedate, TIMEDATE),
    (Resolve, RESOLVE),
    (Agent, OS_AGENT),
    (AgentAppArmor, AGENT_APPARMOR),
)


@frozen
class _Room:
    """GiB on the disk of the data folder."""

    total: float
    used: float
    free: float

    @classmethod
    def of(cls, folder: Path) -> _Room:
        """Look. Blocks."""
        usage = shutil.disk_usage(folder)
        return cls(*(round(number / GIB, 1) for number in (usage.total, usage.used, usage.free)))


@frozen
class _Kept:
    """An answer, of which only the time of day is always another, and what it holds for."""

    until: float
    """On the loop's clock."""
    revision: int
    """Of the bus."""
    timezone: str | None
    """That the user chose."""
    fields: Mapping[str, Any]


@frozen
class _Looked:
    """What the file system says."""

    room: _Room
    timezone: str
    mounts_propagate: bool
    has_journal: bool
    operating_system: str


class HostFacts:
    """What is known of the host."""

    def __init__(self, kernel: Kernel, bus: SystemBus, gateway: Gateway, wear: DiskWear) -> None:
        self._kernel = kernel
        self._bus = bus
        self._gateway = gateway
        self._wear = wear
        self._looked: tuple[float, _Looked] | None = None
        self._kept: _Kept | None = None

    async def info(self) -> HostInfo:
        """Everything; what was learnt a moment ago is not put together again, unless something has changed."""
        preferences = self._kernel.find(INSTALLATION_PREFERENCES)
        chosen = preferences.timezone if preferences else None
        now, revision = asyncio.get_running_loop().time(), self._bus.revision
        kept = self._kept
        if kept is None or now >= kept.until or (kept.revision, kept.timezone) != (revision, chosen):
            info = await self._put_together(chosen)
            if revision == self._bus.revision:  # otherwise more was learnt meanwhile, and it would be void at once
                self._kept = _Kept(now + KEPT_S, revision, chosen, asdict(info, recurse=False))
            return info
        return HostInfo(**{**kept.fields, "dt_utc": _utc_now()})

    async def _put_together(self, timezone: str | None) -> HostInfo:
        """Everything; sources that have to be asked are asked side by side."""
        known: dict[type, Any] = {kind: self._bus.remembered(kind, at) for kind, at in SOURCES}
        missing = [(kind, at) for kind, at in SOURCES if known[kind] is None]
        if missing:  # what is known already is used as it is, though it may be void until these have answered
            asked = await asyncio.gather(*(self._ask(kind, at) for kind, at in missing))
            known |= {type(answer): answer for answer in asked}
        host: Hostname = known[Hostname]
        systemd: Systemd = known[Systemd]
        clock: Timedate = known[Timedate]
        resolve: Resolve = known[Resolve]
        agent: Agent = known[Agent]
        apparmor: AgentAppArmor = known[AgentAppArmor]
        looked = await self._look()
        return HostInfo(
            agent_version=agent.version,
            apparmor_version=apparmor.parser_version,
            boot_timestamp=systemd.finished_at_us or None,
            broadcast_llmnr=_broadcast(resolve.llmnr),
            broadcast_mdns=_broadcast(resolve.multicast_dns),
            chassis=host.chassis,
            virtualization=systemd.virtualization,
            cpe=host.cpe,
            deployment=host.deployment,
            disk_total=looked.room.total,
            disk_used=looked.room.used,
            disk_free=looked.room.free,
            disk_life_time=await self._wear.percent(),
            features=self._features(host, looked),
            hostname=host.static_hostname or own_hostname(),
            llmnr_hostname=resolve.llmnr_hostname,
            kernel=host.kernel or platform.release(),  # of which there is one, also for who runs in a container
            operating_system=host.operating_system or looked.operating_system,
            timezone=timezone or clock.timezone or looked.timezone,
            dt_utc=_utc_now(),
            dt_synchronized=clock.synchronized,
            use_ntp=clock.ntp,
            startup_time=_startup_s(host, systemd),
        )

    async def overview(self) -> Mapping[str, Any]:
        """The host's part of ``/info``, as far as it is known without waiting long."""
        info = await self.info()
        return {
            "hostname": info.hostname,
            "operating_system": info.operating_system,
            "features": info.features,
        }

    async def _ask(self, kind: type[Any], at: BusObject) -> Any:
        """What a source says; nothing where it is not there."""
        try:
            return await self._bus.read(kind, at)
        except (BusUnavailable, BusRefused):
            return kind()

    async def _look(self) -> _Looked:
        """What the file system says, not older than some seconds."""
        now = asyncio.get_running_loop().time()
        if self._looked is None or now - self._looked[0] > DISK_S:
            self._looked = (now, await asyncio.to_thread(_look, self._kernel.data.path, self._gateway))
        return self._looked[1]

    def _features(self, host: Hostname, looked: _Looked) -> list[str]:
        """What can be done with this host, in the words of the API."""
        systemd, power = self._bus.has(SYSTEMD.service), self._bus.has(LOGIN.service)
        agent = self._bus.has(OS_AGENT.service)
        there = {
            "disk": self._bus.has(UDISKS),
            "haos": HomeAssistantOs.from_cpe(host.cpe or "") is not None,
            "hostname": self._bus.has(HOSTNAME.service),
            "journal": looked.has_journal,
            "mount": systemd and looked.mounts_propagate,
            "network": self._bus.has(NETWORK_MANAGER),
            "os_agent": agent,
            "reboot": systemd or power,
            "resolved": self._bus.has(RESOLVE.service),
            "services": systemd,
            "shutdown": systemd or power,
            "timedate": self._bus.has(TIMEDATE.service),
        }
        return [feature for feature, is_there in there.items() if is_there]


HOST_FACTS = Service[HostFacts]("host.facts/1")


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _look(folder: Path, gateway: Gateway) -> _Looked:
    return _Looked(_Room.of(folder), host_timezone(), propagates(folder), gateway.is_there(), own_operating_system())


def _broadcast(setting: str | None) -> bool | None:
    return None if setting is None else setting == "yes"


def _startup_s(host: Hostname, systemd: Systemd) -> float | None:
    """Seconds from the firmware's start to the end of the boot, as ``systemd-analyze`` counts; a container's begins
    with its first process."""
    if not systemd.finish_us:
        return None
    before_us = systemd.firmware_us or 0
    if host.chassis == "container":
        before_us = -(systemd.userspace_us or 0)
    return (before_us + systemd.finish_us) / 1e6
