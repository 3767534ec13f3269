"""Devices that come and go a hundred times a second on a host whose udev and UDisks2 are busy with them too: the daemon
keeps answering, nothing piles up, and in the end it shows what is there."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.host.rig.host import Host
from tests.plugins.host.loop_devices import LoopDevice, unused_loop_device
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.pace import on_this_machine
from tests.rig.waiting import until

pytestmark = [pytest.mark.timed, pytest.mark.xdist_group("host")]

MIB = 1024 * 1024
DISK = {"vendor": "Acme", "model": "SSD", "serial": "0002"}
DEVICES = 8
A_TIME_S = DEVICES / 100
"""How often each comes and goes, for a hundred times a second. (The kernel takes some 20 ms to take one away.)"""
PROMPT_S = 0.1
MORE_FILES = 5
"""Connections that come and go by themselves; what leaks leaves one for each of hundreds of devices."""
GROWS_AT_MOST_KIB = 8 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon on the host."""
    async with disposable_daemon(engine) as daemon:
        await daemon.start()
        yield daemon


def resident_kib(daemon: Daemon) -> int:
    """The memory that its process has."""
    (row,) = (row for row in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(row.split()[1])


def open_files(daemon: Daemon) -> int:
    """How many files its process has open."""
    return sum(1 for _ in Path(f"/proc/{daemon.pid}/fd").iterdir())


async def storm(device: LoopDevice, until_s: float) -> int:
    """Let it come and go until that time; how often it did."""
    loop, times = asyncio.get_running_loop(), 0
    begun = loop.time()
    while loop.time() < until_s:
        await asyncio.to_thread(device.add)
        with suppress(OSError):  # somebody looks at it just now
            await asyncio.to_thread(device.remove)
        times += 1
        await asyncio.sleep(max(0.0, begun + times * A_TIME_S - loop.time()))
    return times


async def took_s(daemon: Daemon, path: str) -> float:
    """How long an answer takes."""
    begun = time.monotonic()
    await daemon.ok("GET", path)
    return time.monotonic() - begun


async def drives(daemon: Daemon) -> list[dict[str, Any]]:
    """The drives that are shown."""
    shown: list[dict[str, Any]] = (await daemon.ok("GET", "/hardware/info"))["drives"]
    return shown


@pytest.mark.parametrize("lasts_s", [2, pytest.param(60, marks=pytest.mark.torture)])
async def test_devices_that_come_and_go_a_hundred_times_a_second_cost_no_answer_and_pile_nothing_up(
    host: Host, house: Daemon, lasts_s: int
) -> None:
    for path in ("/hardware/info", "/supervisor/ping"):
        await house.ok("GET", path)  # what is kept for the next time is kept from here on
    memory, files = resident_kib(house), open_files(house)
    answers: list[float] = []

    with unused_loop_device() as device:
        ends = asyncio.get_running_loop().time() + lasts_s
        devices = [LoopDevice(device.number + 1000 * n, device.control) for n in range(DEVICES)]
        storming = [asyncio.create_task(storm(each, ends)) for each in devices]
        while not all(task.done() for task in storming):
            answers += [await took_s(house, path) for path in ("/hardware/info", "/supervisor/ping")]
            await asyncio.sleep(0.01)
        times = sum(await asyncio.gather(*storming))

    async def as_many_files() -> bool:
        return open_files(house) <= files + MORE_FILES

    await until(as_many_files, within_s=10, what=f"about {files} open files")
    grown = resident_kib(house) - memory
    with host.disk(64 * MIB, **DISK) as path:

        async def shown() -> list[dict[str, Any]]:
            return [drive for drive in await drives(house) if drive["serial"] == "0002"]

        (there,) = await until(shown, within_s=10, what="the drive")
    gone = await until_gone(house)

    print(
        f"{times / lasts_s:.0f} a second; of {len(answers)} answers the median took {statistics.median(answers):.4f} s "
        f"and the longest {max(answers):.4f} s; {grown} KiB more"
    )
    assert times > 80 * lasts_s
    assert statistics.median(answers) < on_this_machine(PROMPT_S) and max(answers) < on_this_machine(1.0)
    assert grown < GROWS_AT_MOST_KIB
    assert (there["vendor"], there["model"], there["size"]) == ("Acme", "SSD", 64 * MIB)
    assert path.startswith("/dev/loop") and gone


async def until_gone(daemon: Daemon) -> bool:
    """Wait until no drive is shown; whether that is so."""

    async def none() -> bool:
        return not await drives(daemon)

    return await until(none, within_s=10, what="the end of the drive")
