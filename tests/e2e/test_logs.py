"""Logs as their readers see them: of an add-on, whose lines the engine keeps, and of the host, from its journal.

Readers that hang up, or take nothing in, cost next to nothing and leave nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.plugins.host.journal import boot_id, entry, gateway, write
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("logs")

LINES = 40_000
TEXT = "x" * 999
"""With the line feed a thousand bytes: a log of 40 MB, far more than all buffers on the way hold."""
WRITES = f"""\
#!/bin/sh
yes '{TEXT}' | head -n {LINES}
echo 'all is written'
exec sleep 3600
"""
READERS = 20
MOST_MB = 12
"""What one reader may cost while it takes nothing in: the buffers on the way, and what the allocator keeps."""
LOOKS = 40

ADDON = "/addons/{addon}/logs"
HOST = "/host/logs"
SOURCES = pytest.mark.parametrize("path", [ADDON, HOST], ids=["engine", "journal"])


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a journal as long as the add-on's log."""
    folder = tmp_path_factory.mktemp("journal") / "files"
    long = entry(TEXT.encode(), name="sshd", epoch=None)
    write(folder, entry(b"an earlier boot", name="sshd", epoch=None), *[entry(b"one", name="sshd", boot=1, epoch=None)])
    write(folder, long.replace(boot_id(0).encode(), boot_id(1).encode()) * LINES)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talks(engine: Engine, git_server: GitServer, base_image: str, journal: Path) -> AsyncIterator[Addon]:
    """An add-on that has written its long log, of a daemon that all tests share, on a host with a journal."""
    repository = git_server.repository("logs", {**REPOSITORY, **addon_files("talks", base=base_image, script=WRITES)})
    async with disposable_daemon(engine) as daemon:
        with gateway(journal, daemon.folder) as process, daemon.settings.open("a") as settings:
            settings.write(f"\n[plugins.host]\njournal = {json.dumps(process.url)}\n")
            settings.flush()
            await daemon.start()
            await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
            addon = Addon(daemon, engine, (await daemon.ok("GET", "/store/addons"))["addons"][0]["slug"])
            await addon.install()
            await addon.start()
            await until(lambda: has_written(addon), within_s=30, what="the add-on's last line")
            yield addon


@pytest.fixture(scope="module")
def at_first_mb(talks: Addon) -> float:
    """What the daemon has in memory before anybody has read a long log."""
    return resident_mb(talks.daemon)


async def has_written(addon: Addon) -> bool:
    return "all is written" in str(await addon.daemon.ok("GET", f"/addons/{addon.slug}/logs?lines=1"))


def open_files(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def resident_mb(daemon: Daemon) -> float:
    line = next(line for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if "VmRSS:" in line)
    return int(line.split()[1]) * 1024 / 1_000_000


def reader(daemon: Daemon, path: str) -> socket.socket:
    """Follows a log from its first line, with next to no room for what comes."""
    found = socket.socket()
    found.settimeout(10)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(("127.0.0.1", daemon.port))
    lines = [f"GET {path}/follow?format=plain HTTP/1.1", "Host: x", "Range: entries=:0:"]
    found.sendall("\r\n".join([*lines, f"Authorization: Bearer {daemon.admin_token}", "", ""]).encode())
    assert found.recv(12) == b"HTTP/1.1 200"
    return found


@SOURCES
async def test_reader_that_takes_nothing_in_holds_its_source_back_and_nobody_else(
    talks: Addon, at_first_mb: float, path: str
) -> None:
    with closing(await asyncio.to_thread(reader, talks.daemon, path.format(addon=talks.slug))):
        most = 0.0
        async with aiohttp.ClientSession(talks.daemon.url) as session:
            for _ in range(LOOKS):
                async with session.get("/supervisor/ping") as answer:
                    assert answer.status == 200
                most = max(most, resident_mb(talks.daemon))
                await asyncio.sleep(0.05)

    assert most - at_first_mb < MOST_MB


@SOURCES
async def test_log_that_is_followed_to_its_end_takes_next_to_no_memory(
    talks: Addon, at_first_mb: float, path: str
) -> None:
    path = f"{path.format(addon=talks.slug)}/follow?format=plain&lines={LINES}"

    await read_some(talks.daemon, path, (LINES - 1) * 1000)

    assert resident_mb(talks.daemon) - at_first_mb < MOST_MB


async def read_some(daemon: Daemon, path: str, size: int) -> None:
    seen = 0
    async with asyncio.timeout(60), daemon.request("GET", path) as answer:
        assert answer.status == 200
        async for part in answer.content.iter_any():
            seen += len(part)
            if seen >= size:
                return
    raise AssertionError(f"the log ended after {seen} bytes")


async def test_boots_of_a_log_that_the_engine_keeps_are_those_of_the_host(talks: Addon) -> None:
    this_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    path = f"/addons/{talks.slug}/logs"

    recent = await talks.daemon.ok("GET", f"{path}?lines=2")
    current = [await talks.daemon.ok("GET", f"{path}/boots/{boot}?lines=2") for boot in ("0", "1", this_boot)]
    timed = await talks.daemon.ok("GET", f"{path}/boots/0?lines=1&format=timestamp")
    latest = await talks.daemon.ok("GET", f"{path}/latest")
    refused = await talks.daemon.call("GET", f"{path}/boots/-1")

    assert recent == f"{TEXT}\nall is written\n"
    assert current == [recent] * 3
    assert timed.endswith(" all is written\n") and timed.startswith("20")
    assert latest.count("\n") == LINES + 1
    assert refused == (404, "There is no boot -1: known of this host is only 0, the current one")


async def test_log_of_the_host_is_whole_and_knows_its_boots(talks: Addon) -> None:
    boots = await talks.daemon.ok("GET", "/host/logs/boots")
    earlier = await talks.daemon.ok("GET", "/host/logs/boots/-1")
    everything = await talks.daemon.ok("GET", f"/host/logs/boots/0?format=plain&lines={LINES + 1}")

    assert boots == {"boots": {"0": boot_id(1), "-1": boot_id(0)}}
    assert earlier == "2026-01-31 09:00:00.000 homebox sshd: an earlier boot\n"
    assert everything == "one\n" + f"{TEXT}\n" * LINES


@SOURCES
async def test_frontend_pages_back_from_the_end_of_a_long_log(talks: Addon, path: str) -> None:
    async def page(range: str) -> tuple[list[str], str]:
        wanted = f"{path.format(addon=talks.slug)}?format=timestamp"
        async with talks.daemon.request("GET", wanted, headers={"Range": range}) as answer:
            return (await answer.text()).splitlines(), answer.headers.get("X-First-Cursor", "")

    async with asyncio.timeout(60):
        latest, cursor = await page("entries=:-99:100")
        lines = latest
        for _ in range(12):
            before, cursor = await page(f"entries={cursor}:-100:100")
            lines = before + lines
        again, _ = await page(f"entries={cursor}:0:1300")

    assert len(lines) == 1300
    assert again == lines
    times = [line[:23] for line in lines]
    assert times == sorted(times)


@SOURCES
async def test_readers_that_hang_up_leave_nothing_open(talks: Addon, path: str) -> None:
    path = path.format(addon=talks.slug)
    before = open_files(talks.daemon)

    readers = [await asyncio.to_thread(reader, talks.daemon, path) for _ in range(READERS)]
    during = open_files(talks.daemon)
    for each in readers:
        each.close()

    assert during - before > READERS  # each has a line to us, and we one to its source
    await until(lambda: has_at_most(talks.daemon, before), within_s=20, what="the end of all that was open for them")


async def has_at_most(daemon: Daemon, count: int) -> bool:
    return await asyncio.to_thread(open_files, daemon) <= count
