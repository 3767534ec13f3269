"""What takes the room on the disk of the data folder, as a tree.

Room is counted in blocks, as du(1) does: a file with several names once, holes not at all. What is mounted below from
another disk is not counted, and links are not followed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from rooftree import UNSET, Service
from rooftree_host.models import DiskUsage

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
_BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's own are


class _NotWanted(Exception):
    """Whoever asked has gone."""


@frozen
class _Measured:
    at: float
    usage: DiskUsage


class DiskUsages:
    """Measures one disk for everybody who asks."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._measured: dict[int, _Measured] = {}
        self._measuring: dict[int, tuple[asyncio.Task[DiskUsage], threading.Event]] = {}
        self._waiting: dict[int, int] = {}

    async def of_data(self, max_depth: int) -> DiskUsage:
        """The tree down to that depth: 1 shows the areas, each level more the folders in them.

        Those who ask at once wait for one measurement; when none of them is left, it ends.
        """
        while (ending := self._measuring.get(max_depth)) is not None and ending[1].is_set():
            await asyncio.wait({ending[0]})  # whoever asked for it has gone: it ends at its next folder, without answer
        known = self._measured.get(max_depth)
        now = asyncio.get_running_loop().time()
        if known is not None and now - known.at < FRESH_S:
            return known.usage
        if max_depth not in self._measuring:
            stop = threading.Event()
            work = asyncio.get_running_loop().create_task(
                asyncio.to_thread(measure, self._data, max_depth, stop), name=f"disk usage, {max_depth} deep"
            )
            self._measuring[max_depth] = (work, stop)
            work.add_done_callback(lambda done: self._has_measured(max_depth, done))
        work, stop = self._measuring[max_depth]
        self._waiting[max_depth] = self._waiting.get(max_depth, 0) + 1
        try:
            return await asyncio.shield(work)
        finally:
            self._waiting[max_depth] -= 1
            if not self._waiting[max_depth]:
                del self._waiting[max_depth]
                stop.set()

    def _has_measured(self, max_depth: int, done: asyncio.Task[DiskUsage]) -> None:
        del self._measuring[max_depth]
        if not done.cancelled() and done.exception() is None:
            self._measured[max_depth] = _Measured(asyncio.get_running_loop().time(), done.result())

    async def stop(self) -> None:
        """End what is being measured."""
        works = [work for work, _ in self._measuring.values()]
        for _, stop in self._measuring.values():
            stop.set()
        if works:
            await asyncio.wait(works)


DISK_USAGES = Service[DiskUsages]("host.disk_usages/1")


def measure(data: Path, max_depth: int, stop: threading.Event) -> DiskUsage:
    """Look at the whole tree. Blocks, for minutes on a slow disk with many files."""
    total = shutil.disk_usage(data)
    used = total.total - total.free
    if max_depth < 1:
        return DiskUsage(id="root", label="Root", used_bytes=used, total_bytes=total.total)
    walk = _Walk(data.stat().st_dev, stop)
    areas = [walk.measured(str(data / folder), area, label, max_depth - 1) for area, (folder, label) in AREAS.items()]
    rest = max(0, used - sum(area.used_bytes for area in areas))
    system = DiskUsage(id="system", label="System", used_bytes=rest)
    return DiskUsage(id="root", label="Root", used_bytes=used, total_bytes=total.total, children=[system, *areas])


class _Walk:
    """Measures trees of one disk, each file once."""

    def __init__(self, device: int, stop: threading.Event) -> None:
        self._device = device
        self._stop = stop
        self._seen: set[int] = set()

    def measured(self, folder: str, id: str, label: str, depth: int) -> DiskUsage:
        """One folder, with those in it that many levels down."""
        children: list[DiskUsage] = []
        used = 0
        for path, name, own in self._below(folder):
            if depth < 1 or name is None:
                used += own if name is None else own + self._tree(path)
            else:
                child = self.measured(path, name, name, depth - 1)
                child = evolve(child, used_bytes=child.used_bytes + own)
                used += child.used_bytes
                children.append(child)
        children.sort(key=lambda child: (-child.used_bytes, child.id))
        return DiskUsage(id=id, label=label, used_bytes=used, children=children if depth >= 1 else UNSET)

    def _tree(self, folder: str) -> int:
        """Bytes of everything below."""
        used, waiting = 0, [folder]
        while waiting:
            for path, name, own in self._below(waiting.pop()):
                used += own
                if name is not None:
                    waiting.append(path)
        return used

    def _below(self, folder: str) -> list[tuple[str, str | None, int]]:
        """What is in a folder: path, name of what is a folder itself, and its own bytes. What vanished meanwhile, or
        may not be read, has none."""
        if self._stop.is_set():
            raise _NotWanted
        found: list[tuple[str, str | None, int]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if status.st_dev != self._device:
                        continue
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not is_folder and status.st_nlink > 1:
                        if status.st_ino in self._seen:
                            continue
                        self._seen.add(status.st_ino)
                    name = os.fsencode(entry.name).decode(errors="replace") if is_folder else None
                    found.append((entry.path, name, status.st_blocks * _BLOCK_BYTES))
        except OSError:
            return found
        return found
