"""Character devices that are no hardware of a house but another way to the machine's memory, its disks, its firmware or
its kernel: by number where the kernel's list has one (Documentation/admin-guide/devices.txt), else by the name under
which the driver registered (/proc/devices).

Three majors are closed but for what is named here, because the kernel puts its own controls there, each minor another:
memory (1), the consoles (4, 5) and "misc" (10). Everything else is hardware unless its driver is named here. What is
on the list is granted only where the user has switched the add-on's protection off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rooftree_addons.device_paths import HostTree, name_of, read_attribute, read_table

MEM: Final = 1
TTY: Final = 4
TTY_AUX: Final = 5
MISC: Final = 10
SCSI_GENERIC: Final = 21

_HARMLESS_MEM: Final = frozenset({3, 5, 7, 8, 9})
"""null, zero, full, random, urandom: what every container has."""
_KMSG: Final = 11
_FIRST_SERIAL: Final = 64
"""Below it, minors of major 4 are the screens and keyboards of the machine itself."""
_HARMLESS_AUX: Final = frozenset({0, 2})
"""tty, ptmx: a process's own terminal."""

HARMLESS_MISC: Final = frozenset(
    {
        "cpu_dma_latency",  # how long the processor may sleep
        "dxg",  # the graphics card of a Windows host
        "fuse",
        "hpet",
        "hw_random",
        "hwrng",
        "kvm",
        "lirc",
        "mali",
        "mali0",
        "mpp_service",  # Rockchip's video codecs
        "pps",
        "ptp",
        "rfkill",
        "rga",  # Rockchip's picture accelerator
        "rknpu",
        "rtc",
        "tun",
        "udmabuf",
        "vchi",
        "vhci",  # a Bluetooth controller in software
        "vhost-net",
        "vhost-vsock",
        "vsock",
        "watchdog",
    }
)
"""Devices of the major "misc" that are hardware, or no more than a container may have anyway. Not here, so refused, are
among others: nvram, snapshot (all memory, for hibernation), loop-control, btrfs-control, device-mapper, autofs, cuse
(devices made of programs), userfaultfd, microcode, mcelog, vfio, iommu, tpm, uinput and uhid (which type on the
machine's own keyboard), nvme-fabrics and the RAID controllers' control channels."""

_MEMORY: Final = "it reaches the machine's memory"
_STORAGE: Final = "it reaches disks past every check"
_FIRMWARE: Final = "it reaches the machine's firmware"
_CONSOLE: Final = "it is the machine's own console"
_KERNEL: Final = "it controls the kernel"

MAJORS: Final[Mapping[int, str]] = {
    7: _CONSOLE,  # vcs: what is on the screens, to read and to write
    90: _STORAGE,  # mtd: flash memory
    97: _STORAGE,  # pg: any command to a drive on the parallel port
    151: _STORAGE,  # DPT's RAID control
    162: _STORAGE,  # raw: any block device under a number of its own
    171: _MEMORY,  # raw1394: FireWire, which reads memory by its address
    177: _MEMORY,  # PCILynx's memory spaces
    200: _STORAGE,  # Veritas' volume control
    202: _MEMORY,  # msr: with it the processor runs any code
}
"""By fixed number."""

DRIVERS: Final[tuple[tuple[str, str], ...]] = (
    ("mem", _MEMORY),
    ("raw", _STORAGE),
    ("mtd", _STORAGE),
    ("ubi", _STORAGE),
    ("bsg", _STORAGE),
    ("nvme", _STORAGE),
    ("ng", _STORAGE),
    ("rpmb", _STORAGE),
    ("mmcrpmb", _STORAGE),
    ("ufs", _STORAGE),
    ("device-mapper", _STORAGE),
    ("aac", _STORAGE),
    ("arcmsr", _STORAGE),
    ("megadev", _STORAGE),
    ("megaraid", _STORAGE),
    ("mpt", _STORAGE),
    ("twa", _STORAGE),
    ("twe", _STORAGE),
    ("twl", _STORAGE),
    ("3w-", _STORAGE),
    ("hpsa", _STORAGE),
    ("hpilo", _FIRMWARE),
    ("dax", _MEMORY),
    ("dimmctl", _MEMORY),
    ("ndctl", _MEMORY),
    ("nd", _MEMORY),
    ("cxl", _MEMORY),
    ("vfio", _MEMORY),
    ("iommufd", _MEMORY),
    ("uio", _MEMORY),
    ("msr", _MEMORY),
    ("cpu/msr", _MEMORY),
    ("cpu/microcode", _FIRMWARE),
    ("vc-mem", _MEMORY),
    ("vcmem", _MEMORY),
    ("vcio", _MEMORY),
    ("mei", _FIRMWARE),
    ("ipmi", _FIRMWARE),
    ("tpm", _FIRMWARE),
    ("teepriv", _FIRMWARE),
    ("switchtec", _MEMORY),
    ("firewire", _MEMORY),
    ("hvc", _CONSOLE),
    ("vcs", _CONSOLE),
    ("kmsg", _KERNEL),
)
"""By how the driver's name begins. uio and vfio hand out a device's memory access, vcio has the Raspberry Pi's firmware
run code that sees all memory, vc-mem shows it; nvme, ng, bsg and the RAID controllers take commands that no block
device's check sees."""

_EXACT: Final = frozenset({"mem", "nd", "raw", "ng"})
"""Names that begin others' as well."""

_NOT_DISKS: Final = frozenset({1, 2, 3, 5, 6, 8, 9, 13})
"""SCSI types that are no disk: tapes, printers, processors, optical drives, scanners, changers, lines, enclosures."""


def why_raw(
    major: int, minor: int | None, *, driver: str | None, device: str | None, scsi_type: int | None = None
) -> str | None:
    """Why a character device is more than hardware; ``None`` where it is not.

    :param minor: ``None`` for all minors of the major
    :param driver: as the kernel registered it, ``None`` where the kernel has no driver with that major
    :param device: what the kernel calls it in sysfs, ``None`` where it does not know it
    :param scsi_type: what a SCSI device says that it is, ``None`` where it does not
    """
    if major == MEM:
        return None if minor in _HARMLESS_MEM else (_KERNEL if minor == _KMSG else _MEMORY)
    if major == TTY and (minor is None or minor < _FIRST_SERIAL):
        return _CONSOLE
    if major == TTY_AUX and minor not in _HARMLESS_AUX:
        return _CONSOLE
    if major == MISC:
        return None if device in HARMLESS_MISC else f"{device or 'it'} is a control of the kernel's, or not known"
    if major == SCSI_GENERIC:
        return None if scsi_type in _NOT_DISKS else _STORAGE
    if major in MAJORS:
        return MAJORS[major]
    if driver is None:
        return "the kernel has no driver for it now, and the number may be anything's next"
    for name in (driver, device):
        for beginning, reason in DRIVERS if name else ():
            if name == beginning or (name and name.startswith(beginning) and beginning not in _EXACT):
                return reason
    return None


def why_raw_node(major: int, minor: int, tree: HostTree, drivers: Mapping[int, str] | None = None) -> str | None:
    """The same of a character device of this host. Blocks for a moment.

    :param drivers: what :func:`character_drivers` answered, for who asks about many
    """
    known = character_drivers(tree) if drivers is None else drivers
    shown = tree.sys / "dev" / "char" / f"{major}:{minor}"
    device = name_of(shown)
    device_type = read_attribute(shown / "device" / "type", tree) if major == SCSI_GENERIC else None
    scsi_type = int(device_type) if device_type and device_type.strip().isdigit() else None
    return why_raw(major, minor, driver=known.get(major), device=device, scsi_type=scsi_type)


def character_drivers(tree: HostTree) -> dict[int, str]:
    """The drivers of character devices by major number (proc(5)); of several that share one, the first."""
    drivers: dict[int, str] = {}
    for line in read_table(Path(tree.proc, "devices")):
        if line.startswith("Block devices"):
            break
        number, _, name = line.strip().partition(" ")
        if number.isdigit():
            drivers.setdefault(int(number), name)
    return drivers
