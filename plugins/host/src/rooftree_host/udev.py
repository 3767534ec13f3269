"""What the kernel and udev say of devices, through libudev.

libudev reads ``/sys``, and what the udev daemon found out besides (identities, links) from its database in
``/run/udev``. Where there is no daemon, as in a bare container, devices have only what the kernel says of them: numbers
and names, but no ``ID_…`` and no link. See udev(7) and libudev(3).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyudev
import structlog
from attrs import field, frozen

log = structlog.get_logger(__name__)

DAEMON: Final = Path("/run/udev/control")
"""The socket of the udev daemon."""
QUIET_S: Final = 0.2
"""Uevents come in bursts: this long none has to come before a burst counts as over …"""
BURST_S: Final = 1.0
"""… or so long after its first."""
BATCH: Final = 50
"""Uevents that are read before others have their turn on the event loop."""
PENDING: Final = 500
"""Devices that uevents may be about in one burst; beyond that, everything is looked at."""
RECEIVE_BUFFER_BYTES: Final = 2**20


class UdevMissing(Exception):
    """The library libudev is not installed."""


class UeventsUnavailable(Exception):
    """The kernel does not let us hear of changes."""


@frozen(kw_only=True)
class Entry:
    """A device of ``/sys``, with or without a node below ``/dev``."""

    sysfs: str
    name: str
    node: str | None = None
    """Its path below ``/dev``; without one, nothing of the following is read."""
    subsystem: str | None = None
    parent: str | None = None
    attributes: Mapping[str, str] = field(factory=dict)
    complete: bool = True
    """Whether the udev daemon has said what it knows of it, or there is none."""


class Udev:
    """Reads devices. Its methods block for a moment: they are for threads, one at a time."""

    def __init__(self) -> None:
        self._context = _context()
        self._one_at_a_time = threading.Lock()  # a libudev context is not to be shared between threads

    def all(self) -> dict[str, Entry]:
        """Every device, by path below ``/sys``."""
        with self._one_at_a_time:
            daemon = DAEMON.exists()  # ours: the host's
            entries = (_entry(device, daemon) for device in self._context.list_devices())
            return {entry.sysfs: entry for entry in entries if entry is not None}

    def at(self, paths: Iterable[str]) -> dict[str, Entry | None]:
        """The devices at these paths below ``/sys``; ``None`` where there is none."""
        with self._one_at_a_time:
            daemon = DAEMON.exists()  # ours: the host's
            return {path: self._at(path, daemon) for path in paths}

    def _at(self, path: str, daemon: bool) -> Entry | None:
        try:
            return _entry(pyudev.Devices.from_sys_path(self._context, path), daemon)
        except pyudev.DeviceNotFoundError:
            return None


@frozen
class Changes:
    """What a burst of uevents was about."""

    paths: Mapping[str, bool] = field(factory=dict)
    """Paths below ``/sys``, each with whether the device was away in between."""
    everything: bool = False
    """Some were lost: anything may have changed."""


class Uevents:
    """The uevents of the kernel, and those that the udev daemon sends on when it has done its work.

    Both are listened to. The daemon's are the better ones, but there may be no daemon, or it may be in another network
    namespace, where its messages do not reach us and the kernel's do. Uevents are taken as hints where to look: the
    truth is what is there when the burst is over.
    """

    def __init__(self) -> None:
        self._context = _context()
        self._monitors: list[pyudev.Monitor] = []
        self._paths: dict[str, bool] = {}
        self._lost = False
        self._came = asyncio.Event()

    def open(self) -> None:
        """Begin to hear; raises :class:`UeventsUnavailable`."""
        self.close()
        try:
            for source in ("kernel", "udev"):
                monitor = pyudev.Monitor.from_netlink(self._context, source)
                monitor.start()
                with suppress(OSError):  # not for everybody; the usual size holds some hundred
                    monitor.set_receive_buffer_size(RECEIVE_BUFFER_BYTES)
                self._monitors.append(monitor)
                asyncio.get_running_loop().add_reader(monitor.fileno(), self._readable, monitor)
        except OSError as error:
            self.close()
            raise UeventsUnavailable(str(error)) from error

    def close(self) -> None:
        """Hear no more; may be called twice."""
        for monitor in self._monitors:
            asyncio.get_running_loop().remove_reader(monitor.fileno())
        self._monitors.clear()  # which closes the sockets
        self._paths, self._lost = {}, False
        self._came.clear()

    async def burst(self, within_s: float | None = None) -> Changes:
        """Wait for uevents, until no more come for a moment; where none comes for ``within_s``, nothing has changed."""
        try:
            async with asyncio.timeout(within_s):
                await self._came.wait()
            async with asyncio.timeout(BURST_S):
                while self._came.is_set() and not self._lost:
                    self._came.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(QUIET_S):
                            await self._came.wait()
        except TimeoutError:
            pass
        changes = Changes(self._paths, self._lost)
        self._paths, self._lost = {}, False
        self._came.clear()
        if changes.everything:
            self.open()  # an error stays with its socket
        return changes

    def _readable(self, monitor: pyudev.Monitor) -> None:
        try:
            for _ in range(BATCH):
                device = monitor.poll(0)
                if device is None:
                    return
                with suppress(UnicodeDecodeError):  # a network interface may be called anything
                    self._note(device.sys_path, device.action)
        except OSError:  # more came than the socket could hold
            self._lose(monitor)

    def _note(self, path: str, action: str) -> None:
        if not path.startswith("/sys/devices/"):
            return  # modules and drivers have uevents as well
        self._came.set()
        if path not in self._paths and len(self._paths) == PENDING:
            self._lost = True
        else:
            self._paths[path] = self._paths.get(path, False) or action == "remove"

    def _lose(self, monitor: pyudev.Monitor) -> None:
        log.info("uevents_lost")
        asyncio.get_running_loop().remove_reader(monitor.fileno())
        self._lost = True
        self._came.set()


def _context() -> pyudev.Context:
    try:
        return pyudev.Context()
    except ImportError:
        raise UdevMissing(
            "The library libudev is missing: devices are not shown. Install the package libudev1 (or eudev)"
        ) from None


def _entry(device: pyudev.Device, daemon: bool) -> Entry | None:
    path: str | None = None
    try:
        path = device.sys_path
        if device.device_node is None:  # most have none, and of those no more is of interest
            return Entry(sysfs=path, name=device.sys_name)
        return Entry(
            sysfs=path,
            name=device.sys_name,
            node=device.device_node,
            subsystem=device.subsystem,
            parent=device.parent.sys_path if device.parent is not None else None,
            attributes=_properties(device),
            complete=device.is_initialized or not daemon,
        )
    except (KeyError, OSError, UnicodeDecodeError, pyudev.DeviceNotFoundError) as error:
        # It went while it was read, or its path is no text.
        log.debug("device_unreadable", device=path, reason=repr(error))
        return None


def _properties(device: pyudev.Device) -> dict[str, str]:
    """What udev found out. A value may come from the device itself, and that may say what is no text."""
    properties = dict[str, str]()
    with suppress(UnicodeDecodeError):  # a name, which rules give: those before it are kept
        for name in device.properties:
            try:
                properties[name] = device.properties[name]
            except UnicodeDecodeError as error:
                properties[name] = error.object.decode("utf-8", "replace")
    return properties
