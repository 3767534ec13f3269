"""What our own process uses of the machine, as the kernel counts it (proc(5)).

It does not count bytes on the network by process: they are 0, as the engine says of a container on the host's network.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from rooftree import Service
from rooftree.interfaces.containers import ContainerStats

SHORTEST_SPAN_S: Final = 0.25
"""Below this the kernel's ticks (10 ms) would show."""
LONGEST_SPAN_S: Final = 60.0
"""An older reading says nothing about now."""
_PROC: Final = Path("/proc")
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


@frozen
class _ProcessorTime:
    """Seconds used by our process and the children that have ended, at a moment of the monotonic clock."""

    used_s: float
    at: float

    @classmethod
    def now(cls) -> Self:
        times = os.times()
        return cls(times.user + times.system + times.children_user + times.children_system, time.monotonic())


class OwnUse:
    """Reads it. Who asks regularly gets the mean of the processor's use since the last time."""

    def __init__(self, proc: Path = _PROC, control_groups: Path = _CONTROL_GROUPS) -> None:
        self._proc = proc
        self._control_groups = control_groups
        self._last: _ProcessorTime | None = None

    async def read(self) -> ContainerStats:
        """A reading of now; takes a moment when there is none from before to compare it with."""
        before = self._last
        now = _ProcessorTime.now()
        if before is None or not SHORTEST_SPAN_S <= now.at - before.at <= LONGEST_SPAN_S:
            before = now
            await asyncio.sleep(SHORTEST_SPAN_S)
            now = _ProcessorTime.now()
        self._last = now
        share = (now.used_s - before.used_s) / ((now.at - before.at) * (os.cpu_count() or 1))
        return await asyncio.to_thread(self._counters, max(0.0, share) * 100)

    def _counters(self, cpu_percent: float) -> ContainerStats:
        """The rest; reads files."""
        used, limit = self._memory_used(), self._memory_limit()
        read, written = self._disk()
        return ContainerStats(
            cpu_percent=cpu_percent,
            memory_usage=used,
            memory_limit=limit,
            memory_percent=used / limit * 100,
            network_rx=0,
            network_tx=0,
            blk_read=read,
            blk_write=written,
        )

    def _memory_used(self) -> int:
        resident = self._text("self/statm").split()[1]
        return int(resident) * os.sysconf("SC_PAGE_SIZE")

    def _memory_limit(self) -> int:
        """The machine's memory, or less where our control group (version 2) may have less."""
        machine = next(line for line in self._text("meminfo").splitlines() if line.startswith("MemTotal:"))
        limit = int(machine.split()[1]) * 1024
        groups = dict(line.split(":", 2)[::2] for line in self._text("self/cgroup").splitlines())
        for folder in (self._control_groups / groups.get("0", "/").lstrip("/"), self._control_groups):
            try:
                text = (folder / "memory.max").read_text("ascii").strip()  # ours: the kernel's
            except OSError:
                continue
            return min(limit, int(text)) if text.isdecimal() else limit
        return limit

    def _disk(self) -> tuple[int, int]:
        """Bytes read from storage and written to it; 0 where we may not know."""
        try:
            counted = dict(line.split(": ") for line in self._text("self/io").splitlines())
        except OSError:
            return 0, 0
        return int(counted["read_bytes"]), int(counted["write_bytes"])

    def _text(self, name: str) -> str:
        return (self._proc / name).read_text("ascii")  # ours: the kernel's


OWN_USE = Service[OwnUse]("supervisor.own_use/1")
