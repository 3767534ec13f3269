"""A kill anywhere while a backup is made: nothing of it is listed that is not whole, and nothing unfinished stays."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.plugins.backups.house import House, house
from tests.rig.fork_server import forked
from tests.rig.waiting import until

BEFORE_IT_IS_WHOLE = [
    "step:backups.open/1:do",
    pytest.param("step:backups.open/1:done", marks=pytest.mark.torture),
    "step:backups.save_core/1:do",
    "step:backups.save_addon/1:do",
    pytest.param("step:backups.save_addon/1:done", marks=pytest.mark.torture),
    "step:backups.publish/1:do",
]
WHOLE = [
    "step:backups.publish/1:done",
    pytest.param("step:backups.copy/1:do", marks=pytest.mark.torture),
    "step:backups.copy/1:done",
    pytest.param("job:end", marks=pytest.mark.torture),
]
"""What a step leaves is what the next one begins with: one of each such two is for ``make torture``."""


async def killed(folder: Path, place: str) -> None:
    async with forked("tests.plugins.backups.killed_creation", str(folder), f"{place}=kill") as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said

    async def worker_has_ended() -> bool:
        return not await asyncio.to_thread(is_held, folder)

    await until(worker_has_ended, within_s=10, what="the end of the worker, which is killed with its daemon")


def is_held(folder: Path) -> bool:
    """Whether somebody still makes an archive."""
    for path in folder.rglob("*.partial"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


async def recovered(home: House) -> None:
    home.mounts.add("nas")

    async def over() -> bool:
        return all(job.done is not False for job in home.system.jobs.listing())

    await until(over, within_s=15, what="the end of the recovery")
    await home.reload()


@pytest.mark.parametrize("place", BEFORE_IT_IS_WHOLE)
async def test_backup_that_was_killed_before_it_was_whole_leaves_nothing(tmp_path: Path, place: str) -> None:
    await killed(tmp_path, place)

    async with house(tmp_path, real=True) as home:
        await recovered(home)

        assert await home.listed() == {}
        assert home.names() == []
        assert home.system.state_now == "running"
        assert [job.errors[0].type for job in home.system.jobs.listing()] == ["JobInterrupted"]
        assert (await home.client.post("/backups/new/full")).status == 200


@pytest.mark.parametrize("place", WHOLE)
async def test_backup_that_was_whole_when_it_was_killed_stays_and_is_whole(tmp_path: Path, place: str) -> None:
    await killed(tmp_path, place)

    async with house(tmp_path, real=True) as home:
        await recovered(home)

        ((slug, entry),) = (await home.listed()).items()
        assert home.names() == [f"{slug}.tar"]
        assert entry["protected"] is True
        for location in entry["locations"]:
            body = {"password": "mine", "location": location or ".local"}
            outcome = (await home.client.post(f"/kernel/v1/backups/{slug}/verify", json=body)).data
            assert outcome.pop("job_id")
            assert outcome == {"whole": True, "authenticated": True, "findings": []}
        nas = tmp_path / "data" / "mounts" / "nas"
        assert [path.name for path in nas.iterdir()] == [f"{slug}.tar"] * (len(entry["locations"]) - 1)
        assert home.system.state_now == "running"


@pytest.mark.parametrize("place", ["body", "step:backups.take_in/1:do"])
async def test_upload_that_was_killed_leaves_nothing(tmp_path: Path, place: str) -> None:
    async with forked("tests.plugins.backups.killed_upload", str(tmp_path), place) as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said
    assert any((tmp_path / "data" / "backup").iterdir()), "it was under way"

    async with house(tmp_path, real=True) as home:
        await recovered(home)

        assert await home.listed() == {}
        assert home.names() == []


async def test_upload_that_was_taken_in_when_it_was_killed_is_listed(tmp_path: Path) -> None:
    async with forked("tests.plugins.backups.killed_upload", str(tmp_path), "step:backups.take_in/1:done") as process:
        await process.communicate()
    assert process.returncode == -SIGKILL

    async with house(tmp_path, real=True) as home:
        await recovered(home)

        assert set(await home.listed()) == {"aaaaaaaa"}
        assert home.names() == ["aaaaaaaa.tar"]
