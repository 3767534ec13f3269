"""The answer of the stats routes."""

from __future__ import annotations

from typing import Any

from rooftree import structure, unstructure
from rooftree.interfaces.containers import ContainerStats
from rooftree_containers.stats import Stats
from tests.plugins.recordings import needs_recordings, recorded


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


@needs_recordings
def test_recorded_answer_fits_our_model() -> None:
    data: dict[str, Any] = recorded("addons.stats")["answer"]["data"]

    assert unstructure(structure(data, Stats)) == data
