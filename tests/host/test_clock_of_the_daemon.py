"""The time of day jumps by a day, forward and back, under a daemon that works against a host's real services: what is
under way goes on, what was given stays valid, and nothing that goes by the clock is starved or run in a crowd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.host.rig.clock import Clock
from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs
from tests.host.rig.version_server import VersionServer
from tests.rig.daemon import Daemon
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")

NEW = "17.0"
DAY_S = 86_400
NEAR_S = 60.0


@pytest.fixture
async def versions(host: Host) -> AsyncIterator[VersionServer]:
    """A server with a new version."""
    server = VersionServer(NEW, HomeAssistantOs(NEW, "yellow").bundle(host))
    await server.serve()
    yield server
    await server.close()


async def ahead_s(daemon: Daemon) -> float:
    """How far the daemon's clock is ahead of ours, by what it says."""
    told = datetime.fromisoformat((await daemon.ok("GET", "/host/info"))["dt_utc"])
    return (told - datetime.now(UTC)).total_seconds()


async def lines_after(daemon: Daemon, cursor: str) -> str:
    """The lines of one program of the host from a cursor on."""
    headers = {"Authorization": f"Bearer {daemon.admin_token}", "Range": f"entries={cursor}:0:100"}
    async with (
        aiohttp.ClientSession(daemon.url, headers=headers) as session,
        session.get("/host/logs/identifiers/bell") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


@pytest.mark.torture  # libfaketime makes the daemon's start take seconds
@pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs("16.3", "yellow")], indirect=True, ids=str)
async def test_day_forward_and_back_leaves_jobs_tokens_cursors_streams_and_schedules_as_they_were(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon, versions: VersionServer
) -> None:
    clock = Clock(daemon)
    versions.is_known_to(daemon)
    await daemon.start()
    await daemon.recovered()
    token = (await daemon.ok("POST", "/kernel/v1/tokens", {"name": "panel", "role": "manager"}))["token"]

    async def known() -> bool:
        return (await daemon.ok("GET", "/os/info"))["version_latest"] == NEW

    await until(known, within_s=10, what="the version file")
    host.run("logger", "--tag", "bell", "before")

    async def cursor_of_line() -> str | None:
        async with daemon.request("GET", "/host/logs/identifiers/bell") as answer:
            return answer.headers.get("X-First-Cursor") if "before" in await answer.text() else None

    cursor = await until(cursor_of_line, within_s=10, what="the line")
    assert cursor is not None
    versions.flows.clear()
    update = asyncio.create_task(daemon.ok("POST", "/os/update", {}))
    await versions.begun.wait()
    offsets, read_by_then = [await ahead_s(daemon)], versions.asked

    async with daemon.request("GET", "/host/logs/identifiers/bell/follow?lines=1") as following:
        assert "before" in (await following.content.readline()).decode()
        for jumped_to in (DAY_S, -DAY_S):
            clock.set(jumped_to)

            async def has_jumped(from_s: float = offsets[-1]) -> float | None:
                now_s = await ahead_s(daemon)
                return now_s if abs(now_s - from_s) > NEAR_S else None

            offsets.append(await until(has_jumped, within_s=10, what="the jump") or 0.0)
            host.run("logger", "--tag", "bell", f"at {jumped_to}")
            async with asyncio.timeout(10):
                followed = (await following.content.readline()).decode()
            again = await lines_after(daemon, cursor)
            assert f"at {jumped_to}" in followed
            assert "before" in again and f"at {jumped_to}" in again
            assert (await daemon.call("GET", "/host/info", token=token))[0] == 200
            assert (await daemon.call("POST", "/host/options", {"hostname": f"day{jumped_to % 7}"}))[0] == 200
            assert hostname(host) == f"day{jumped_to % 7}"
            assert (await daemon.ok("GET", "/host/logs/boots"))["boots"]["0"] == host.boot_id
    await daemon.ok("POST", "/reload_updates")
    read_meanwhile = versions.asked - read_by_then
    versions.flows.set()
    await update
    pending = (await daemon.ok("GET", "/os/info"))["version_pending"]

    assert [round(offset / NEAR_S) for offset in offsets] == [0, DAY_S / NEAR_S, -DAY_S / NEAR_S]
    assert read_meanwhile == 1
    assert pending == NEW
    assert not {"task_failed", "Traceback"} & set(daemon.log().split())


def hostname(host: Host) -> str:
    """What the host's own service has written."""
    return host.run("cat", "/etc/hostname").strip()
