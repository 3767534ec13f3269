"""The answer of the stats routes."""

from __future__ import annotations

from rooftree import unstructure
from rooftree.interfaces.containers import ContainerStats
from rooftree_containers.stats import Stats


def test_stats_are_the_reading_with_percents_of_two_decimals() -> None:
    reading = ContainerStats(
        cpu_percent=12.3456,
        memory_usage=50_000_000,
        memory_limit=200_000_000,
        memory_percent=25.0049,
        network_rx=1,
        network_tx=2,
        blk_read=3,
        blk_write=4,
    )

    assert unstructure(Stats.of(reading)) == {
        "cpu_percent": 12.35,
        "memory_usage": 50_000_000,
        "memory_limit": 200_000_000,
        "memory_percent": 25.0,
        "network_rx": 1,
        "network_tx": 2,
        "blk_read": 3,
        "blk_write": 4,
    }
