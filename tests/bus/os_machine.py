"""A machine with Home Assistant OS, as a process: ``python -m tests.bus.os_machine ADDRESS [NAME …]``.

A Yellow with two slots, the OS agent, and some disks. rauc installs what it is told to, if the file is there: its
content is ``bundle <version>``. The memory of a service says what it does otherwise (order ``remember``): with ``hold``
rauc stops in the middle, with ``fail`` it fails for that reason; systemd ends jobs with ``result``, or never where that
is empty.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from dbus_fast import Variant

from tests.bus.machine import AGENT, HOSTNAME, LOGIN, MACHINE, METHODS, SYSTEMD, SYSTEMD_PATH, UDISKS, Objects
from tests.bus.machine import MANAGER as UNITS
from tests.bus.stand_ins import Make, Refused, Service, main

RAUC = "de.pengutronix.rauc"
INSTALLER = "de.pengutronix.rauc.Installer"
CPE = "cpe:2.3:o:home-assistant:haos:{version}:*:production:*:*:*:{board}:*"
RUNS, OTHER = "16.0", "15.2"
"""The versions in the two slots."""
FREE, MOUNTED, SWAPPING, SMALL, VOLUME, OPENED, EMPTY, EARLIER = (f"/dev/sd{letter}" for letter in "abcdefgh")
EMMC = "/dev/mmcblk0"
GIB = 1024**3
LARGE = 1 << 50
"""Bytes: more than any data folder of a test has."""


def _board(name: str, lights: list[str]) -> dict[str, dict[str, Variant]]:
    return {f"io.hass.os.Boards.{name}": {light: Variant("b", True) for light in lights}}


AGENT_OBJECTS: Objects = {
    **MACHINE[AGENT],
    "/io/hass/os/DataDisk": {"io.hass.os.DataDisk": {"CurrentDevice": Variant("s", f"{EMMC}p8")}},
    "/io/hass/os/CGroup": {"io.hass.os.CGroup": {}},
    "/io/hass/os/System": {"io.hass.os.System": {}},
    "/io/hass/os/Config/Swap": {
        "io.hass.os.Config.Swap": {"SwapSize": Variant("s", "2G"), "Swappiness": Variant("i", 1)}
    },
    "/io/hass/os/Boards": {"io.hass.os.Boards": {"Board": Variant("s", "Yellow")}},
    "/io/hass/os/Boards/Yellow": _board("Yellow", ["DiskLED", "HeartbeatLED", "PowerLED"]),
    "/io/hass/os/Boards/Green": _board("Green", ["ActivityLED", "PowerLED", "UserLED"]),
    "/io/hass/os/Boards/Supervised": {"io.hass.os.Boards.Supervised": {}},
    "/io/hass/os/Boards/RaspberryPi/Firmware": {
        "io.hass.os.Boards.RaspberryPi.Firmware": {
            "CurrentVersion": Variant("s", "1618412973"),
            "LatestVersion": Variant("s", "1733160348"),
            "UpdateAvailable": Variant("b", True),
            "UpdateBlocked": Variant("b", False),
            "UpdatePending": Variant("b", False),
            "BlockedReason": Variant("s", ""),
        }
    },
}

# --- disks ------------------------------------------------------------------------------------------------------------

UDISKS_PATH = "/org/freedesktop/UDisks2"


def _path(device: str) -> str:
    return f"{UDISKS_PATH}/block_devices/{device.rpartition('/')[2]}"


def _drive(name: str) -> str:
    return f"{UDISKS_PATH}/drives/{name.replace('-', '_')}"


def _block(device: str, drive: str, size: int, **more: Variant) -> dict[str, dict[str, Variant]]:
    raw = device.encode() + b"\0"
    said = {
        "Device": Variant("ay", raw),
        "PreferredDevice": Variant("ay", raw),
        "Symlinks": Variant("aay", []),
        "Drive": Variant("o", drive),
        "Size": Variant("t", size),
        "ReadOnly": Variant("b", False),
        "IdUsage": Variant("s", ""),
        "IdType": Variant("s", ""),
        "IdLabel": Variant("s", ""),
        "CryptoBackingDevice": Variant("o", "/"),
        "MDRaidMember": Variant("o", "/"),
        **more,
    }
    return {"org.freedesktop.UDisks2.Block": said}


def _disk(device: str, name: str, size: int, *, vendor: str = "Acme", **drive: Variant) -> Objects:
    said = {
        "Id": Variant("s", name),
        "Vendor": Variant("s", vendor),
        "Model": Variant("s", name.partition("-")[0]),
        "Serial": Variant("s", name.partition("-")[2]),
        "Optical": Variant("b", False),
        **drive,
    }
    return {
        _drive(name): {"org.freedesktop.UDisks2.Drive": said},
        _path(device): _block(device, _drive(name), size),
    }


def _partition(
    device: str, disk: str, drive: str, *, name: str = "", mounted: str | None = None, **block: Variant
) -> Objects:
    interfaces = _block(device, _drive(drive), GIB, **block)
    table = {"Table": Variant("o", _path(disk)), "Name": Variant("s", name), "Type": Variant("s", "")}
    interfaces["org.freedesktop.UDisks2.Partition"] = table
    if mounted is not None:
        points = Variant("aay", [mounted.encode() + b"\0"] if mounted else [])
        interfaces["org.freedesktop.UDisks2.Filesystem"] = {"MountPoints": points}
    return {_path(device): interfaces}


DISKS: Objects = {
    UDISKS_PATH: {},
    **_disk(EMMC, "eMMC-0001", LARGE, vendor=""),
    # The drive's special area, which looks like a disk of its own.
    _path(f"{EMMC}boot0"): _block(f"{EMMC}boot0", _drive("eMMC-0001"), 4 * 1024**2),
    **_partition(f"{EMMC}p1", EMMC, "eMMC-0001", name="hassos-boot", mounted="/mnt/boot"),
    **_partition(f"{EMMC}p8", EMMC, "eMMC-0001", name="hassos-data", mounted="/mnt/data"),
    **_disk(FREE, "SSD-0002", LARGE),
    **_partition(f"{FREE}1", FREE, "SSD-0002", name="photos", mounted=""),
    **_disk(MOUNTED, "Stick-0003", LARGE),
    **_partition(f"{MOUNTED}1", MOUNTED, "Stick-0003", mounted="/media/stick"),
    **_disk(SWAPPING, "Disk-0004", LARGE),
    **_disk(SMALL, "Tiny-0005", 4096),
    **_disk(VOLUME, "Array-0006", LARGE),
    **_partition(f"{VOLUME}1", VOLUME, "Array-0006", IdUsage=Variant("s", "raid"), IdType=Variant("s", "LVM2_member")),
    **_disk(OPENED, "Vault-0007", LARGE),
    "/org/freedesktop/UDisks2/block_devices/dm_0": _block(
        "/dev/dm-0", "/", GIB, CryptoBackingDevice=Variant("o", _path(OPENED))
    ),
    **_disk(EMPTY, "Reader-0008", 0),
    **_disk(EARLIER, "Old-0009", LARGE),
    **_partition(f"{EARLIER}1", EARLIER, "Old-0009", name="hassos-system0", mounted=""),
    **_disk("/dev/sr0", "DVD-0010", LARGE, Optical=Variant("b", True)),
}
DISKS[_path(SWAPPING)]["org.freedesktop.UDisks2.Swapspace"] = {"Active": Variant("b", True)}
DISKS[_path(FREE)]["org.freedesktop.UDisks2.PartitionTable"] = {"Type": Variant("s", "dos")}


def _format(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    """Everything that was on the disk is gone."""
    for each, said in list(service.objects.items()):
        table = said.get("org.freedesktop.UDisks2.Partition", {}).get("Table")
        if table is not None and table.value == path:
            del service.objects[each]
    service.objects[path]["org.freedesktop.UDisks2.PartitionTable"] = {"Type": Variant("s", arguments[0])}
    return "", []


def _create_partition(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    _, _, kind, name, _ = arguments
    block = service.objects[path]["org.freedesktop.UDisks2.Block"]
    device = block["Device"].value.rstrip(b"\0").decode() + "1"
    drive = block["Drive"].value.rpartition("/")[2]  # the name with underscores, which makes the same path
    made = _partition(device, path, drive, name=name)
    made[_path(device)]["org.freedesktop.UDisks2.Partition"] |= {
        "Table": Variant("o", path),
        "Type": Variant("s", kind),
    }
    service.objects.update(made)
    return "o", [_path(device)]


# --- rauc -------------------------------------------------------------------------------------------------------------


def _slots(service: Service) -> dict[str, dict[str, Variant]]:
    slots: dict[str, dict[str, Variant]] = service.memory.setdefault(
        "slots",
        {
            "kernel.0": {
                "bootname": Variant("s", "A"),
                "state": Variant("s", "booted"),
                "boot-status": Variant("s", "bad"),
                "bundle.version": Variant("s", RUNS),
            },
            "kernel.1": {
                "bootname": Variant("s", "B"),
                "state": Variant("s", "inactive"),
                "boot-status": Variant("s", "good"),
                "bundle.version": Variant("s", OTHER),
            },
            "rootfs.0": {"parent": Variant("s", "kernel.0"), "state": Variant("s", "active")},
        },
    )
    return slots


def _slot_status(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    return "a(sa{sv})", [[[name, said] for name, said in _slots(service).items()]]


def _primary(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    return "s", [service.memory.setdefault("primary", "kernel.0")]


def _mark(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    state, wanted = arguments
    name = {"booted": "kernel.0", "other": "kernel.1"}.get(wanted, wanted)
    if state == "active":
        service.memory["primary"] = name
    else:
        _slots(service)[name]["boot-status"] = Variant("s", state)
    return "ss", [name, f"marked slot {name} as {state}"]


def _install(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    if service.objects["/"][INSTALLER]["Operation"].value != "idle":
        raise Refused("org.gtk.GDBus.UnmappedGError.Quark", "Already processing a different method")
    service.change("/", INSTALLER, {"Operation": Variant("s", "installing"), "LastError": Variant("s", "")})
    service.begin(_installing(service, Path(arguments[0])))
    return "", []


async def _installing(service: Service, bundle: Path) -> None:
    error = ""
    for per_cent in (0, 20, 40, 60, 80, 100):
        if per_cent == 60:
            while service.memory.get("hold"):
                await asyncio.sleep(0.01)
            error = service.memory.get("fail", "")
            if error:
                break
        service.change("/", INSTALLER, {"Progress": Variant("(isi)", [per_cent, "Copying image", 1])})
        await asyncio.sleep(0.02)
    text = await asyncio.to_thread(bundle.read_text) if bundle.exists() else ""
    if not error and not text.startswith("bundle "):
        error = f"Failed to open {bundle}: it is no bundle"
    if not error:
        _slots(service)["kernel.1"] |= {"bundle.version": Variant("s", text.removeprefix("bundle ").split()[0])}
        service.memory["primary"] = "kernel.1"
    service.change("/", INSTALLER, {"Operation": Variant("s", "idle"), "LastError": Variant("s", error)})
    service.signal("/", INSTALLER, "Completed", "i", [1 if error else 0])


# --- systemd and the agent --------------------------------------------------------------------------------------------


def _restart_unit(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    if arguments[0] == "nothing.service":
        raise Refused("org.freedesktop.systemd1.NoSuchUnit", f"Unit {arguments[0]} not found.")
    service.begin(_unit_restarted(service, arguments[0]))
    return "o", [f"{SYSTEMD_PATH}/job/7"]


async def _unit_restarted(service: Service, unit: str) -> None:
    await asyncio.sleep(0.02)
    if service.memory.get("result") == "":
        return  # it hangs
    for number, result in ((6, "failed"), (7, service.memory.get("result", "done"))):
        arguments = [number, f"{SYSTEMD_PATH}/job/{number}", unit, result]
        service.signal(SYSTEMD_PATH, UNITS, "JobRemoved", "uoss", arguments)


def _update_firmware(service: Service, path: str, arguments: list[Any]) -> tuple[str, list[Any]]:
    service.change(path, "io.hass.os.Boards.RaspberryPi.Firmware", {"UpdatePending": Variant("b", True)})
    return "", []


HAOS = Make(
    objects={
        HOSTNAME: {
            "/org/freedesktop/hostname1": {
                HOSTNAME: {
                    **MACHINE[HOSTNAME]["/org/freedesktop/hostname1"][HOSTNAME],
                    "OperatingSystemCPEName": Variant("s", CPE.format(version=RUNS, board="yellow")),
                    "OperatingSystemPrettyName": Variant("s", f"Home Assistant OS {RUNS}"),
                }
            }
        },
        LOGIN: MACHINE[LOGIN],
        SYSTEMD: MACHINE[SYSTEMD],
        AGENT: AGENT_OBJECTS,
        UDISKS: DISKS,
        RAUC: {
            "/": {
                INSTALLER: {
                    "Operation": Variant("s", "idle"),
                    "LastError": Variant("s", ""),
                    "Progress": Variant("(isi)", [0, "", 0]),
                    "Compatible": Variant("s", "haos-yellow"),
                    "Variant": Variant("s", ""),
                    "BootSlot": Variant("s", "A"),
                }
            }
        },
    },
    methods={
        **METHODS,
        ("io.hass.os.DataDisk", "MarkDataMove"): ("", []),
        ("io.hass.os.DataDisk", "ChangeDevice"): ("b", [True]),
        ("io.hass.os.System", "ScheduleWipeDevice"): ("b", [True]),
    },
    behaviours={
        (INSTALLER, "GetSlotStatus"): _slot_status,
        (INSTALLER, "GetPrimary"): _primary,
        (INSTALLER, "Mark"): _mark,
        (INSTALLER, "InstallBundle"): _install,
        (UNITS, "RestartUnit"): _restart_unit,
        ("org.freedesktop.UDisks2.Block", "Format"): _format,
        ("org.freedesktop.UDisks2.PartitionTable", "CreatePartition"): _create_partition,
        ("io.hass.os.Boards.RaspberryPi.Firmware", "Update"): _update_firmware,
    },
)

if __name__ == "__main__":
    asyncio.run(main(HAOS))
