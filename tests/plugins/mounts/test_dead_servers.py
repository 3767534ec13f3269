"""A server that is gone hurts nobody: a FUSE file system stands for it, whose server reads what is asked and answers
nothing, so that whoever asks is held by the kernel (``tests/rig/fuse_share.py``)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from rooftree.interfaces.mounts import MountDown
from tests.plugins.mounts.conftest import House, Shares, house_in
from tests.rig.own_children import children
from tests.rig.waiting import until

CIFS = {"type": "cifs", "usage": "media", "server": "nas", "share": "films"}
PINGS = 400
LONGEST_PING_S = 0.020
"""99 of 100."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has half a minute here."""
    monkeypatch.setattr("rooftree_mounts.looking.ANSWER_S", 0.5)
    monkeypatch.setattr("rooftree_mounts.looking.MEASURE_S", 0.5)
    monkeypatch.setattr("rooftree_mounts.mount_program.MOUNT_S", 5.0)
    monkeypatch.setattr("rooftree_mounts.upkeep.EVERY_S", 1.0)
    monkeypatch.setattr("rooftree_mounts.upkeep.FIRST_PAUSE_S", 1.0)


@pytest.fixture
async def share(shares: Shares) -> Path:
    """A share whose server can die."""
    return shares.add("films", dies=True)


@pytest.fixture
async def films(house: House, share: Path) -> AsyncIterator[House]:
    """A system with that share mounted."""
    answer = await house.create("films", **CIFS)
    assert answer.status == 200, answer.body
    await house.becomes("films", "active")
    yield house


async def test_server_that_dies_is_a_problem_and_its_mount_makes_room(
    films: House, shares: Shares, share: Path
) -> None:
    shares.signal(share, signal.SIGUSR1)
    share.with_name("films.hangs").touch()  # nobody can mount it anew meanwhile

    await films.becomes("films", "failed")

    assert await films.issues() == [("mount_failed", "films")]
    assert await films.mounted() == []
    with pytest.raises(PermissionError) as refused:
        (films.data / "media" / "films" / "new.txt").touch()
    assert refused.value.errno == errno.EPERM


async def test_server_that_comes_back_is_mounted_again_by_itself(films: House, shares: Shares, share: Path) -> None:
    shares.signal(share, signal.SIGUSR1)
    share.rename(share.with_name("away"))
    await films.becomes("films", "failed")

    share.with_name("away").rename(share)

    await films.becomes("films", "active")
    assert await films.mounted() == ["media/films", "mounts/films"]
    assert await films.issues() == []


async def test_server_that_ends_is_mounted_anew(films: House, shares: Shares, share: Path) -> None:
    shares.signal(share, signal.SIGKILL)

    async def answers() -> bool:
        with suppress(OSError):
            return await asyncio.to_thread(os.listdir, films.data / "media" / "films") == ["hello.txt"]
        return False

    await until(answers, within_s=20, what="the new mount")
    assert (await films.listed())["films"]["state"] == "active"


async def test_dead_server_costs_one_process_and_no_thread(films: House, shares: Shares, share: Path) -> None:
    before = (await asyncio.to_thread(children)).count("stat")
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
    shares.signal(share, signal.SIGUSR1)
    share.with_name("films.hangs").touch()

    for _ in range(5):
        with pytest.raises(MountDown):
            await films.mounts.look("films")

    assert (await asyncio.to_thread(children)).count("stat") <= before + 1
    assert {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")} <= threads


@pytest.mark.timed
async def test_ping_is_as_prompt_as_ever_while_a_server_hangs(films: House, shares: Shares, share: Path) -> None:
    shares.signal(share, signal.SIGUSR1)
    share.with_name("films.hangs").touch()
    looking = asyncio.ensure_future(films.client.get("/host/disks/films/usage?max_depth=1"))
    took = []
    for _ in range(PINGS):
        began = time.perf_counter()
        assert (await films.client.get("/supervisor/ping")).status == 200
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    await looking

    longest = sorted(took)[int(PINGS * 0.99)]
    print(f"ping with a hanging mount: median {sorted(took)[PINGS // 2] * 1e3:.1f} ms, p99 {longest * 1e3:.1f} ms")
    assert longest < LONGEST_PING_S


async def test_usage_of_a_mount_whose_server_hangs_is_a_timeout(films: House, shares: Shares, share: Path) -> None:
    shares.signal(share, signal.SIGUSR1)

    answer = await films.client.get("/host/disks/films/usage")

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_usage_timeout_error")
    assert answer.envelope["extra_fields"] == {"name": "films"}


async def test_backups_are_told_that_a_mount_is_down(films: House, shares: Shares, share: Path) -> None:
    assert (await films.mounts.look("films")).state == "active"
    shares.signal(share, signal.SIGUSR1)

    with pytest.raises(MountDown) as down:
        await films.mounts.look("films")

    assert down.value.error_key == "backup_mount_down"
    assert down.value.extra_fields == {"mount": "films"}


async def test_mount_of_a_dead_server_is_removed_and_replaced_as_any_other(
    films: House, shares: Shares, share: Path
) -> None:
    shares.add("others")
    shares.signal(share, signal.SIGUSR1)

    assert (await films.update("films", **{**CIFS, "share": "others"})).status == 200
    assert (await films.remove("films")).status == 200

    assert await films.mounted() == []


async def test_server_that_lets_nobody_in_holds_up_nobody_else(
    house: House, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree_mounts.mount_program.MOUNT_S", 1.0)
    shares.add("films").with_name("films.hangs").touch()
    shares.add("others")
    hanging = asyncio.ensure_future(house.create("films", **CIFS))

    assert (await house.create("others", **{**CIFS, "share": "others"})).status == 200
    answer = await hanging

    assert (answer.status, answer.envelope["error_key"]) == (400, "mount_activation_error")
    assert "did not answer" in answer.message


@pytest.mark.timed
async def test_start_and_stop_wait_for_no_server(tmp_path: Path, shares: Shares, share: Path) -> None:
    async with house_in(tmp_path) as house:
        assert (await house.create("films", **CIFS)).status == 200
        shares.signal(share, signal.SIGUSR1)
        share.with_name("films.hangs").touch()
        began = time.monotonic()
    stopped = time.monotonic() - began

    began = time.monotonic()
    async with house_in(tmp_path) as house:
        started = time.monotonic() - began
        await house.becomes("films", "failed")
        began = time.monotonic()
    stopped_again = time.monotonic() - began

    print(f"with a hanging mount: stopped in {stopped:.2f} and {stopped_again:.2f} s, started in {started:.2f} s")
    assert max(stopped, started, stopped_again) < 3
