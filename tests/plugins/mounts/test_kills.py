"""A kill at any step of a job of this domain: after the next start all of it was done, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.plugins.mounts.conftest import House, Shares, house_in
from tests.rig.fork_server import forked
from tests.rig.waiting import until

OLD = {"type": "cifs", "usage": "media", "server": "nas", "share": "old", "username": "ha", "password": "made up"}
NEW = {**OLD, "usage": "share", "share": "new"}
CREATING = ("keep_draft", "prepare_folders", "mount_draft", "save")
UPDATING = ("keep_draft", "prepare_folders", "try_beside", "replace", "save", "clear_folders")
REMOVING = ("set_aside", "take_down", "clear_folders")
MOVING = ("move_local_data", "reload")
KEPT = "step:mounts.save/1:done"


def places(*steps: str) -> list[Any]:
    """Where a job of these steps can be killed. What a step leaves is what the next one begins with, so the places
    behind a step are for ``make torture``; but not :data:`KEPT`, by which the old and the new differ."""
    return [
        pytest.param(place, marks=[] if moment == "do" or place == KEPT else [pytest.mark.torture])
        for step in steps
        for moment in ("do", "done")
        for place in [f"step:mounts.{step}/1:{moment}"]
    ]


async def killed(folder: Path, method: str, path: str, body: dict[str, Any] | None, place: str) -> None:
    """Make a call in a process that dies at that place."""
    arguments = [str(folder), method, path, json.dumps(body), f"{place}=kill"]
    async with forked("tests.plugins.mounts.killed_call", *arguments) as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said


async def recovered(house: House) -> None:
    """Wait until no job is under way, and every mount that is kept works."""

    async def is_quiet() -> bool:
        jobs = (await house.client.get("/jobs/info")).data["jobs"]
        return all(job["done"] for job in jobs) and all(mount.state == "active" for mount in house.mounts.mounts())

    await until(is_quiet, within_s=30, what="the end of the recovery")


def folders(house: House) -> list[str]:
    """What there is of folders to mount on, and of credentials."""
    there = [*house.data.glob("m*/*"), *house.data.glob("share/*"), *house.data.glob(".mounts_credentials/*")]
    return sorted(str(path.relative_to(house.data)) for path in there)


async def with_old(tmp_path: Path, shares: Shares) -> None:
    """A folder in which a mount is kept and mounted."""
    (shares.add("old") / "old.txt").touch()
    (shares.add("new") / "new.txt").touch()
    async with house_in(tmp_path) as house:
        answer = await house.create("films", **OLD)
        assert answer.status == 200, answer.body


@pytest.mark.parametrize("place", places(*CREATING))
async def test_creation_that_was_killed_is_whole_or_nothing(tmp_path: Path, shares: Shares, place: str) -> None:
    shares.add("old")
    await killed(tmp_path, "POST", "/mounts", {"name": "films", **OLD}, place)

    async with house_in(tmp_path) as house:
        await recovered(house)
        kept = list(await house.listed())
        mounted, there = await house.mounted(), folders(house)

    both = ["media/films", "mounts/films"]
    assert (kept, mounted, there) in [(["films"], both, both), ([], [], [])]
    assert kept == (["films"] if place == KEPT else kept)


@pytest.mark.parametrize("place", places(*UPDATING))
async def test_update_that_was_killed_leaves_the_old_or_the_new_one_and_nothing_of_the_other(
    tmp_path: Path, shares: Shares, place: str
) -> None:
    await with_old(tmp_path, shares)
    await killed(tmp_path, "PUT", "/mounts/films", NEW, place)

    async with house_in(tmp_path) as house:
        await recovered(house)
        films = (await house.listed())["films"]
        share, usage = films["share"], films["usage"]
        both = sorted([f"{usage}/films", "mounts/films"])
        assert await house.mounted() == both
        assert folders(house) == both
        assert (house.data / usage / "films" / f"{share}.txt").exists()

    assert (share, usage) in [("old", "media"), ("new", "share")]


@pytest.mark.parametrize("place", places(*REMOVING))
async def test_removal_that_was_killed_is_finished(tmp_path: Path, shares: Shares, place: str) -> None:
    await with_old(tmp_path, shares)
    await killed(tmp_path, "DELETE", "/mounts/films", None, place)

    async with house_in(tmp_path) as house:
        await recovered(house)

        assert await house.listed() == {}
        assert await house.mounted() == []
        assert folders(house) == []


@pytest.mark.parametrize("place", places("reload"))
async def test_reload_that_was_killed_leaves_it_mounted(tmp_path: Path, shares: Shares, place: str) -> None:
    await with_old(tmp_path, shares)
    await killed(tmp_path, "POST", "/mounts/films/reload", None, place)

    async with house_in(tmp_path) as house:
        await recovered(house)

        assert await house.mounted() == folders(house) == ["media/films", "mounts/films"]


@pytest.mark.parametrize("place", places(*MOVING))
async def test_local_data_whose_move_was_killed_is_moved_whole_and_once(
    tmp_path: Path, shares: Shares, place: str
) -> None:
    shares.add("old")
    async with house_in(tmp_path) as house:
        local = house.data / "media" / "films"
        local.mkdir()
        (local / "mine.txt").write_text("mine")
        await house.mounts.restore({"mounts": [{**OLD, "name": "films"}]})
        await house.becomes("films", "failed")
    await killed(tmp_path, "POST", "/resolution/suggestion/{move_local_data}", None, place)

    async with house_in(tmp_path) as house:
        await recovered(house)
        (moved,) = house.data.glob("media/films_local_recovery*")

        assert (moved / "mine.txt").read_text() == "mine"
        assert await house.mounted() == ["media/films", "mounts/films"]
