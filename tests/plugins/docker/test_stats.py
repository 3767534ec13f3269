"""Statistics mean the same with both versions of control groups."""

from __future__ import annotations

from typing import Any

from rooftree_docker.stats import ProcessorMeter, ProcessorSample, container_stats, processor_percent


def reading(container_ns: int, machine_ns: int) -> dict[str, Any]:
    return {"cpu_stats": {"cpu_usage": {"total_usage": container_ns}, "system_cpu_usage": machine_ns}}


def test_processor_share_is_of_the_whole_machine() -> None:
    before, now = ProcessorSample(0, 0, 0.0), ProcessorSample(500_000_000, 2_000_000_000, 1.0)

    assert processor_percent(before, now) == 25.0


def test_counter_that_went_back_is_no_share() -> None:
    assert processor_percent(ProcessorSample(10, 10, 0.0), ProcessorSample(5, 20, 1.0)) == 0.0
    assert processor_percent(ProcessorSample(0, 10, 0.0), ProcessorSample(5, 10, 1.0)) == 0.0


def test_memory_without_what_the_kernel_would_give_back() -> None:
    version_1 = container_stats(
        {"memory_stats": {"usage": 1000, "limit": 4000, "stats": {"total_inactive_file": 200, "cache": 500}}}, 0.0
    )
    version_2 = container_stats(
        {"memory_stats": {"usage": 1000, "limit": 4000, "stats": {"inactive_file": 200, "file": 500}}}, 0.0
    )

    assert version_1.memory_usage == version_2.memory_usage == 800
    assert version_1.memory_percent == 20.0


def test_block_bytes_in_either_spelling() -> None:
    for read, write in (("Read", "Write"), ("read", "write")):
        entries = [{"op": read, "value": 3}, {"op": write, "value": 4}, {"op": read, "value": 10}]
        stats = container_stats({"blkio_stats": {"io_service_bytes_recursive": entries}}, 0.0)

        assert (stats.blk_read, stats.blk_write) == (13, 4)


def test_what_the_engine_leaves_out_is_zero() -> None:
    stats = container_stats({"blkio_stats": {"io_service_bytes_recursive": None}, "memory_stats": {}}, 0.0)

    assert (stats.memory_usage, stats.memory_percent, stats.network_rx, stats.blk_read) == (0, 0.0, 0, 0)


async def test_second_reading_needs_one_answer_and_covers_the_time_since_the_first() -> None:
    now = 100.0
    answers = [reading(0, 0), reading(10, 100), reading(60, 200)]
    asked = 0

    async def fetch() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return answers[asked - 1]

    meter = ProcessorMeter(clock=lambda: now)

    first = await meter.read("id", fetch)
    now += 10
    second = await meter.read("id", fetch)

    assert first.cpu_percent == 10.0
    assert (second.cpu_percent, asked) == (50.0, 3)
