"""The answer of every stats route, from one reading of the container engine."""

from __future__ import annotations

from typing import Self

from attrs import frozen

from rooftree.interfaces.containers import ContainerStats


@frozen(kw_only=True)
class Stats:
    """What a container uses of the machine. Sizes in bytes since its start; percents of the whole machine."""

    cpu_percent: float
    memory_usage: int
    memory_limit: int
    memory_percent: float
    network_rx: int
    network_tx: int
    blk_read: int
    blk_write: int

    @classmethod
    def of(cls, reading: ContainerStats) -> Self:
        """The answer for ``reading``; percents with two decimals, as clients of this API know them."""
        return cls(
            cpu_percent=round(reading.cpu_percent, 2),
            memory_usage=reading.memory_usage,
            memory_limit=reading.memory_limit,
            memory_percent=round(reading.memory_percent, 2),
            network_rx=reading.network_rx,
            network_tx=reading.network_tx,
            blk_read=reading.blk_read,
            blk_write=reading.blk_write,
        )
