"""Statistics mean the same with both versions of control groups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rooftree_docker.control_group import processor_time
from rooftree_docker.stats import ProcessorMeter, ProcessorSample, container_stats, processor_percent
from tests.rig.files import write_files


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

    first = await meter.read("id", fetch, lambda: None)
    now += 10
    second = await meter.read("id", fetch, lambda: None)

    assert first.cpu_percent == 10.0
    assert (second.cpu_percent, asked) == (50.0, 3)


async def test_reading_of_the_kernel_spares_the_second_one_of_the_engine() -> None:
    now, asked = 100.0, 0
    seen: list[tuple[int, int] | None] = [(0, 0), (10, 100)]

    async def fetch() -> dict[str, Any]:
        nonlocal asked, now
        asked, now = asked + 1, now + 1
        return reading(5, 1_000_000)

    stats = await ProcessorMeter(clock=lambda: now).read("id", fetch, lambda: seen.pop(0))

    assert (stats.cpu_percent, asked) == (10.0, 1)


async def test_container_that_ends_while_it_is_measured_has_no_share() -> None:
    seen: list[tuple[int, int] | None] = [(7, 70), None]

    async def fetch() -> dict[str, Any]:
        return reading(7, 70)

    stats = await ProcessorMeter().read("id", fetch, lambda: seen.pop(0))

    assert stats.cpu_percent == 0.0


# --- the kernel's counters --------------------------------------------------------------------------------------------

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def machine(root: Path, group: str, files: Mapping[str, str]) -> Path:
    """A machine on which the container is process 42, in that control group."""
    write_files(root, {"proc/stat": "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2\n", "proc/42/cgroup": group, **files})
    return root


def test_processor_time_is_read_from_either_version_of_control_groups(tmp_path: Path) -> None:
    version_1 = machine(
        tmp_path / "1",
        "9:name=systemd:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
        {"sys/fs/cgroup/cpuacct/docker/abc/cpuacct.usage": "5000\n"},
    )
    version_2 = machine(
        tmp_path / "2",
        "0::/system.slice/docker-abc.scope\n",
        {"sys/fs/cgroup/system.slice/docker-abc.scope/cpu.stat": "usage_usec 5\nuser_usec 3\n"},
    )

    assert processor_time("abc", 42, version_1) == (5000, 36 * TICK_NS)
    assert processor_time("abc", 42, version_2) == (5000, 36 * TICK_NS)


@pytest.mark.parametrize(
    "group",
    [
        "0::/user.slice\n",
        "0::/docker-other.scope\n",
        "3:cpu,cpuacct:/docker/other\n",
        "0::/docker-abc.scope\n",
        "",
        "?\n",
    ],
    ids=["somebody", "another container", "another, version 1", "unseen", "none", "not understood"],
)
def test_process_that_is_not_the_containers_or_not_seen_is_not_measured(tmp_path: Path, group: str) -> None:
    here = machine(tmp_path, group, {"sys/fs/cgroup/user.slice/cpu.stat": "usage_usec 5\n"})

    assert processor_time("abc", 42, here) is None
    assert processor_time("abc", 43, here) is None
