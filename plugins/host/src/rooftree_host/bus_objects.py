"""What this domain alone uses on the system bus, declared; the rest is in ``rooftree_machine``.

Names and signatures are those of org.freedesktop.login1(5), systemd1(5), timedate1(5), resolve1(5) and timesync1, and
of the agent of Home Assistant OS (https://github.com/home-assistant/os-agent).
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property
from rooftree_machine.agent import AGENT

LOGIN: Final = BusObject("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
TIMEDATE: Final = BusObject("org.freedesktop.timedate1", "/org/freedesktop/timedate1", "org.freedesktop.timedate1")
TIMESYNC: Final = BusObject(
    "org.freedesktop.timesync1", "/org/freedesktop/timesync1", "org.freedesktop.timesync1.Manager"
)
RESOLVE: Final = BusObject("org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager")
AGENT_APPARMOR: Final = BusObject(AGENT, "/io/hass/os/AppArmor", "io.hass.os.AppArmor")
NETWORK_MANAGER: Final = "org.freedesktop.NetworkManager"

REBOOT_BY_LOGIN: Final = BusMethod("Reboot", "b")
POWER_OFF_BY_LOGIN: Final = BusMethod("PowerOff", "b")
SET_RUNTIME_SERVERS: Final = BusMethod("SetRuntimeNTPServers", "as")


@frozen(kw_only=True)
class Systemd:
    """Of systemd. Times are microseconds; monotonic ones count from the start of the kernel, those of firmware and
    loader back from it; 0 is "not yet"."""

    virtualization: str | None = bus_property("Virtualization", "s")
    firmware_us: int | None = bus_property("FirmwareTimestampMonotonic", "t")
    userspace_us: int | None = bus_property("UserspaceTimestampMonotonic", "t")
    finish_us: int | None = bus_property("FinishTimestampMonotonic", "t", told=False)
    finished_at_us: int | None = bus_property("FinishTimestamp", "t", told=False)
    """Since 1970."""


@frozen(kw_only=True)
class Timedate:
    """Of timedated."""

    timezone: str | None = bus_property("Timezone", "s")
    ntp: bool | None = bus_property("NTP", "b")
    synchronized: bool | None = bus_property("NTPSynchronized", "b", told=False)


@frozen(kw_only=True)
class Timesync:
    """Of timesyncd."""

    system_servers: list[str] | None = bus_property("SystemNTPServers", "as")
    runtime_servers: list[str] | None = bus_property("RuntimeNTPServers", "as")
    fallback_servers: list[str] | None = bus_property("FallbackNTPServers", "as")


@frozen(kw_only=True)
class Resolve:
    """Of resolved: ``yes``, ``no`` or ``resolve``."""

    llmnr: str | None = bus_property("LLMNR", "s")
    multicast_dns: str | None = bus_property("MulticastDNS", "s")
    llmnr_hostname: str | None = bus_property("LLMNRHostname", "s")


@frozen(kw_only=True)
class AgentAppArmor:
    """What the agent of Home Assistant OS knows of AppArmor."""

    parser_version: str | None = bus_property("ParserVersion", "s")
