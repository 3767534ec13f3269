"""Making backups: what is in them, who is told, and what stays when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree import Failed
from rooftree.interfaces.backups import PartLeftOut
from tests.plugins.backups.house import House, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as running:
        yield running


async def test_full_backup_has_everything_and_is_listed(home: House) -> None:
    answer = (await home.client.post("/backups/new/full", json={"name": "All of it", "extra": {"a": 1}})).data

    details = (await home.client.get(f"/backups/{answer['slug']}/info")).data
    assert (details["name"], details["type"], details["homeassistant"]) == ("All of it", "full", "2026.11.0")
    assert [addon["slug"] for addon in details["addons"]] == ["local_lamp", "local_bell"]
    assert details["repositories"] == ["https://example.org/addons"]
    assert (details["supervisor_version"], details["extra"], details["failed"]) == ("2026.11.0", {"a": 1}, [])
    assert set(await home.listed()) == {answer["slug"]}
    assert (await home.client.get(f"/jobs/{answer['job_id']}")).status in {200, 404}
    assert (home.local / f"{answer['slug']}.tar").is_file()
    assert home.addons.held == ["hold local_lamp", "let go local_lamp", "hold local_bell", "let go local_bell"]


async def job_of(home: House, answer: dict[str, Any]) -> Any:
    return await home.system.jobs.get(answer["job_id"])


async def test_jobs_children_are_called_as_core_looks_for_them(home: House) -> None:
    answer = (await home.client.post("/backups/new/full")).data

    job = await job_of(home, answer)
    assert (job.name, job.reference) == ("backup_manager_full_backup", answer["slug"])
    assert [child.name for child in job.child_jobs] == [
        "backup_store_homeassistant",
        "backup_store_addons",
    ]
    addons = job.child_jobs[1].child_jobs
    assert [(child.name, child.reference) for child in addons] == [
        ("backup_addon_save", "local_lamp"),
        ("backup_addon_save", "local_bell"),
    ]


async def test_addon_that_fails_is_left_out_and_said_in_answer_job_and_list(home: House) -> None:
    home.addons.errors["local_lamp"] = PartLeftOut("The command backup_pre exited with 1", exit_code=1)

    answer = (await home.client.post("/backups/new/full")).data

    note = [{"kind": "addon", "slug": "local_lamp", "message": "The command backup_pre exited with 1"}]
    assert answer["failed"] == note
    job = await job_of(home, answer)
    assert job.errors == []
    (error,) = job.child_jobs[1].child_jobs[0].errors
    assert (error.message, error.extra_fields) == ("The command backup_pre exited with 1", {"exit_code": 1})
    entry = (await home.listed())[answer["slug"]]
    assert entry["failed"] == note
    assert entry["content"]["addons"] == ["local_bell"]


async def test_core_that_fails_fails_the_backup_and_nothing_of_it_stays(home: House) -> None:
    home.core.errors["homeassistant"] = Failed("Core's database is locked")

    answer = await home.client.post("/backups/new/full")

    assert answer.envelope["message"] == "Core's database is locked"
    assert answer.envelope["job_id"]
    assert await home.listed() == {}
    assert home.archives.left
    assert home.system.state_now == "running"


async def test_house_is_frozen_while_a_backup_is_made_and_a_second_one_is_refused(home: House) -> None:
    home.archives.gates["add local_lamp"] = asyncio.Event()
    first = asyncio.create_task(home.client.post("/backups/new/full"))
    await home.archives.has_reached("add local_lamp")

    assert home.system.state_now == "freeze"
    second = await home.client.post("/backups/new/full")
    assert second.status == 400
    home.archives.gates["add local_lamp"].set()
    assert (await first).status == 200
    assert home.system.state_now == "running"


async def test_cancelled_backup_leaves_nothing(home: House) -> None:
    home.archives.gates["add local_lamp"] = asyncio.Event()
    begun = (await home.client.post("/backups/new/full", json={"background": True})).data
    assert set(begun) == {"job_id"}
    await home.archives.has_reached("add local_lamp")

    await home.system.jobs.cancel(begun["job_id"])
    await home.thawed()

    assert await home.listed() == {}
    assert home.addons.held[-1] == "let go local_lamp"


async def test_partial_backup_has_what_is_named_and_says_what_is_not_there(home: House) -> None:
    body = {"addons": ["local_bell", "local_gone"], "homeassistant": True, "homeassistant_exclude_database": True}

    answer = (await home.client.post("/backups/new/partial", json=body)).data

    entry = (await home.listed())[answer["slug"]]
    assert entry["content"] == {"homeassistant": True, "addons": ["local_bell"], "folders": []}
    assert [part["slug"] for part in entry["failed"]] == ["local_gone"]
    assert [wishes.exclude_database for wishes in home.core.wishes] == [True]


async def test_backup_goes_to_the_default_mount_and_is_copied_to_further_places(home: House) -> None:
    nas, spare = home.mounts.add("nas"), home.mounts.add("spare")
    home.mounts.default = "nas"

    one = (await home.client.post("/backups/new/partial", json={"addons": "ALL"})).data["slug"]
    two = (await home.client.post("/backups/new/partial", json={"addons": "ALL", "location": ["spare", None]})).data

    listed = await home.listed()
    assert (listed[one]["location"], listed[one]["locations"]) == ("nas", ["nas"])
    assert set(listed[two["slug"]]["locations"]) == {None, "spare"}
    assert (nas / f"{one}.tar").is_file()
    copy, original = (home.local / f"{two['slug']}.tar"), (spare / f"{two['slug']}.tar")
    assert copy.read_bytes() == original.read_bytes()


async def test_copy_that_fails_costs_only_itself(home: House) -> None:
    home.mounts.add("nas")
    home.mounts.take_down("nas")

    answer = (await home.client.post("/backups/new/partial", json={"addons": "ALL", "location": [None, "nas"]})).data

    job = await job_of(home, answer)
    copies = next(child for child in job.child_jobs if child.name == "backup_copy_to_additional_locations")
    assert "nas is not mounted" in copies.child_jobs[0].errors[0].message
    assert job.errors == []
    assert (await home.listed())[answer["slug"]]["locations"] == [None]


async def test_file_that_is_there_already_stays(home: House) -> None:
    answer = (await home.client.post("/backups/new/partial", json={"addons": "ALL", "filename": "mine.tar"})).data
    before = (home.local / "mine.tar").read_bytes()

    again = await home.client.post("/backups/new/partial", json={"addons": "ALL", "filename": "mine.tar"})

    assert again.status == 400
    assert (home.local / "mine.tar").read_bytes() == before
    assert set(await home.listed()) == {answer["slug"]}


@pytest.mark.parametrize(
    "body",
    [
        {"location": []},
        {"location": "nowhere"},
        {"filename": "../x.tar"},
        {"filename": "x.zip"},
        {"filename": ".x.tar"},
        {"name": 5},
        {"colour": "red"},
    ],
)
async def test_what_cannot_be_made_is_refused_and_changes_nothing(home: House, body: dict[str, Any]) -> None:
    answer = await home.client.post("/backups/new/full", json=body)

    assert answer.status in {400, 404}
    assert answer.message
    assert home.archives.reached == []
