"""A journal of 2 GB: what is asked of it is answered in time, with the daemon's memory as it was and its API prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.host.rig.host import Host
from tests.host.rig.old_journal import BOOTS, PROGRAMS, old_journal
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine

pytestmark = [pytest.mark.xdist_group("host"), pytest.mark.torture]

GIB = 1024**3
PROMPT_S = 0.1
GROWS_AT_MOST_KIB = 8 * 1024
AT_ONCE_S = 1.0
READ_S = 60.0
STREAMED = 300_000
"""Entries that are read in one go: some 450 MB of text."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(host: Host, engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon on a host with such a journal, that has been asked once."""
    with old_journal(host, 2 * GIB) as size_bytes:
        assert size_bytes > 2e9, f"it has {size_bytes} bytes only"
        async with disposable_daemon(engine) as daemon:
            await daemon.start()
            await text(daemon, "/host/logs?lines=100")
            yield daemon


async def text(daemon: Daemon, path: str, range: str | None = None) -> tuple[str, str]:
    """A log, and its first cursor."""
    headers = {"Authorization": f"Bearer {daemon.admin_token}"} | ({"Range": range} if range else {})
    async with aiohttp.ClientSession(daemon.url, headers=headers) as session, session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text(), answer.headers.get("X-First-Cursor", "")


def resident_kib(daemon: Daemon) -> int:
    """The memory that its process has."""
    (row,) = (row for row in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(row.split()[1])


async def measured[T](house: Daemon, within_s: float, ask: Callable[[], Awaitable[T]]) -> T:
    """What an answer is, which has to come in time, leave the API prompt and the memory flat."""
    before, pings = resident_kib(house), list[float]()
    largest = before

    async def ping() -> None:
        nonlocal largest
        while True:
            begun = time.monotonic()
            await house.ok("GET", "/supervisor/ping")
            pings.append(time.monotonic() - begun)
            largest = max(largest, resident_kib(house))
            await asyncio.sleep(0.01)

    pinging = asyncio.create_task(ping())
    begun = time.monotonic()
    answer = await ask()
    took_s = time.monotonic() - begun
    pinging.cancel()
    await asyncio.wait([pinging])
    if not pinging.cancelled():
        pinging.result()

    slowest = max(pings, default=0.0)
    print(f"{took_s:.3f} s, at most {largest - before} KiB more, {len(pings)} pings, the slowest {slowest:.4f} s")
    assert took_s < within_s
    assert largest - before < GROWS_AT_MOST_KIB
    assert slowest < PROMPT_S
    return answer


async def test_last_lines_are_there_at_once(host: Host, house: Daemon) -> None:
    host.run("logger", "--tag", "bell", "the last line")

    log, _ = await measured(house, AT_ONCE_S, lambda: text(house, "/host/logs?lines=100"))

    assert len(log.splitlines()) == 100 and "the last line" in log


async def test_boots_are_all_listed(host: Host, house: Daemon) -> None:
    boots = (await measured(house, AT_ONCE_S, lambda: house.ok("GET", "/host/logs/boots")))["boots"]

    in_order = [boots[offset] for offset in sorted(boots, key=int)]
    assert (in_order[: len(BOOTS)], boots["0"]) == (BOOTS, host.boot_id)  # between them, other tests' boots


async def test_programs_are_all_listed(house: Daemon) -> None:
    found = await measured(house, AT_ONCE_S, lambda: house.ok("GET", "/host/logs/identifiers"))

    assert set(PROGRAMS) < set(found["identifiers"])


@pytest.mark.parametrize("boot", [BOOTS[0], BOOTS[10], BOOTS[-1]])
async def test_lines_of_an_earlier_boot_are_there_in_time(house: Daemon, boot: str) -> None:
    boots = (await house.ok("GET", "/host/logs/boots"))["boots"]
    offset = next(offset for offset, known in boots.items() if known == boot)

    log, cursor = await measured(house, AT_ONCE_S, lambda: text(house, f"/host/logs/boots/{offset}?lines=100"))

    assert len(log.splitlines()) == 100
    assert f"b={boot};" in cursor


async def test_lines_of_one_program_in_the_middle_are_found_by_their_cursor(house: Daemon) -> None:
    path = "/host/logs/identifiers/program7"
    _, cursor = await text(house, f"/host/logs/boots/{BOOTS[10]}/identifiers/program7?lines=50")

    log, again = await measured(house, AT_ONCE_S, lambda: text(house, path, f"entries={cursor}:0:20"))

    lines = log.splitlines()
    assert (len(lines), again) == (20, cursor)
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 20 * len(PROGRAMS), len(PROGRAMS)))


async def test_followed_log_begins_at_once_and_tells_of_a_new_line(host: Host, house: Daemon) -> None:
    async def follow() -> float:
        async with house.request("GET", "/host/logs/follow?lines=10") as answer:
            for _ in range(10):
                await answer.content.readline()
            host.run("logger", "--tag", "bell", "a new line")
            written = time.monotonic()
            while b"a new line" not in await answer.content.readline():
                pass
            return time.monotonic() - written

    until_told_s = await measured(house, 2 * AT_ONCE_S, follow)

    assert until_told_s < AT_ONCE_S


async def test_hundreds_of_megabytes_in_one_go_are_passed_on_and_not_kept(house: Daemon) -> None:
    headers = {"Authorization": f"Bearer {house.admin_token}", "Range": f"entries=:0:{STREAMED}"}

    async def read() -> tuple[int, int]:
        size = lines = 0
        async with aiohttp.ClientSession(house.url, headers=headers) as session, session.get("/host/logs") as answer:
            async for block in answer.content.iter_any():
                size += len(block)
                lines += block.count(b"\n")
        return size, lines

    size, lines = await measured(house, READ_S, read)

    assert lines == STREAMED and size > 4e8
