"""Looking at what is mounted: in processes that can be left behind, for a server that is gone answers nobody."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree.interfaces.mounts import MountUsage
from rooftree_mounts.mount_table import Mounted, MountTable, table_changes
from rooftree_mounts.mounting import Refused
from rooftree_mounts.usage import UsageTimeout, UsageUnmounted, UsageUnreadable, sizes, tree
from rooftree_workers import DisposableProcesses, Ended, Hanging

ANSWER_S: Final = 30.0
"""Seconds that a server has to answer."""
APPEARS_S: Final = 5.0
"""Seconds until what was mounted on the host must be seen here."""
MOST_LEFT: Final = 3
"""Processes that may hang on one place, each on another mount, before it is given up until one ends."""
MEASURE_S: Final = 60.0
"""Seconds that measuring may take."""


@frozen
class Room:
    """What there is on a mount."""

    total_bytes: int
    used_bytes: int


class Looks:
    """Looks at mounts below the data folder. Places are relative to that."""

    def __init__(self, data: Path, processes: DisposableProcesses) -> None:
        self._data = data
        self._processes = processes
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By place: one is asked at a time."""
        self._rooms: dict[str, Room] = {}

    async def is_mounted(self, place: str) -> bool:
        """Whether anything is mounted there; asks the kernel only."""
        table = await asyncio.to_thread(MountTable.read)
        return table.at(self._data / place) is not None

    async def wait_until_mounted(self, place: str, mounted: bool) -> None:
        """Wait until something is, or nothing is any more; raises :class:`Refused`."""
        try:
            with table_changes() as changed:
                async with asyncio.timeout(APPEARS_S):
                    while await self.is_mounted(place) is not mounted:
                        await changed.wait()
                        changed.clear()
        except TimeoutError:
            path = self._data / place
            raise Refused(
                f"the host has mounted it, but {path} shows nothing of it here: Rooftree's data folder has to be one "
                "that shares mounts with the host (rslave or rshared)"
                if mounted
                else f"{path} is still mounted"
            ) from None

    async def answer(self, place: str) -> None:
        """Have what is mounted there answer; raises :class:`Refused`."""
        table = await asyncio.to_thread(MountTable.read)
        mounted = table.at(self._data / place)
        if mounted is None:
            raise Refused("it is not mounted")
        if mounted.source.startswith("/dev/") and not await asyncio.to_thread(_has_device, mounted.device):
            raise Refused("the disk is gone")
        if self._processes.left_behind(_about(place)) >= MOST_LEFT:
            raise Refused(f"it does not answer: {MOST_LEFT} processes that asked it hang")
        try:
            ended = await self._statfs(place, mounted, ANSWER_S)
        except Hanging as error:
            raise Refused(f"it does not answer: {error}") from error
        if ended.code != 0:
            raise Refused(f"it does not answer: {ended.reason}")
        self._rooms[place] = _room(ended)

    def room(self, place: str) -> Room | None:
        """The room there, as it was when what is mounted there answered last; ``None`` where it has not yet."""
        return self._rooms.get(place)

    async def measure(self, name: str, place: str, max_depth: int) -> MountUsage:
        """What takes the room there; raises the errors of :mod:`rooftree_mounts.usage`."""
        mounted = (await asyncio.to_thread(MountTable.read)).at(self._data / place)
        if mounted is None:
            raise UsageUnmounted(f"{name} is not mounted any more", name=name)
        top = str(self._data / place)
        try:
            async with asyncio.timeout(MEASURE_S):
                whole = await self._statfs(place, mounted, MEASURE_S)
                printed = b""
                if max_depth > 0 and whole.code == 0:
                    command = ("du", "--one-file-system", "--block-size=1", "--null", f"--max-depth={max_depth}", top)
                    measured = await self._processes.run(
                        f"the size of {place} ({mounted.id})", *command, within_s=MEASURE_S
                    )
                    printed = measured.output  # also where du could not read some of it
        except TimeoutError:
            raise UsageTimeout(f"{name} could not be measured within {MEASURE_S:g} s", name=name) from None
        if whole.code != 0:
            raise UsageUnreadable(f"{name} can't be read: {whole.reason}", name=name, reason=whole.reason)
        room = _room(whole)
        return tree(sizes(printed, top), room.total_bytes, room.used_bytes, max_depth)

    async def _statfs(self, place: str, mounted: Mounted, within_s: float) -> Ended:
        """statfs(2), for which a network file system asks its server."""
        command = ("stat", "--file-system", "--format=%S %b %f", str(self._data / place))
        async with self._asking[place]:  # what hangs on a mount that is gone by now says nothing about this one
            return await self._processes.run(f"{_about(place)}{mounted.id})", *command, within_s=within_s)


def _room(ended: Ended) -> Room:
    """What stat(1) has printed."""
    block_bytes, blocks, free = map(int, ended.output.split())
    return Room(blocks * block_bytes, (blocks - free) * block_bytes)


def _about(place: str) -> str:
    return f"the server of {place} ("


def _has_device(label: str) -> bool:
    return Path("/sys/dev/block", label).exists()  # ours: the kernel's
