"""What takes the room on the disk of the data folder, as a tree; and on mounts, which are somebody else's to measure.

Room is counted in blocks, as du(1) does: a file with several names once, holes not at all. What is mounted below from
another disk is not counted, and links are not followed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import Factory, define, frozen

from rooftree import UNSET, RooftreeError, Service
from rooftree.interfaces.mounts import MountNotFound, Mounts, MountUsage
from rooftree_files import Entry, Folder, walk
from rooftree_host.models import DiskUsage
from rooftree_host.mounts_seen import mounts_below

AREAS: Final[Mapping[str, tuple[str, str]]] = {
    "addons_data": ("apps/data", "Add-on data"),
    "addons_config": ("app_configs", "Add-on configuration"),
    "media": ("media", "Media"),
    "share": ("share", "Share"),
    "backup": ("backup", "Backup"),
    "ssl": ("ssl", "SSL"),
    "homeassistant": ("homeassistant", "Home Assistant"),
}
"""The parts of the data folder that are shown, with their folders and labels."""
FRESH_S: Final = 30.0
"""Seconds for which an answer is given again."""
MOST_PARTS: Final = 10_000
"""Folders that are shown; those in excess count with the one that they stand in."""
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's own are


class _NotWanted(Exception):
    """Whoever asked has gone."""


@frozen
class _Measured:
    at: float
    usage: DiskUsage


@define(eq=False)
class _Measurement:
    work: asyncio.Task[DiskUsage]
    stop: threading.Event
    waiting: int = 0
    """How many there are that still want it."""


class DiskUsages:
    """Measures one disk for everybody who asks."""

    def __init__(self, data: Path, find_mounts: Callable[[], Mounts | None]) -> None:
        self._data = data
        self._find_mounts = find_mounts
        self._measured: dict[int, _Measured] = {}
        self._wanted: dict[int, _Measurement] = {}
        """Those that somebody waits for, by depth."""
        self._works: set[asyncio.Task[DiskUsage]] = set()
        """What has not ended; also what nobody waits for any more."""

    async def of_data(self, max_depth: int) -> DiskUsage:
        """The tree down to that depth: 1 shows the areas, each level more the folders in them.

        Those who ask at once wait for one measurement; when none of them is left, it ends.
        """
        known = self._measured.get(max_depth)
        now = asyncio.get_running_loop().time()
        if known is not None and now - known.at < FRESH_S:
            return known.usage
        answer = self._wanted.get(max_depth)
        if answer is None:
            answer = self._wanted[max_depth] = self._begin(max_depth)
        answer.waiting += 1
        try:
            return await asyncio.shield(answer.work)
        finally:
            answer.waiting -= 1
            if not answer.waiting:
                del self._wanted[max_depth]
                answer.stop.set()

    async def of_mount(self, name: str, max_depth: int) -> DiskUsage:
        """The tree of a mount down to that depth; raises :class:`MountNotFound`, and why it can't be measured."""
        mounts = self._find_mounts()
        if mounts is None:
            raise MountNotFound(f"There is no disk {name}; the one of the data folder is called default", name=name)
        return _shown(await mounts.usage(name, max_depth))

    def _begin(self, max_depth: int) -> _Measurement:
        stop = threading.Event()
        work = asyncio.get_running_loop().create_task(
            asyncio.to_thread(measure, self._data, max_depth, stop), name=f"disk usage, {max_depth} deep"
        )
        self._works.add(work)
        work.add_done_callback(lambda done: self._has_measured(max_depth, done))
        return _Measurement(work, stop)

    def _has_measured(self, max_depth: int, done: asyncio.Task[DiskUsage]) -> None:
        self._works.discard(done)
        if not done.cancelled() and done.exception() is None:
            self._measured[max_depth] = _Measured(asyncio.get_running_loop().time(), done.result())

    async def stop(self) -> None:
        for answer in self._wanted.values():
            answer.stop.set()
        if self._works:
            await asyncio.wait(self._works)


DISK_USAGES = Service[DiskUsages]("host.disk_usages/1")


def _shown(usage: MountUsage) -> DiskUsage:
    return DiskUsage(
        id=usage.id,
        label=usage.label,
        used_bytes=usage.used_bytes,
        total_bytes=UNSET if usage.total_bytes is None else usage.total_bytes,
        children=UNSET if usage.children is None else [_shown(child) for child in usage.children],
    )


def measure(data: Path, max_depth: int, stop: threading.Event) -> DiskUsage:
    """Look at the whole tree. Blocks, for minutes on a slow disk with many files."""
    total = shutil.disk_usage(data)
    used = total.total - total.free
    if max_depth < 1:
        return DiskUsage(id="root", label="Root", used_bytes=used, total_bytes=total.total)
    with Folder.open(data) as root:
        look = _Look(root, max_depth - 1, stop, mounts_below(data))
        areas = [look.area(path, area).as_usage(label, max_depth - 1) for area, (path, label) in AREAS.items()]
    rest = max(0, used - sum(area.used_bytes for area in areas))
    system = DiskUsage(id="system", label="System", used_bytes=rest)
    return DiskUsage(id="root", label="Root", used_bytes=used, total_bytes=total.total, children=[system, *areas])


@define
class _Part:
    """A folder that is shown, or an area."""

    name: str
    used_bytes: int = 0
    parts: list[_Part] = Factory(list)

    def as_usage(self, label: str, depth: int) -> DiskUsage:
        parts = [part.as_usage(part.name, depth - 1) for part in self.parts]
        used = self.used_bytes + sum(part.used_bytes for part in parts)
        parts.sort(key=lambda part: (-part.used_bytes, part.id))
        return DiskUsage(id=self.name, label=label, used_bytes=used, children=parts if depth >= 1 else UNSET)


class _Look:
    """Measures trees of one disk, each file once. Add-ons write there while we look."""

    def __init__(self, root: Folder, depth: int, stop: threading.Event, mounts: Collection[str]) -> None:
        self._root = root
        self._mounts = mounts
        self._device = os.fstat(root.descriptor).st_dev
        self._depth = depth
        self._stop = stop
        self._seen: set[int] = set()
        self._parts_left = MOST_PARTS

    def area(self, path: str, name: str) -> _Part:
        """One area, with the folders in it that many levels down. What vanishes meanwhile, or may not be read, has no
        bytes; of a tree that is larger than we look at, what was seen counts."""
        area = _Part(name)
        with suppress(RooftreeError, FileNotFoundError, NotADirectoryError), self._root.folder(path) as folder:
            way = [area]
            mounted = {mount.removeprefix(f"{path}/") for mount in self._mounts}  # not even looked at: one may hang
            for entry in walk(folder, enter=self._is_ours, skip_unreadable=True, skip=mounted):
                if self._stop.is_set():
                    raise _NotWanted
                del way[entry.depth + 1 :]
                if not self._is_ours(entry) or self._is_known(entry):
                    continue
                own = entry.status.st_blocks * _BLOCK_BYTES
                if entry.is_folder and entry.depth < self._depth and self._parts_left:
                    self._parts_left -= 1
                    part = _Part(os.fsencode(entry.name).decode(errors="replace"), own)
                    way[-1].parts.append(part)
                    way.append(part)
                else:
                    way[-1].used_bytes += own
        return area

    def _is_ours(self, entry: Entry) -> bool:
        return entry.status.st_dev == self._device

    def _is_known(self, entry: Entry) -> bool:
        """Whether it is a further name of a file that was counted."""
        status = entry.status
        if entry.is_folder or status.st_nlink < 2:
            return False
        if status.st_ino in self._seen:
            return True
        self._seen.add(status.st_ino)
        return False
