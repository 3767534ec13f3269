"""The host's devices: what is there, kept true by uevents, and told to the other domains.

Two things go on. One follows the uevents and keeps what is known: it never waits for anybody. The other tells the
hooks, one device after the other, and only ever what is still different from what they were told: however often a
device comes and goes while a hook takes its time, there is nothing to queue, and the last that a hook hears is true.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from attrs import frozen

from rooftree import Event, Kernel, Problem
from rooftree.interfaces.hardware import Device, DeviceAdded, DeviceChanged, DeviceRemoved
from rooftree.interfaces.hooks import hardware_added, hardware_removed
from rooftree_host.udev import Changes, Entry, Udev, UdevMissing, Uevents, UeventsUnavailable

log = structlog.get_logger(__name__)

UNWATCHED: Final = Problem(
    "hardware_monitor",
    message=(
        "The kernel does not let Rooftree hear of devices that come and go (a netlink socket is needed): they are "
        "looked for twice a minute instead"
    ),
)
LOOK_S: Final = 30.0
"""Seconds between looks where no uevents are to be heard."""
AGAIN_S: Final = 0.3
"""Seconds after which a device is looked at again that the udev daemon has not finished with …"""
COMPLETE_S: Final = 5.0
"""… and after which it is taken as it is."""
HIDDEN: Final = {
    "tty": ("tty", "console", "ptmx"),
    "vc": ("vcs",),
    "block": ("loop", "ram", "zram"),
}
"""Beginnings of names of virtual devices that the kernel makes by the dozen, whether anybody uses them or not."""


@frozen
class Shown:
    """A device that is shown."""

    device: Device
    appearance: int
    """How many times a device at that path had vanished before: one that was away is another one."""


class HostDevices:
    """:class:`~rooftree.interfaces.hardware.Hardware`.

    :param publish: told of what changes
    :param tell: told, one at a time, of devices that appeared (``True``) or vanished
    :param report: told whether uevents can't be heard
    """

    def __init__(
        self,
        udev: Udev | None,
        *,
        publish: Callable[[Event], None],
        tell: Callable[[Device, bool], Awaitable[object]],
        report: Callable[[bool], None],
    ) -> None:
        self._udev = udev
        self._publish = publish
        self._tell = tell
        self._report = report
        self._uevents: Uevents | None = None
        self._entries: dict[str, Entry] = {}
        self._appearances: dict[str, int] = {}
        self._incomplete: dict[str, float] = {}
        self._shown: dict[str, Shown] = {}
        self._devices: tuple[Device, ...] = ()
        self._by_path: dict[str, Device] = {}
        self._told: dict[str, Shown] = {}
        self._news = asyncio.Event()
        self._looking = asyncio.Lock()
        self._followed = False
        self._revision = 0

    @classmethod
    async def load(cls, kernel: Kernel) -> HostDevices:
        """What there is now: nobody is told of what was there already."""
        try:
            udev = await asyncio.to_thread(Udev)
        except UdevMissing as error:
            kernel.problems.report(Problem("hardware_monitor", message=str(error)))
            udev = None

        async def tell(device: Device, there: bool) -> None:
            await kernel.call(hardware_added if there else hardware_removed, device)

        def report(unwatched: bool) -> None:
            if unwatched:
                kernel.problems.report(UNWATCHED)
            else:
                kernel.problems.clear(UNWATCHED.type, UNWATCHED.context)

        devices = cls(udev, publish=kernel.publish, tell=tell, report=report)
        await devices.begin()
        return devices

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> str:
        """Changes with what is known."""
        return str(self._revision)

    def devices(self) -> Sequence[Device]:
        return self._devices

    def device(self, path: str) -> Device | None:
        """The device with that node, link or path below ``/sys``."""
        return self._by_path.get(path)

    async def begin(self) -> None:
        """Look at everything for the first time."""
        if self._udev is None:
            return
        self._listen(await asyncio.to_thread(Uevents))  # before the look, so that nothing falls between them
        self._entries = await asyncio.to_thread(self._udev.all)
        self._show(publish=False)
        self._told = dict(self._shown)

    async def reload(self) -> None:
        """Look at everything anew."""
        if self._udev is not None:
            await self._look(Changes(everything=True))

    def close(self) -> None:
        if self._uevents is not None:
            self._uevents.close()
            self._uevents = None

    # --- following ----------------------------------------------------------------------------------------------------

    def _listen(self, uevents: Uevents) -> None:
        try:
            uevents.open()
        except UeventsUnavailable as error:
            self._cannot_listen(error)
        else:
            self._uevents = uevents
            self._report(False)

    def _cannot_listen(self, error: UeventsUnavailable) -> None:
        log.warning("uevents_unavailable", reason=str(error))
        self._uevents = None
        self._report(True)

    async def follow(self) -> None:
        """Keep what is known true, for ever; nothing to do without libudev."""
        if self._followed:
            await self.reload()  # it failed, and with it went what it had heard of
        self._followed = True
        while self._udev is not None:
            if self._uevents is None:
                await asyncio.sleep(LOOK_S)
                await self.reload()
                continue
            try:
                changes = await self._uevents.burst(AGAIN_S if self._incomplete else None)
            except UeventsUnavailable as error:
                self._cannot_listen(error)
                changes = Changes(everything=True)
            await self._look(changes)

    async def _look(self, changes: Changes) -> None:
        """Read what may have changed, and show it."""
        assert self._udev is not None
        async with self._looking:
            if changes.everything:
                entries = dict[str, Entry | None].fromkeys(self._entries) | await asyncio.to_thread(self._udev.all)
            else:
                entries = await asyncio.to_thread(self._udev.at, {*changes.paths, *self._incomplete})
            for path, entry in entries.items():
                self._take(path, entry, was_away=changes.paths.get(path, False))
            self._show(publish=True)

    def _take(self, path: str, entry: Entry | None, *, was_away: bool) -> None:
        if (entry is None or was_away) and self._entries.pop(path, None) is not None and path in self._shown:
            self._appearances[path] = self._appearances.get(path, 0) + 1
        if entry is None:
            self._incomplete.pop(path, None)
            return
        now = asyncio.get_running_loop().time()
        if not entry.complete and entry.node and path not in self._entries:
            if now < self._incomplete.setdefault(path, now + COMPLETE_S):
                return
            log.info("device_without_udev", device=path, waited_s=COMPLETE_S)
        self._incomplete.pop(path, None)
        self._entries[path] = entry

    def _show(self, *, publish: bool) -> None:
        before = self._shown
        self._shown = {
            device.sysfs: Shown(device, self._appearances.get(device.sysfs, 0))
            for device in shown_devices(self._entries)
        }
        if self._shown == before:
            return
        self._devices = tuple(shown.device for shown in self._shown.values())
        self._by_path = {path: device for device in self._devices for path in _paths(device)}
        self._revision += 1
        self._news.set()
        if publish:
            for event in _events(before, self._shown):
                self._publish(event)

    # --- telling ------------------------------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Tell the hooks of what they were not told of, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while (news := self._untold()) is not None:
                await self._tell(*news)

    def _untold(self) -> tuple[Device, bool] | None:
        """The next device to tell of, as it is now, and whether it is there; noted as told."""
        for path, told in self._told.items():
            now = self._shown.get(path)
            if now is None or now.appearance != told.appearance:
                del self._told[path]
                return told.device, False
        for path, now in self._shown.items():
            if path not in self._told:
                self._told[path] = now
                return now.device, True
            self._told[path] = now
        self._forget_appearances()
        return None

    def _forget_appearances(self) -> None:
        """What is gone, and was told to be, may begin to be counted anew."""
        self._appearances = {path: times for path, times in self._appearances.items() if path in self._shown}


def shown_devices(entries: Mapping[str, Entry]) -> Iterator[Device]:
    """Those that have a node and are no crowd of the kernel's, by path below ``/sys``."""
    paths = sorted(entries)
    for path in paths:
        entry = entries[path]
        if entry.node is not None and not is_hidden(entry):
            yield Device(
                name=entry.name,
                sysfs=entry.sysfs,
                dev_path=entry.node,
                subsystem=entry.subsystem,
                parent=entry.parent,
                by_id=next((link for link in _links(entry.attributes) if "/by-id/" in link), None),
                attributes=entry.attributes,
                children=tuple(_below(path, paths)),
            )


def is_hidden(entry: Entry) -> bool:
    """Whether a device is one of the kernel's crowd."""
    hidden = HIDDEN.get(entry.subsystem or "", ())
    return entry.sysfs.startswith("/sys/devices/virtual/") and entry.name.startswith(hidden)


def _below(path: str, paths: Sequence[str]) -> Iterable[str]:
    """The paths below one, out of a sorted list: they stand together in it."""
    folder = f"{path}/"
    start = bisect_left(paths, folder)
    end = start
    while end < len(paths) and paths[end].startswith(folder):
        end += 1
    return paths[start:end]


def _links(attributes: Mapping[str, str]) -> list[str]:
    """Its links, but those whose names are no text: what would be said of them names nothing."""
    return sorted(link for link in attributes.get("DEVLINKS", "").split() if "\N{REPLACEMENT CHARACTER}" not in link)


def _paths(device: Device) -> tuple[str, ...]:
    return (device.sysfs, device.dev_path, *_links(device.attributes))


def _events(before: Mapping[str, Shown], now: Mapping[str, Shown]) -> Iterator[Event]:
    for path, shown in before.items():
        if path not in now or now[path].appearance != shown.appearance:
            yield DeviceRemoved(shown.device)
    for path, shown in now.items():
        if path not in before or before[path].appearance != shown.appearance:
            yield DeviceAdded(shown.device)
        elif shown.device != before[path].device:
            yield DeviceChanged(shown.device)
