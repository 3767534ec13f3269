"""One reading of a container's use of the machine, from what the engine and the kernel count.

The counters are totals, so processor time needs two readings. :class:`ProcessorMeter` keeps the last one of each
container: whoever asks regularly gets the mean since the last time. The first time needs a reading from before: the
kernel's own, which is there at once, or, where that is not seen from here, a second one of the engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import frozen

from rooftree.interfaces.containers import ContainerStats
from rooftree_docker.engine_client import Json

SHORTEST_SPAN_S: Final = 0.25
"""Below this the kernel's ticks (10 ms) would show."""

LONGEST_SPAN_S: Final = 60.0
"""An older reading says nothing about now."""


type ProcessorTime = tuple[int, int]
"""Nanoseconds used so far: by the container, and by the whole machine."""


@frozen
class ProcessorSample:
    """Processor time used so far, in nanoseconds: by the container, and by the whole machine."""

    container_ns: int
    machine_ns: int
    taken_at: float
    """Seconds of the monotonic clock."""

    @classmethod
    def of(cls, raw: Json, taken_at: float) -> ProcessorSample:
        """The sample within one answer of the engine."""
        cpu = raw.get("cpu_stats") or {}
        return cls((cpu.get("cpu_usage") or {}).get("total_usage") or 0, cpu.get("system_cpu_usage") or 0, taken_at)


class ProcessorMeter:
    """Remembers the last sample of each container."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: dict[str, ProcessorSample] = {}

    async def read(
        self, container_id: str, fetch: Callable[[], Awaitable[Json]], look: Callable[[], ProcessorTime | None]
    ) -> ContainerStats:
        """A reading.

        :param fetch: asks the engine; called twice where there is no sample to compare with
        :param look: the kernel's counters, where they are seen from here; called in a thread
        """
        begun = await self._look(look)
        raw = await fetch()
        if begun is None:
            return await self._by_the_engine(container_id, raw, fetch)
        before = self._recent(container_id, self._clock()) or begun
        await asyncio.sleep(max(0.0, SHORTEST_SPAN_S - (self._clock() - before.taken_at)))
        now = await self._look(look) or begun
        return self._keep(container_id, raw, before, now)

    async def _by_the_engine(
        self, container_id: str, raw: Json, fetch: Callable[[], Awaitable[Json]]
    ) -> ContainerStats:
        now = ProcessorSample.of(raw, self._clock())
        before = self._recent(container_id, now.taken_at)
        if before is None:
            await asyncio.sleep(SHORTEST_SPAN_S)
            before = now
            raw = await fetch()
            now = ProcessorSample.of(raw, self._clock())
        return self._keep(container_id, raw, before, now)

    async def _look(self, look: Callable[[], ProcessorTime | None]) -> ProcessorSample | None:
        taken = await asyncio.to_thread(look)
        return None if taken is None else ProcessorSample(*taken, self._clock())

    def _recent(self, container_id: str, now: float) -> ProcessorSample | None:
        """The last sample, if what has passed since then is neither too short nor too long."""
        kept = self._samples.get(container_id)
        return kept if kept is not None and SHORTEST_SPAN_S <= now - kept.taken_at <= LONGEST_SPAN_S else None

    def _keep(self, container_id: str, raw: Json, before: ProcessorSample, now: ProcessorSample) -> ContainerStats:
        self._forget_old(now.taken_at)
        self._samples[container_id] = now
        return container_stats(raw, processor_percent(before, now))

    def _forget_old(self, now: float) -> None:
        old = [key for key, sample in self._samples.items() if now - sample.taken_at > LONGEST_SPAN_S]
        for key in old:
            del self._samples[key]


def processor_percent(before: ProcessorSample, now: ProcessorSample) -> float:
    """The container's share of the whole machine (all processors together) between two samples."""
    container = now.container_ns - before.container_ns
    machine = now.machine_ns - before.machine_ns
    return round(container / machine * 100, 2) if container > 0 and machine > 0 else 0.0


def container_stats(raw: Json, cpu_percent: float) -> ContainerStats:
    """The engine's counters in the interface's terms, for control groups of version 1 and 2 alike."""
    memory = raw.get("memory_stats") or {}
    limit = memory.get("limit") or 0
    used = _memory_used(memory)
    networks: Mapping[str, Mapping[str, int]] = raw.get("networks") or {}
    return ContainerStats(
        cpu_percent=cpu_percent,
        memory_usage=used,
        memory_limit=limit,
        memory_percent=round(used / limit * 100, 2) if limit else 0.0,
        network_rx=sum(network.get("rx_bytes", 0) for network in networks.values()),
        network_tx=sum(network.get("tx_bytes", 0) for network in networks.values()),
        blk_read=_block_bytes(raw, "read"),
        blk_write=_block_bytes(raw, "write"),
    )


def _memory_used(memory: Mapping[str, Any]) -> int:
    # What the kernel would give back at once is not counted; it is named differently in the two versions.
    used: int = memory.get("usage") or 0
    details: Mapping[str, int] = memory.get("stats") or {}
    for name in ("total_inactive_file", "inactive_file", "cache"):
        if name in details:
            return max(0, used - details[name])
    return used


def _block_bytes(raw: Json, operation: str) -> int:
    entries = (raw.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    # "Read" with version 1 of control groups, "read" with version 2.
    return sum(entry["value"] for entry in entries if entry["op"].lower() == operation)
