"""The servers that the clock is set by: systemd-timesyncd's.

What is set over the bus lasts until timesyncd ends, so it is kept here and set again when it comes back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Conflict, Invalid, Kernel, Service, Unavailable, Unset, document
from rooftree.interfaces.bus import BusConnected, BusRefused, BusServiceChanged, BusUnavailable, SystemBus
from rooftree_host.bus_objects import SET_RUNTIME_SERVERS, TIMESYNC, Timesync
from rooftree_host.models import TimeConfig, TimeInfo

log = structlog.get_logger(__name__)

MOST_SERVERS: Final = 16
_KEY: Final = "chosen"
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


@document("host.time_servers", version=1)
@frozen
class ChosenServers:
    """The servers that the user chose."""

    servers: tuple[str, ...]


class TimeServers:
    """Reads and sets the time servers."""

    def __init__(self, kernel: Kernel, bus: SystemBus, chosen: Collection[ChosenServers]) -> None:
        self._kernel = kernel
        self._bus = bus
        self._chosen = chosen

    @classmethod
    async def load(cls, kernel: Kernel, bus: SystemBus) -> TimeServers:
        """With what the user chose, for whenever timesyncd comes."""
        time_servers = cls(kernel, bus, await kernel.collection(ChosenServers))
        kernel.on(BusConnected, lambda _: time_servers.bring_back())
        kernel.on(BusServiceChanged, time_servers._came)
        await time_servers.bring_back()
        return time_servers

    async def info(self) -> TimeInfo:
        """The servers in use. Raises :class:`Unavailable` without timesyncd."""
        now = await self._now()
        return TimeInfo(TimeConfig(now.runtime_servers or now.system_servers or [], now.fallback_servers or []))

    async def choose(self, servers: list[str] | Unset, fallback_servers: list[str] | Unset) -> None:
        """Use these servers from now on; none returns to the system's."""
        if not isinstance(fallback_servers, Unset):
            now = (await self._now()).fallback_servers or []
            if fallback_servers != now:
                raise Conflict(
                    "fallback_servers: systemd-timesyncd takes them from its own configuration only; set FallbackNTP= "
                    "in /etc/systemd/timesyncd.conf on the host"
                )
        if isinstance(servers, Unset):
            return
        _refuse_wrong(servers)
        await self._now()  # whoever is not there is known by this sooner than by setting
        await self._set(servers)
        if servers:
            await self._kernel.commit(self._chosen.put(_KEY, ChosenServers(tuple(servers))))
        elif _KEY in self._chosen:
            await self._kernel.commit(self._chosen.delete(_KEY))

    async def _now(self) -> Timesync:
        try:
            return await self._bus.read(Timesync, TIMESYNC)
        except BusUnavailable as error:
            if not self._bus.connected:
                raise
            raise BusUnavailable(
                f"The time servers are those of systemd-timesyncd, which is not there: {error.message}. It does not "
                "run in containers, nor beside another time service; `systemctl status systemd-timesyncd` says why"
            ) from None

    async def _set(self, servers: Sequence[str]) -> None:
        await self._bus.call(TIMESYNC, SET_RUNTIME_SERVERS, list(servers))
        log.info("time_servers_set", servers=list(servers))

    async def bring_back(self) -> None:
        """Set what the user chose, if timesyncd is there and has something else."""
        if _KEY not in self._chosen or not self._bus.has(TIMESYNC.service):
            return
        wanted = list(self._chosen[_KEY].servers)
        with suppress(Unavailable, BusRefused):
            if (await self._bus.read(Timesync, TIMESYNC)).runtime_servers != wanted:
                await self._set(wanted)

    async def _came(self, event: BusServiceChanged) -> None:
        if event.runs and event.service == TIMESYNC.service:
            await self.bring_back()


TIME_SERVERS = Service[TimeServers]("host.time_servers/1")


def _refuse_wrong(servers: list[str]) -> None:
    if len(servers) > MOST_SERVERS:
        raise Invalid(f"servers: {MOST_SERVERS} at most, not {len(servers)}")
    for number, server in enumerate(servers):
        with suppress(ValueError):
            ip_address(server)
            continue
        if not _NAME.fullmatch(server):
            raise Invalid(f"servers[{number}]: must be the name or the address of a time server, not {server!r}")
