"""The host's device nodes, as the kernel shows them below /dev and /sys.

What an add-on's options and its cgroup rules need: whether a node is there, its subsystem, its numbers (sysfs(5)).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from attrs import frozen

from rooftree.interfaces.hardware import Device

UART_MAJORS = (204, 188, 166)
SYSTEM_LABEL = "hassos"
VIDEO_MAJORS = (29, 81, 226)
USB_MAJORS = (189, 180)
_DYNAMIC_VIDEO = ("vchiq", "media", "cec", "rpivid-")
_DYNAMIC_GPIO = ("gpiochip", "gpiomem")
_DYNAMIC_USB = ("hidraw",)


@frozen
class DeviceNode:
    """One device node."""

    path: str
    kind: Literal["c", "b"]
    major: int
    minor: int
    by_id: str | None = None

    @classmethod
    def at(cls, path: str) -> Self | None:
        """The node at ``path`` (links followed), or ``None`` where there is none. Blocks for a moment."""
        try:
            real = os.path.realpath(path)
            status = Path(real).stat()
        except OSError:
            return None
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            return None
        kind: Literal["c", "b"] = "c" if stat.S_ISCHR(status.st_mode) else "b"
        by_id = path if path.startswith("/dev/") and path != real else None
        return cls(real, kind, os.major(status.st_rdev), os.minor(status.st_rdev), by_id)

    @property
    def subsystem(self) -> str | None:
        """The udev subsystem, from sysfs."""
        family = "char" if self.kind == "c" else "block"
        try:
            return Path(f"/sys/dev/{family}/{self.major}:{self.minor}/subsystem").readlink().name
        except OSError:
            return None

    @property
    def rule(self) -> str:
        """The cgroup rule that allows it."""
        return f"{self.kind} {self.major}:{self.minor} rwm"


def node_of_sysfs(path: str) -> DeviceNode | None:
    """The node of the device with that path below /sys, by the name that its driver gave it (``DEVNAME``)."""
    try:
        lines = Path(path, "uevent").read_text().splitlines()
    except OSError:
        return None
    name = next((line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME=")), None)
    return DeviceNode.at(f"/dev/{name}") if name else None


def system_disks(by_label: Path = Path("/dev/disk/by-label"), blocks: Path = Path("/sys/class/block")) -> set[str]:
    """The nodes of the operating system's own partitions (their labels begin with ``hassos``), and of the disks that
    these are on: whoever may write there owns the machine."""
    found = set()
    for label in by_label.glob(f"{SYSTEM_LABEL}*"):
        partition = Path(os.path.realpath(label))
        disk = Path(os.path.realpath(blocks / partition.name)).parent.name
        found |= {str(partition), *([str(partition.with_name(disk))] if (blocks / disk).exists() else [])}
    return found


@frozen
class ListedDevice:
    """A device as a form offers it."""

    path: str
    by_id: str | None
    subsystem: str | None


class HostDevices:
    """The devices of the machine the daemon runs on.

    :param known: what the host's plugin knows of them, where it runs; udev's links are known only by it
    """

    def __init__(self, known: Sequence[Device] = ()) -> None:
        self._known = known

    def find(self, path: str) -> DeviceNode | None:
        """The device with that node, link or path below /sys."""
        if path.startswith("/sys/"):
            return node_of_sysfs(path)
        return DeviceNode.at(path) if path.startswith("/dev/") else None

    def of_subsystem(self, subsystem: str | None) -> Iterable[ListedDevice]:
        """The devices of a subsystem; all where ``None``, or all of the usual subsystems where nobody knows them."""
        if self._known:
            for device in self._known:
                if subsystem in {None, device.subsystem}:
                    yield ListedDevice(device.dev_path, device.by_id, device.subsystem)
            return
        for name in (subsystem,) if subsystem else ("tty", "block", "input", "sound", "video4linux"):
            for entry in sorted(Path(f"/sys/class/{name}").glob("*/dev")):
                node = DeviceNode.at(f"/dev/{entry.parent.name}")
                if node is not None and not entry.parent.name.startswith(("tty1", "ttyS", "loop", "ram")):
                    yield ListedDevice(node.path, None, name)


def majors(names: Iterable[str]) -> list[int]:
    """The major numbers that the running kernel gave to drivers of these names (/proc/devices, proc(5))."""
    wanted = tuple(names)
    found = []
    for line in Path("/proc/devices").read_text().split("Block devices")[0].splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdigit() and name.startswith(wanted):
            found.append(int(number))
    return found


def class_rules(*, uart: bool, video: bool, gpio: bool, usb: bool) -> list[str]:
    """The rules for whole classes of devices that an add-on asks for."""
    ttys = other_serial_ports() if uart else []
    wanted = [
        *(UART_MAJORS if uart else ()),
        *((*VIDEO_MAJORS, *majors(_DYNAMIC_VIDEO)) if video else ()),
        *(majors(_DYNAMIC_GPIO) if gpio else ()),
        *((*USB_MAJORS, *majors(_DYNAMIC_USB)) if usb else ()),
    ]
    return [*(f"c {major}:* rwm" for major in dict.fromkeys(wanted)), *(tty.rule for tty in ttys)]


def other_serial_ports(ttys: Path = Path("/sys/class/tty")) -> list[DeviceNode]:
    """The serial ports with other majors than the usual ones. What has no device behind it (a console, a terminal of
    the system's) is none."""
    nodes = [node_of_sysfs(str(entry.parent)) for entry in sorted(ttys.glob("*/device"))]
    return [node for node in nodes if node is not None and node.kind == "c" and node.major not in UART_MAJORS]


def realtime_budget_us() -> int:
    """Microseconds of real time that the engine may hand on to containers: none unless the kernel has real-time groups
    (cgroup v1 with ``CONFIG_RT_GROUP_SCHED``) and the engine's own group was given some."""
    for group in ("docker", "system.slice"):
        with suppress(OSError, ValueError):
            return int(Path("/sys/fs/cgroup/cpu", group, "cpu.rt_runtime_us").read_text())
    return 0
