"""What UDisks2 would have on the bus of a machine with an SSD, a memory stick and an empty card reader."""

from __future__ import annotations

from typing import Any

from dbus_fast import Variant

from tests.bus.machine import UDISKS, Objects

ROOT = "/org/freedesktop/UDisks2"
DRIVE = f"{UDISKS}.Drive"
BLOCK = f"{UDISKS}.Block"
FILESYSTEM = f"{UDISKS}.Filesystem"
SSD = f"{ROOT}/drives/CT500MX500SSD1_2102E4F1A9B0"
STICK = f"{ROOT}/drives/SanDisk_Cruzer_Blade_4C530001230120115142"
READER = f"{ROOT}/drives/Generic_Card_Reader_058F63666433"
SIGNATURES = {bool: "b", str: "s", int: "t", bytes: "ay"}


def block(name: str) -> str:
    """The path of a block device."""
    return f"{ROOT}/block_devices/{name}"


def properties(**values: Any) -> dict[str, Variant]:
    """Properties of the signatures that UDisks2 has for such values."""
    return {
        name: value if isinstance(value, Variant) else Variant(SIGNATURES[type(value)], value)
        for name, value in values.items()
    }


def mounted(*folders: str) -> Variant:
    """Mount points, as UDisks2 has them."""
    return Variant("aay", [folder.encode() + b"\0" for folder in folders])


def _block(name: str, drive: str, size: int, **more: Any) -> dict[str, Variant]:
    usual = {"Id": f"by-uuid-{name}", "IdLabel": "", "HintName": "", "HintSystem": True}
    return properties(Device=f"/dev/{name}".encode() + b"\0", Drive=Variant("o", drive), Size=size, **{**usual, **more})


def _drive(vendor: str, model: str, serial: str, size: int, **more: Any) -> dict[str, Variant]:
    usual = {"Revision": "1.00", "Seat": "seat0", "ConnectionBus": "", "Removable": False, "Ejectable": False}
    id_ = "-".join(part.replace(" ", "-") for part in (vendor, model, serial) if part)
    detected_us = 1_676_497_462_504_878
    return properties(
        Vendor=vendor, Model=model, Serial=serial, Id=id_, Size=size, TimeDetected=detected_us, **{**usual, **more}
    )


def disks() -> Objects:
    """UDisks2's objects."""
    usb = {"ConnectionBus": "usb", "Removable": True, "Ejectable": True}
    return {
        SSD: {DRIVE: _drive("", "CT500MX500SSD1", "2102E4F1A9B0", 500_107_862_016)},
        STICK: {DRIVE: _drive("SanDisk", "Cruzer Blade", "4C530001230120115142", 8_004_304_896, **usb)},
        READER: {DRIVE: _drive("Generic", "Card Reader", "058F63666433", 0, **usb)},
        block("sda"): {BLOCK: _block("sda", SSD, 500_107_862_016)},
        block("sda1"): {
            BLOCK: _block("sda1", SSD, 536_870_912, IdLabel="EFI"),
            FILESYSTEM: properties(MountPoints=mounted("/boot/efi")),
        },
        block("sda2"): {
            BLOCK: _block("sda2", SSD, 499_569_942_528),
            FILESYSTEM: properties(MountPoints=mounted("/", "/var/lib/docker")),
        },
        block("sdb1"): {
            BLOCK: _block("sdb1", STICK, 8_003_256_320, IdLabel="PHOTOS", HintName="Holidays", HintSystem=False),
            FILESYSTEM: properties(MountPoints=mounted()),
        },
        block("loop0"): {
            BLOCK: _block("loop0", "/", 4096),
            FILESYSTEM: properties(MountPoints=mounted("/snap/x")),
        },
    }
