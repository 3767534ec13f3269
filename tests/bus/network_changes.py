"""How the NetworkManager of :mod:`tests.bus.network_machine` is changed: profiles, what is in force, checkpoints, and
looking for access points. It does at once what the real one takes its time for.

Its memory may have ``fails_with``: a reason (``NMDeviceStateReason``) for which nothing can be connected.
"""

from __future__ import annotations

import copy
from typing import Any

from dbus_fast import Variant

from tests.bus.machine import NETWORK_MANAGER as NM
from tests.bus.stand_ins import Behaviour, Refused, Service

PATH = "/org/freedesktop/NetworkManager"
PROFILE = f"{NM}.Settings.Connection"
SETTINGS = f"{NM}.Settings"
DEVICE = f"{NM}.Device"
ACTIVE = f"{NM}.Connection.Active"
SECRETS = ("psk", "wep-key0")
UP = 0x1C

type Profile = dict[str, dict[str, Variant]]


def profiles(service: Service) -> dict[str, Profile]:
    """By path, with their secrets."""
    kept: dict[str, Profile] = service.memory["profiles"]
    return kept


def open_profile(profile: Profile) -> Profile:
    """The same without secrets."""
    return {
        name: {key: value for key, value in section.items() if key not in SECRETS} for name, section in profile.items()
    }


def _number(service: Service) -> int:
    service.memory["number"] = service.memory.get("number", 100) + 1
    return int(service.memory["number"])


def _get_secrets(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    (section,) = arguments
    secrets = {key: value for key, value in profiles(service)[path].get(section, {}).items() if key in SECRETS}
    return "a{sa{sv}}", [{section: secrets}]


def _update(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    settings, flags, _ = arguments
    if settings:
        wifi = settings.get("802-11-wireless")
        if wifi is not None and not wifi["ssid"].value:
            raise Refused(f"{SETTINGS}.InvalidProperty", "802-11-wireless.ssid: property is empty")
        old = profiles(service)[path]
        if not any(key in section for section in settings.values() for key in SECRETS):
            for name, section in old.items():  # as the real one does
                kept = {key: value for key, value in section.items() if key in SECRETS}
                if kept and name in settings:
                    settings[name] |= kept
        profiles(service)[path] = settings
    service.change(path, PROFILE, {"Unsaved": Variant("b", bool(flags & 0x2))})
    return "a{sv}", [{}]


def _add(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    settings, flags, _ = arguments
    made = f"{PATH}/Settings/{_number(service)}"
    profiles(service)[made] = settings
    service.objects[made] = {PROFILE: {"Unsaved": Variant("b", bool(flags & 0x2))}}
    return "oa{sv}", [made, {}]


def _delete(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    del profiles(service)[path]
    del service.objects[path]
    return "", []


def _by_uuid(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    for path, profile in profiles(service).items():
        uuid = profile["connection"].get("uuid")
        if uuid is not None and uuid.value == arguments[0]:
            return "o", [path]
    raise Refused(f"{SETTINGS}.InvalidConnection", "No connection with the UUID was found.")


def _applied(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    active = service.objects[path][DEVICE]["ActiveConnection"].value
    if active == "/":
        raise Refused(f"{NM}.Device.NotActive", "Device is not activated")
    kept = service.memory.setdefault("applied", {}).get(path)
    profile = kept or profiles(service)[service.objects[active][ACTIVE]["Connection"].value]
    return "a{sa{sv}}t", [copy.deepcopy(open_profile(profile)), 1]


def _reapply(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    service.memory.setdefault("applied", {})[path] = arguments[0]
    _put_in_force(service, path, arguments[0])
    return "", []


def _put_in_force(service: Service, path: str, profile: Profile) -> None:
    """Let a device have the addresses that are fixed."""
    number = path.rpartition("/")[2]
    for family in ("4", "6"):
        section = profile.get(f"ipv{family}", {})
        addresses = section.get("address-data", Variant("aa{sv}", []))
        gateway = section.get("gateway", Variant("s", ""))
        config = f"{PATH}/IP{family}Config/{number}"
        if section.get("method", Variant("s", "")).value == "auto":
            continue  # it has what it had
        service.objects.setdefault(config, {}).setdefault(f"{NM}.IP{family}Config", {})
        service.change(config, f"{NM}.IP{family}Config", {"AddressData": addresses, "Gateway": gateway})


def _activate(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    profile, device, _ = arguments
    settings = profiles(service)[profile]
    if device == "/":
        device = _made_device(service, settings)
    made = f"{PATH}/ActiveConnection/{_number(service)}"
    reason = service.memory.get("fails_with")
    service.objects[made] = {
        ACTIVE: {
            "State": Variant("u", 4 if reason else 2),
            "StateFlags": Variant("u", UP),
            "Connection": Variant("o", profile),
            "Uuid": settings["connection"]["uuid"],
        }
    }
    service.memory.setdefault("applied", {}).pop(device, None)
    service.change(
        device,
        DEVICE,
        {
            "ActiveConnection": Variant("o", "/" if reason else made),
            "StateReason": Variant("(uu)", [30 if reason else 100, reason or 0]),
        },
    )
    if not reason:
        _put_in_force(service, device, settings)
    return "o", [made]


def _made_device(service: Service, settings: Profile) -> str:
    """A device for a VLAN."""
    number = _number(service)
    path, parent = f"{PATH}/Devices/{number}", settings["vlan"]["parent"].value
    lower = next(at for at, has in service.objects.items() if has.get(DEVICE, {}).get("Interface") is not None
                 and has[DEVICE]["Interface"].value == parent)  # fmt: skip
    service.objects[path] = {
        DEVICE: {
            **copy.deepcopy(service.objects[lower][DEVICE]),
            "Interface": settings["connection"]["interface-name"],
            "DeviceType": Variant("u", 11),
            "ActiveConnection": Variant("o", "/"),
            "Dhcp4Config": Variant("o", "/"),
            "Ip4Config": Variant("o", f"{PATH}/IP4Config/{number}"),
            "Ip6Config": Variant("o", f"{PATH}/IP6Config/{number}"),
        },
        f"{DEVICE}.Vlan": {"VlanId": settings["vlan"]["id"], "Parent": Variant("o", lower)},
    }
    devices = [*service.objects[PATH][NM]["Devices"].value, path]
    service.change(PATH, NM, {"Devices": Variant("ao", devices)})
    return path


def _disconnect(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    _put_in_force(service, path, {})
    service.change(path, DEVICE, {"ActiveConnection": Variant("o", "/")})
    return "", []


def _create(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    devices, *_rest = arguments
    made = f"{PATH}/Checkpoint/{_number(service)}"
    service.objects[made] = {f"{NM}.Checkpoint": {"Devices": Variant("ao", devices)}}
    remembered = {path: copy.deepcopy(has) for path, has in service.objects.items() if "Checkpoint" not in path}
    service.memory.setdefault("checkpoints", {})[made] = (
        remembered, copy.deepcopy(profiles(service)), copy.deepcopy(service.memory.get("applied", {})),
    )  # fmt: skip
    _tell_checkpoints(service)
    return "o", [made]


def _tell_checkpoints(service: Service) -> None:
    service.change(PATH, NM, {"Checkpoints": Variant("ao", list(service.memory["checkpoints"]))})


def _destroy(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    if service.memory.get("checkpoints", {}).pop(arguments[0], None) is None:
        raise Refused(f"{NM}.InvalidArguments", "checkpoint does not exist")
    del service.objects[arguments[0]]
    _tell_checkpoints(service)
    return "", []


def _roll_back(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    remembered, kept, applied = service.memory["checkpoints"][arguments[0]]
    service.memory |= {"profiles": kept, "applied": applied}
    for path, interfaces in remembered.items():
        for interface, values in interfaces.items():
            service.objects.setdefault(path, {}).setdefault(interface, {})
            service.change(path, interface, {key: value for key, value in values.items() if key != "Checkpoints"})
    _destroy(service, PATH, arguments)
    return "a{su}", [{}]


def _adjust(service: Service, _: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    service.memory.setdefault("adjusted", []).append(arguments[1])
    return "", []


def _scan(service: Service, path: str, _: list[Any]) -> tuple[str, list[Any]]:
    """One more access point than before, the name of which is no text."""
    if service.memory.get("scanned"):
        raise Refused(f"{NM}.Device.NotAllowed", "Scanning not allowed immediately following previous scan")
    service.memory["scanned"] = True
    point = f"{PATH}/AccessPoint/9"
    service.objects[point] = {f"{NM}.AccessPoint": access_point(b"\xff\xfeattic", 40, 9)}
    points = [*service.objects[path][f"{DEVICE}.Wireless"]["AccessPoints"].value, point]
    service.change(
        path, f"{DEVICE}.Wireless", {"AccessPoints": Variant("ao", points), "LastScan": Variant("x", 123_456)}
    )
    return "", []


def access_point(ssid: bytes, strength: int, number: int) -> dict[str, Variant]:
    """The properties of one."""
    return {
        "Ssid": Variant("ay", ssid),
        "Strength": Variant("y", strength),
        "Frequency": Variant("u", 2412),
        "Mode": Variant("u", 2),
        "HwAddress": Variant("s", f"02:00:00:00:01:0{number}"),
    }


CHANGES: dict[tuple[str, str], Behaviour] = {
    (PROFILE, "GetSecrets"): _get_secrets,
    (PROFILE, "Update2"): _update,
    (PROFILE, "Delete"): _delete,
    (SETTINGS, "AddConnection2"): _add,
    (SETTINGS, "GetConnectionByUuid"): _by_uuid,
    (DEVICE, "GetAppliedConnection"): _applied,
    (DEVICE, "Reapply"): _reapply,
    (DEVICE, "Disconnect"): _disconnect,
    (NM, "ActivateConnection"): _activate,
    (NM, "CheckpointCreate"): _create,
    (NM, "CheckpointDestroy"): _destroy,
    (NM, "CheckpointRollback"): _roll_back,
    (NM, "CheckpointAdjustRollbackTimeout"): _adjust,
    (f"{DEVICE}.Wireless", "RequestScan"): _scan,
}
