"""Backups that are verified where they are kept: a job, whose outcome is known until the file is another, or gone."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.backups import PartContents
from rooftree.testing import Answer
from rooftree_archives import reader as archive_reading
from rooftree_backups.pruning import prune
from rooftree_backups.retention import Retention
from tests.plugins.backups.house import House, house
from tests.rig.waiting import until

CORE = {"homeassistant": True}
MEMBER = "homeassistant.tar.gz"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, real=True) as running:
        running.core.contents = PartContents(documents={"homeassistant.json": b"{}" * 1_000})
        yield running


async def made(home: House, **body: Any) -> str:
    answer = await home.client.post("/backups/new/partial", json=CORE | body)
    assert answer.status == 200, answer.text
    return str(answer.data["slug"])


def alter(path: Path) -> None:
    """Flip a bit of a member, as a bad disk does: without a trace in the file's times."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmember(MEMBER)
    content[member.offset_data + member.size // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def verify(home: House, slug: str, **body: Any) -> Answer:
    return await home.client.post(f"/kernel/v1/backups/{slug}/verify", json=body)


async def known(home: House, slug: str) -> dict[str, Any]:
    backups = (await home.client.get("/kernel/v1/backups")).data["backups"]
    return dict(next(entry for entry in backups if entry["slug"] == slug)["verifications"])


def problem(home: House) -> str | None:
    return next((one.message for one in home.system.problems if one.type == "backup_damaged"), None)


async def test_outcome_is_answered_and_known_afterwards(home: House) -> None:
    slug = await made(home)

    answer = (await verify(home, slug)).data

    assert (answer["whole"], answer["authenticated"], answer["findings"]) == (True, True, [])
    assert (await known(home, slug))[".local"]["whole"] is True
    job = await home.system.jobs.get(answer["job_id"])
    assert (job.name, job.reference, job.done, job.errors) == ("backup_manager_verify", slug, True, [])
    assert problem(home) is None


async def test_damage_is_a_problem_until_the_backup_is_gone(home: House) -> None:
    slug = await made(home)
    await asyncio.to_thread(alter, home.local / f"{slug}.tar")

    assert (await verify(home, slug)).data["whole"] is False

    assert slug in str(problem(home))
    assert (await known(home, slug))[".local"]["findings"]
    await home.client.delete(f"/backups/{slug}")
    assert problem(home) is None


async def test_copy_that_is_whole_does_not_hide_one_that_is_damaged(home: House) -> None:
    nas = home.mounts.add("nas")
    slug = await made(home, location=[None, "nas"])
    await asyncio.to_thread(alter, nas / f"{slug}.tar")

    await verify(home, slug, location="nas")
    await verify(home, slug)

    assert "in nas is damaged" in str(problem(home))
    home.mounts.take_down("nas")
    await home.reload()
    assert problem(home) is not None, "what is away is not gone"
    await home.client.delete(f"/backups/{slug}")
    home.mounts.add("nas")
    (nas / f"{slug}.tar").unlink()
    await home.reload()
    assert problem(home) is None


async def test_file_that_is_another_is_not_said_to_be_damaged(home: House) -> None:
    slug = await made(home)
    path = home.local / f"{slug}.tar"
    whole = await asyncio.to_thread(path.read_bytes)
    await asyncio.to_thread(alter, path)
    await verify(home, slug)

    await asyncio.to_thread(path.write_bytes, whole)
    await home.reload()

    assert await known(home, slug) == {}
    assert problem(home) is None


async def test_what_is_known_outlives_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path, real=True) as home:
        slug = await made(home)
        await asyncio.to_thread(alter, home.local / f"{slug}.tar")
        await verify(home, slug)
    async with house(tmp_path, real=True) as home:
        await home.reload()
        assert (await known(home, slug))[".local"]["whole"] is False
        assert problem(home) is not None


async def test_wrong_password_is_refused_and_says_nothing_of_the_backup(home: House) -> None:
    slug = await made(home, password="mine")

    for background in (False, True):
        answer = await verify(home, slug, password="yours", background=background)
        assert answer.status == 400
        assert answer.message.startswith("Invalid password for backup")

    assert await known(home, slug) == {}
    assert (await verify(home, slug, password="mine")).data["whole"] is True


async def test_verification_goes_on_in_the_background_and_can_be_cancelled(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, reached = await made(home), asyncio.Event()

    async def never(_: object, progress: Any) -> None:
        progress(1, 4)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(archive_reading._Reader, "verify", never)
    job_id = (await verify(home, slug, background=True)).data["job_id"]
    await reached.wait()
    assert (await home.system.jobs.get(job_id)).progress == 25.0

    await home.system.jobs.cancel(job_id)

    async def has_ended() -> bool:
        return (await home.system.jobs.get(job_id)).done is True

    await until(has_ended, within_s=10, what="the end of the job")
    assert await known(home, slug) == {}


async def test_newest_good_backup_stays_when_a_newer_one_is_damaged(home: House) -> None:
    good, bad = await made(home, name="one"), await made(home, name="two")
    await asyncio.to_thread(alter, home.local / f"{bad}.tar")
    await verify(home, bad)

    await prune(home.backups, {"*": Retention(last=1)}, lambda head: True, spared=bad)

    assert good in await home.listed()


async def test_house_has_no_young_backup_when_the_only_one_is_damaged(home: House) -> None:
    slug = await made(home)
    await home.check_age()
    assert "no_current_backup" not in {one.type for one in home.system.problems}
    await asyncio.to_thread(alter, home.local / f"{slug}.tar")
    await verify(home, slug)

    await home.check_age()

    assert "no_current_backup" in {one.type for one in home.system.problems}


async def test_password_of_another_verification_is_not_taken_for_this_one(home: House) -> None:
    slug = await made(home, password="mine")

    right, wrong = await asyncio.gather(verify(home, slug, password="mine"), verify(home, slug, password="yours"))

    assert right.data["whole"] is True
    assert wrong.status == 400


async def test_place_that_nobody_knows_for_now_is_remembered_and_not_spoken_of(home: House) -> None:
    nas = home.mounts.add("nas")
    slug = await made(home, location="nas")
    await asyncio.to_thread(alter, nas / f"{slug}.tar")
    await verify(home, slug)

    away = home.mounts.there.pop("nas")
    await home.reload()
    assert problem(home) is None
    home.mounts.there["nas"] = away
    await home.reload()

    assert "in nas is damaged" in str(problem(home))
    assert (await known(home, slug))["nas"]["whole"] is False
