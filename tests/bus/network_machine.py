"""A machine with NetworkManager, as a process: ``python -m tests.bus.network_machine ADDRESS [NAME …]``.

A wire that leads to the internet, a VLAN on it, two wireless cards, a bridge that somebody else made, a VPN, and two
cards that are left alone. How they are to be (``GetSettings``) is in :data:`PROFILES` at first, unless the memory of
the service has ``unreadable``: then it is refused, as to those whose process NetworkManager can't see. How all of this
is changed is in :mod:`tests.bus.network_changes`.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from dbus_fast import Variant

from tests.bus.machine import NETWORK_MANAGER as NM
from tests.bus.machine import Objects
from tests.bus.network_changes import CHANGES, access_point, open_profile, profiles
from tests.bus.stand_ins import Make, Refused, Service, main

PATH = "/org/freedesktop/NetworkManager"
PROFILE = f"{NM}.Settings.Connection"
ETHERNET, WIFI, VLAN, BRIDGE, TUN = 1, 2, 11, 13, 16
UP, UP_BY_OTHERS = 0x1C, 0x9C
"""Flags of active connections: layer 2, IPv4 and IPv6 are ready; the second: set up by somebody else."""


def _device(name: str, kind: int, number: int, *, managed: bool = True, active: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "Interface": Variant("s", name),
        "DeviceType": Variant("u", kind),
        "Managed": Variant("b", managed),
        "HwAddress": Variant("s", f"02:00:00:00:00:0{number}"),
        "ActiveConnection": Variant("o", f"{PATH}/ActiveConnection/{active}" if active else "/"),
        "Dhcp4Config": Variant("o", more.get("dhcp", "/")),
        "Ip4Config": Variant("o", f"{PATH}/IP4Config/{number}" if managed else "/"),
        "Ip6Config": Variant("o", f"{PATH}/IP6Config/{number}" if managed else "/"),
        "StateReason": Variant("(uu)", [100, 0]),
        "Path": Variant("s", ""),
        "AvailableConnections": Variant("ao", []),
    }


def _uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-00000000000{number}"


def _active(number: int, flags: int = UP, state: int = 2) -> dict[str, Any]:
    return {
        "State": Variant("u", state),
        "StateFlags": Variant("u", flags),
        "Connection": Variant("o", f"{PATH}/Settings/{number}"),
        "Uuid": Variant("s", _uuid(number)),
    }


def _addresses(*texts: str) -> Variant:
    pairs = (text.split("/") for text in texts)
    return Variant(
        "aa{sv}", [{"address": Variant("s", host), "prefix": Variant("u", int(bits))} for host, bits in pairs]
    )


def _ip4(*addresses: str, gateway: str = "", nameservers: tuple[str, ...] = (), metric: int = 0) -> dict[str, Any]:
    way = {"dest": Variant("s", "0.0.0.0"), "prefix": Variant("u", 0), "metric": Variant("u", metric)}
    near = {"dest": Variant("s", "10.9.0.0"), "prefix": Variant("u", 24), "metric": Variant("u", 1)}
    return {
        "RouteData": Variant("aa{sv}", [near, way] if metric else [near]),
        "AddressData": _addresses(*addresses),
        "Gateway": Variant("s", gateway),
        "NameserverData": Variant("aa{sv}", [{"address": Variant("s", server)} for server in nameservers]),
    }


def _ip6(*addresses: str, gateway: str = "", nameservers: tuple[bytes, ...] = ()) -> dict[str, Any]:
    return {
        "AddressData": _addresses(*addresses),
        "Gateway": Variant("s", gateway),
        "Nameservers": Variant("aay", list(nameservers)),
    }


DEVICES: dict[int, dict[str, dict[str, Any]]] = {
    1: {f"{NM}.Device": _device("eth0", ETHERNET, 1, active=1, dhcp=f"{PATH}/DHCP4Config/1")},
    2: {
        f"{NM}.Device": _device("eth0.42", VLAN, 2, active=2),
        f"{NM}.Device.Vlan": {"VlanId": Variant("u", 42), "Parent": Variant("o", f"{PATH}/Devices/1")},
    },
    3: {
        f"{NM}.Device": _device("wlan0", WIFI, 3, active=3),
        f"{NM}.Device.Wireless": {
            "ActiveAccessPoint": Variant("o", f"{PATH}/AccessPoint/7"),
            "AccessPoints": Variant("ao", [f"{PATH}/AccessPoint/7"]),
            "LastScan": Variant("x", -1),
        },
    },
    4: {
        f"{NM}.Device": _device("wlan1", WIFI, 4, active=4),
        f"{NM}.Device.Wireless": {
            "ActiveAccessPoint": Variant("o", "/"),
            "AccessPoints": Variant("ao", []),
            "LastScan": Variant("x", -1),
        },
    },
    5: {f"{NM}.Device": _device("docker0", BRIDGE, 5, active=5)},
    6: {f"{NM}.Device": _device("tun0", TUN, 6, active=6)},
    7: {f"{NM}.Device": _device("eth1", ETHERNET, 7)},
    8: {f"{NM}.Device": _device("eth2", ETHERNET, 8, managed=False)},
    9: {f"{NM}.Device": _device("eth9", ETHERNET, 9, managed=False)},
}

NETWORK: dict[str, Objects] = {
    NM: {
        PATH: {
            NM: {
                "Devices": Variant("ao", [f"{PATH}/Devices/{number}" for number in DEVICES]),
                "PrimaryConnection": Variant("o", f"{PATH}/ActiveConnection/1"),
                "Connectivity": Variant("u", 4),
                "ConnectivityCheckEnabled": Variant("b", True),
                "Version": Variant("s", "1.42.4"),
                "Startup": Variant("b", False),
                "Checkpoints": Variant("ao", []),
            }
        },
        **{f"{PATH}/Devices/{number}": interfaces for number, interfaces in DEVICES.items()},
        **{
            f"{PATH}/ActiveConnection/{number}": {
                f"{NM}.Connection.Active": _active(
                    number, UP_BY_OTHERS if number == 5 else UP, state=1 if number == 4 else 2
                )
            }
            for number in range(1, 7)
        },
        **{
            f"{PATH}/IP4Config/{number}": {f"{NM}.IP4Config": config}
            for number, config in {
                1: _ip4("192.0.2.7/24", gateway="192.0.2.1", nameservers=("192.0.2.53",), metric=600),
                2: _ip4("198.51.100.7/24"),
                3: _ip4("203.0.113.7/24", metric=100),  # where a test gives it a gateway
                5: _ip4("172.17.0.1/16"),
            }.items()
        },
        f"{PATH}/IP6Config/1": {
            f"{NM}.IP6Config": _ip6(
                "2001:db8::7/64",
                "fe80::7/64",
                gateway="fe80::1",
                nameservers=(bytes.fromhex("20010db8000000000000000000000053"),),
            )
        },
        f"{PATH}/AccessPoint/7": {f"{NM}.AccessPoint": access_point(b"Caf\xc3\xa9 \xff", 67, 7)},
        **{f"{PATH}/Settings/{number}": {PROFILE: {"Unsaved": Variant("b", False)}} for number in range(1, 7)},
    }
}

_AUTO = {"method": Variant("s", "auto")}
PROFILES: dict[str, dict[str, dict[str, Variant]]] = {
    f"{PATH}/Settings/1": {
        "connection": {"id": Variant("s", "Supervisor eth0"), "mdns": Variant("i", 2), "llmnr": Variant("i", 0)},
        "ipv4": {**_AUTO, "route-metric": Variant("x", 100)},
        "ipv6": {**_AUTO, "addr-gen-mode": Variant("i", 1), "ip6-privacy": Variant("i", 2),
                 "route-metric": Variant("x", -1)},
    },
    f"{PATH}/Settings/2": {
        "connection": {},
        "ipv4": {"method": Variant("s", "manual")},
        "ipv6": {"method": Variant("s", "link-local")},
        "vlan": {"id": Variant("u", 42), "parent": Variant("s", "7f8cb6a3-9a56-4961-aa31-dc97acce83c4")},
    },
    f"{PATH}/Settings/3": {
        "connection": {},
        "ipv4": _AUTO,
        "ipv6": {"method": Variant("s", "a method of the future")},
        "802-11-wireless": {"ssid": Variant("ay", b"Caf\xc3\xa9 \xff"), "mode": Variant("s", "infrastructure")},
        "802-11-wireless-security": {"key-mgmt": Variant("s", "wpa-psk"), "psk": Variant("s", "the key of the café")},
    },
    f"{PATH}/Settings/4": {
        "connection": {},
        "ipv4": _AUTO,
        "ipv6": _AUTO,
        "802-11-wireless": {"ssid": Variant("ay", b"new")},
        "802-11-wireless-security": {"key-mgmt": Variant("s", "wpa-eap")},
    },
    f"{PATH}/Settings/5": {"connection": {}, "ipv4": {"method": Variant("s", "manual")}},
    f"{PATH}/Settings/6": {"connection": {}},
}  # fmt: skip


for _path, _profile in PROFILES.items():
    _profile["connection"] |= {
        "id": _profile["connection"].get("id", Variant("s", _path)), "uuid": Variant("s", _uuid(int(_path[-1]))),
    }  # fmt: skip


def _settings(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    if service.memory.get("unreadable"):
        raise Refused(f"{NM}.Settings.PermissionDenied", "Unable to determine UID of the request")
    profile = copy.deepcopy(open_profile(profiles(service)[path]))
    method = service.memory.get("method")
    if method and path.endswith("/1"):
        profile["ipv4"]["method"] = Variant("s", method)
    return "a{sa{sv}}", [profile]


def _check_connectivity(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    connectivity = service.memory.get("connectivity", 4)
    service.change(path, NM, {"Connectivity": Variant("u", connectivity)})
    return "u", [connectivity]


NETWORK_MACHINE = Make(
    NETWORK,
    {},
    behaviours={(PROFILE, "GetSettings"): _settings, (NM, "CheckConnectivity"): _check_connectivity, **CHANGES},
    memory={NM: {"profiles": PROFILES}},
)

if __name__ == "__main__":
    asyncio.run(main(NETWORK_MACHINE))
