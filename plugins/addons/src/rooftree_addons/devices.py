"""The host's device nodes, as the kernel shows them below /dev and /sys.

What an add-on's options and its cgroup rules need: whether a node is there, its subsystem, its numbers (sysfs(5)).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from attrs import frozen

from rooftree.interfaces.hardware import Device
from rooftree_addons.device_paths import DEV, HOST, SYS, HostTree, node_at, read_attribute, why_not_canonical
from rooftree_addons.raw_access import character_drivers, why_raw
from rooftree_store import DeviceRefused

UART_MAJORS = (204, 188, 166)
VIDEO_MAJORS = (29, 81, 226)
USB_MAJORS = (189, 180)
_DYNAMIC_VIDEO = ("vchiq", "media", "cec", "rpivid-")
_DYNAMIC_GPIO = ("gpiochip", "gpiomem")
_DYNAMIC_USB = ("hidraw",)

type Number = tuple[Literal["c", "b"], int, int]
"""What the kernel knows a device by: its type, major and minor."""


@frozen
class DeviceNode:
    """One device node."""

    path: str
    kind: Literal["c", "b"]
    major: int
    minor: int
    by_id: str | None = None

    @classmethod
    def at(cls, path: str, tree: HostTree = HOST) -> Self | None:
        """The host's node at ``path`` below ``/dev`` (links followed), or ``None``. Blocks for a moment."""
        node = node_at(path, tree)
        if node is None:
            return None
        real, status = node
        kind: Literal["c", "b"] = "c" if stat.S_ISCHR(status.st_mode) else "b"
        by_id = path if path != real else None
        return cls(real, kind, os.major(status.st_rdev), os.minor(status.st_rdev), by_id)

    @property
    def number(self) -> Number:
        """What the kernel knows it by."""
        return self.kind, self.major, self.minor

    @property
    def subsystem(self) -> str | None:
        """The udev subsystem, from sysfs."""
        family = "char" if self.kind == "c" else "block"
        try:
            return Path(f"/sys/dev/{family}/{self.major}:{self.minor}/subsystem").readlink().name  # ours: the kernel's
        except OSError:
            return None

    @property
    def rule(self) -> str:
        """The cgroup rule that allows it."""
        return f"{self.kind} {self.major}:{self.minor} rwm"


def node_of_sysfs(path: str, tree: HostTree = HOST) -> DeviceNode | None:
    """The node of the device with that path below /sys, by the name that its driver gave it (``DEVNAME``)."""
    shown = tree.sys / path.removeprefix(SYS) if path.startswith(SYS) else Path(path)
    lines = (read_attribute(shown / "uevent", tree) or "").splitlines()
    name = next((line.removeprefix("DEVNAME=") for line in lines if line.startswith("DEVNAME=")), None)
    return DeviceNode.at(f"{DEV}{name}", tree) if name else None


@frozen
class ListedDevice:
    """A device as a form offers it."""

    path: str
    by_id: str | None
    subsystem: str | None


def node_of(path: str, tree: HostTree = HOST) -> DeviceNode | None:
    """The device with that node, link, or path below /sys; ``None`` where there is none, or the path is no path of a
    device (:func:`~rooftree_addons.device_paths.why_not_canonical`). Blocks for a moment."""
    if why_not_canonical(path) is not None:
        return None
    return node_of_sysfs(path, tree) if path.startswith(SYS) else DeviceNode.at(path, tree)


type WhyNot = Callable[[DeviceNode], str | None]
"""Why a device may not be had, as the end of a sentence; ``None`` where it may."""


class HostDevices:
    """The devices of the machine the daemon runs on.

    :param known: what the host's plugin knows of them, where it runs; udev's links are known only by it
    :param why_not: which of them may be had; all, where nobody says
    :param unchanged: the paths that are chosen already: nobody asks about them again
    """

    def __init__(
        self, known: Sequence[Device] = (), why_not: WhyNot = lambda _: None, unchanged: Iterable[str] = ()
    ) -> None:
        self._known = known
        self._why_not = why_not
        self._unchanged = frozenset(unchanged)

    def find(self, path: str) -> DeviceNode | None:
        """The device with that node, link or path below /sys; raises :class:`~rooftree_store.DeviceRefused`."""
        wrong = why_not_canonical(path)
        if wrong is not None:
            raise DeviceRefused(wrong)
        node = node_of(path)
        reason = None if node is None or path in self._unchanged else self._why_not(node)
        if reason is not None:
            raise DeviceRefused(reason)
        return node

    def of_subsystem(self, subsystem: str | None) -> Iterable[ListedDevice]:
        """The devices of a subsystem; all where ``None``, or all of the usual subsystems where nobody knows them. Only
        those that may be had."""
        if self._known:
            for device in self._known:
                node = DeviceNode.at(device.dev_path) if subsystem in {None, device.subsystem} else None
                if node is not None and self._why_not(node) is None:
                    yield ListedDevice(device.dev_path, device.by_id, device.subsystem)
            return
        for name in (subsystem,) if subsystem else ("tty", "block", "input", "sound", "video4linux"):
            for entry in sorted(Path(f"/sys/class/{name}").glob("*/dev")):  # ours: the kernel's
                node = node_of_sysfs(str(entry.parent))
                if (
                    node is not None
                    and not entry.parent.name.startswith(("tty1", "ttyS", "loop", "ram"))
                    and self._why_not(node) is None
                ):
                    yield ListedDevice(node.path, None, name)


def majors(names: Iterable[str]) -> list[int]:
    """The major numbers of character devices that the running kernel gave to drivers of these names (/proc/devices,
    proc(5)); none that is another way to memory or to disks, whatever it is called."""
    wanted = tuple(names)
    drivers = character_drivers(HOST)
    return [
        number
        for number, name in drivers.items()
        if name.startswith(wanted) and why_raw(number, None, driver=name, device=None) is None
    ]


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


def other_serial_ports(tree: HostTree = HOST) -> list[DeviceNode]:
    """The serial ports with other majors than the usual ones. What has no device behind it (a console, a terminal of
    the system's) is none."""
    ttys = tree.sys / "class" / "tty"
    nodes = [node_of_sysfs(str(entry.parent), tree) for entry in sorted(ttys.glob("*/device"))]  # ours: the kernel's
    return [
        node
        for node in nodes
        if node is not None
        and node.kind == "c"
        and node.major not in UART_MAJORS
        and why_raw(node.major, node.minor, driver="tty", device=None) is None
    ]


def realtime_budget_us() -> int:
    """Microseconds of real time that the engine may hand on to containers: none unless the kernel has real-time groups
    (cgroup v1 with ``CONFIG_RT_GROUP_SCHED``) and the engine's own group was given some."""
    for group in ("docker", "system.slice"):
        with suppress(OSError, ValueError):
            return int(Path("/sys/fs/cgroup/cpu", group, "cpu.rt_runtime_us").read_text())  # ours: the kernel's
    return 0
