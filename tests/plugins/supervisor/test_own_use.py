"""``GET /supervisor/stats`` and ``POST /supervisor/update``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rooftree.testing import Client
from rooftree_supervisor.own_use import OwnUse


async def test_stats_are_those_of_our_own_process(client: Client) -> None:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])

    stats = (await client.get("/supervisor/stats")).data

    assert abs(stats["memory_usage"] / (pages * os.sysconf("SC_PAGE_SIZE")) - 1) < 0.2
    assert stats["memory_usage"] < stats["memory_limit"]
    assert stats["memory_percent"] == round(stats["memory_usage"] / stats["memory_limit"] * 100, 2)
    assert (stats["network_rx"], stats["network_tx"]) == (0, 0)
    assert stats["blk_write"] >= 0


async def test_processor_time_is_the_mean_since_it_was_asked_last() -> None:
    use = OwnUse()
    await use.read()
    busy_until = time.process_time() + 0.3
    while time.process_time() < busy_until:
        pass

    busy = await use.read()
    idle = await use.read()

    assert busy.cpu_percent * (os.cpu_count() or 1) > 20
    assert idle.cpu_percent < busy.cpu_percent


@pytest.mark.parametrize(
    ("group", "limit"),
    [("1000000", 1_000_000), ("max", 4096 * 1024), (None, 4096 * 1024), ("99999999999", 4096 * 1024)],
)
async def test_limit_is_the_control_groups_where_it_has_one(tmp_path: Path, group: str | None, limit: int) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (groups / "system.slice").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  4096 kB\nMemFree: 1 kB\n")
    (proc / "self/statm").write_text("100 25 3 4 0 5 0\n")
    (proc / "self/cgroup").write_text("4:memory:/old\n0::/system.slice\n")
    if group is not None:
        (groups / "system.slice/memory.max").write_text(f"{group}\n")

    stats = await OwnUse(proc, groups).read()

    assert (stats.memory_usage, stats.memory_limit) == (25 * os.sysconf("SC_PAGE_SIZE"), limit)
    assert (stats.blk_read, stats.blk_write) == (0, 0)  # nobody may know


@pytest.mark.parametrize("body", [{}, {"version": "2027.1.0"}])
async def test_update_of_ourselves_is_refused_with_the_way_that_works(client: Client, body: dict[str, str]) -> None:
    answer = await client.post("/supervisor/update", json=body)

    assert (answer.status, answer.envelope["error_key"]) == (400, "supervisor_no_update_available_error")
    assert "update it by what installed it" in answer.message
    assert ("2027.1.0" in answer.message) is bool(body)
