"""What the stand-ins on the bus have: a small machine, as its services would describe it."""

from __future__ import annotations

from typing import Any

from dbus_fast import Variant

type Objects = dict[str, dict[str, dict[str, Variant]]]

HOSTNAME = "org.freedesktop.hostname1"
LOGIN = "org.freedesktop.login1"
RESOLVE = "org.freedesktop.resolve1"
SYSTEMD = "org.freedesktop.systemd1"
TIMEDATE = "org.freedesktop.timedate1"
TIMESYNC = "org.freedesktop.timesync1"
AGENT = "io.hass.os"
UDISKS = "org.freedesktop.UDisks2"
NETWORK_MANAGER = "org.freedesktop.NetworkManager"

SYSTEMD_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = f"{SYSTEMD_PATH}/unit"


def _s(text: str) -> Variant:
    return Variant("s", text)


def _b(value: bool) -> Variant:
    return Variant("b", value)


def _t(number: int) -> Variant:
    return Variant("t", number)


MACHINE: dict[str, Objects] = {
    HOSTNAME: {
        "/org/freedesktop/hostname1": {
            HOSTNAME: {
                "StaticHostname": _s("attic"),
                "Chassis": _s("embedded"),
                "Deployment": _s("production"),
                "KernelRelease": _s("6.12.9"),
                "OperatingSystemPrettyName": _s("Debian GNU/Linux 12 (bookworm)"),
                "OperatingSystemCPEName": _s("cpe:2.3:o:debian:debian_linux:12:*:*:*:*:*:*:*"),
            }
        }
    },
    LOGIN: {"/org/freedesktop/login1": {"org.freedesktop.login1.Manager": {"Docked": _b(False)}}},
    RESOLVE: {
        "/org/freedesktop/resolve1": {
            "org.freedesktop.resolve1.Manager": {
                "LLMNR": _s("yes"),
                "MulticastDNS": _s("resolve"),
                "LLMNRHostname": _s("ATTIC"),
            }
        }
    },
    SYSTEMD: {
        SYSTEMD_PATH: {
            MANAGER: {
                "Virtualization": _s("kvm"),
                "SystemState": _s("running"),
                "FirmwareTimestampMonotonic": _t(1_500_000),
                "LoaderTimestampMonotonic": _t(500_000),
                "KernelTimestampMonotonic": _t(0),
                "UserspaceTimestampMonotonic": _t(3_000_000),
                "FinishTimestampMonotonic": _t(13_250_000),
                "FinishTimestamp": _t(1_767_225_600_000_000),
            }
        }
    },
    TIMEDATE: {
        "/org/freedesktop/timedate1": {
            TIMEDATE: {
                "Timezone": _s("Europe/Berlin"),
                "NTP": _b(True),
                "NTPSynchronized": _b(True),
                "LocalRTC": _b(False),
            }
        }
    },
    TIMESYNC: {
        "/org/freedesktop/timesync1": {
            "org.freedesktop.timesync1.Manager": {
                "SystemNTPServers": Variant("as", []),
                "RuntimeNTPServers": Variant("as", []),
                "FallbackNTPServers": Variant("as", ["time.example", "192.0.2.1"]),
            }
        }
    },
    AGENT: {
        "/io/hass/os": {AGENT: {"Version": _s("1.7.2"), "Diagnostics": _b(False)}},
        "/io/hass/os/AppArmor": {"io.hass.os.AppArmor": {"ParserVersion": _s("3.1.7")}},
    },
}

_UNITS: list[list[Any]] = [
    [name, description, "loaded", active, "running", "", f"{UNIT}/{number}", 0, "", "/"]
    for number, (name, description, active) in enumerate(
        [
            ("ssh.service", "OpenBSD Secure Shell server", "active"),
            ("cron.service", "Regular background program processing daemon", "inactive"),
            ("docker.service", "Docker Application Container Engine", "active"),
            ("dbus.service", "D-Bus System Message Bus", "active"),
        ]
    )
]

ALIASES = {"dbus-org.freedesktop.login1.service": "systemd-logind.service", "sshd.service": "ssh.service"}
"""Other names of units."""


def _units_by_names(names: list[str]) -> list[Any]:
    """Each unit by its own name, whatever it was asked for by, loaded or not: as systemd does."""
    found = []
    for name in names:
        own = ALIASES.get(name, name)
        path = f"{UNIT}/{''.join(c if c.isalnum() else f'_{ord(c):02x}' for c in own)}"
        loaded = "not-found" if own == "nothing.service" else "loaded"
        found.append([own, own, loaded, "inactive", "dead", "", path, 0, "", "/"])
    return [found]


METHODS: dict[tuple[str, str], tuple[str, Any]] = {
    (HOSTNAME, "SetStaticHostname"): ("", []),
    ("org.freedesktop.login1.Manager", "Reboot"): ("", []),
    ("org.freedesktop.login1.Manager", "PowerOff"): ("", []),
    (MANAGER, "Reboot"): ("", []),
    (MANAGER, "PowerOff"): ("", []),
    (MANAGER, "ListUnitsByPatterns"): ("a(ssssssouso)", [_UNITS]),
    (MANAGER, "ListUnitsByNames"): ("a(ssssssouso)", _units_by_names),
    (MANAGER, "StartUnit"): ("o", [f"{SYSTEMD_PATH}/job/1"]),
    (MANAGER, "StopUnit"): ("o", [f"{SYSTEMD_PATH}/job/1"]),
    (MANAGER, "ReloadOrRestartUnit"): ("o", [f"{SYSTEMD_PATH}/job/1"]),
    (MANAGER, "RestartUnit"): ("o", [f"{SYSTEMD_PATH}/job/1"]),
    (MANAGER, "Subscribe"): ("", []),
    (MANAGER, "GetUnitByPID"): ("o", [f"{UNIT}/rooftree_2dtest_2eservice"]),
    ("org.freedesktop.timesync1.Manager", "SetRuntimeNTPServers"): ("", []),
}
"""The answers of methods, or what makes them of the arguments, with their signatures."""

SETTERS: dict[tuple[str, str], tuple[str, str, str]] = {
    (HOSTNAME, "SetStaticHostname"): (HOSTNAME, "StaticHostname", "s"),
    ("org.freedesktop.timesync1.Manager", "SetRuntimeNTPServers"): (
        "org.freedesktop.timesync1.Manager",
        "RuntimeNTPServers",
        "as",
    ),
}
"""Methods whose first argument becomes a property."""

ERRORS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    (MANAGER, method): {
        "nothing.service": ("org.freedesktop.systemd1.NoSuchUnit", "Unit nothing.service not found."),
    }
    for method in ("StartUnit", "StopUnit", "ReloadOrRestartUnit", "RestartUnit")
}
"""What is answered to certain arguments."""

FOLLOWED_BY: dict[tuple[str, str], tuple[str, str, Any]] = {
    (MANAGER, method): (
        "JobRemoved",
        "uoss",
        lambda unit, *_: [
            1,
            f"{SYSTEMD_PATH}/job/{2 if unit == 'endless.service' else 1}",  # of another job than was begun
            unit,
            "failed" if unit == "broken.service" else "done",
        ],
    )
    for method in ("StartUnit", "StopUnit", "ReloadOrRestartUnit", "RestartUnit")
}
"""Signals that follow the answer of a method: name, signature, and what makes the arguments of the method's."""
