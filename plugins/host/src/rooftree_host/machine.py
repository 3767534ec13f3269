"""What the services of a host have on the system bus: those of systemd, and of Home Assistant OS' agent.

Names and signatures are those of org.freedesktop.hostname1(5), login1(5), systemd1(5), timedate1(5), resolve1(5) and
timesync1, and of the agent (https://github.com/home-assistant/os-agent).
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from rooftree.interfaces.bus import BusMethod, BusObject, bus_property

HOSTNAME: Final = BusObject("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1")
LOGIN: Final = BusObject("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SYSTEMD: Final = BusObject("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
TIMEDATE: Final = BusObject("org.freedesktop.timedate1", "/org/freedesktop/timedate1", "org.freedesktop.timedate1")
TIMESYNC: Final = BusObject(
    "org.freedesktop.timesync1", "/org/freedesktop/timesync1", "org.freedesktop.timesync1.Manager"
)
RESOLVE: Final = BusObject("org.freedesktop.resolve1", "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager")
AGENT: Final = BusObject("io.hass.os", "/io/hass/os", "io.hass.os")
AGENT_APPARMOR: Final = BusObject("io.hass.os", "/io/hass/os/AppArmor", "io.hass.os.AppArmor")
NETWORK_MANAGER: Final = "org.freedesktop.NetworkManager"
UDISKS: Final = "org.freedesktop.UDisks2"

SET_STATIC_HOSTNAME: Final = BusMethod("SetStaticHostname", "sb")
REBOOT_BY_LOGIN: Final = BusMethod("Reboot", "b")
POWER_OFF_BY_LOGIN: Final = BusMethod("PowerOff", "b")
REBOOT: Final = BusMethod("Reboot")
POWER_OFF: Final = BusMethod("PowerOff")
SUBSCRIBE: Final = BusMethod("Subscribe")
LIST_UNITS: Final = BusMethod("ListUnitsByPatterns", "asas", "a(ssssssouso)")
START_UNIT: Final = BusMethod("StartUnit", "ss", "o")
STOP_UNIT: Final = BusMethod("StopUnit", "ss", "o")
RELOAD_UNIT: Final = BusMethod("ReloadOrRestartUnit", "ss", "o")
GET_UNIT_BY_PID: Final = BusMethod("GetUnitByPID", "u", "o")
SET_RUNTIME_SERVERS: Final = BusMethod("SetRuntimeNTPServers", "as")


@frozen(kw_only=True)
class Hostname:
    """Of hostnamed."""

    static_hostname: str | None = bus_property("StaticHostname", "s")
    chassis: str | None = bus_property("Chassis", "s")
    deployment: str | None = bus_property("Deployment", "s")
    kernel: str | None = bus_property("KernelRelease", "s")
    operating_system: str | None = bus_property("OperatingSystemPrettyName", "s")
    cpe: str | None = bus_property("OperatingSystemCPEName", "s")


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
class Agent:
    """Of the agent of Home Assistant OS."""

    version: str | None = bus_property("Version", "s")


@frozen(kw_only=True)
class AgentAppArmor:
    """The same, of AppArmor."""

    parser_version: str | None = bus_property("ParserVersion", "s")
