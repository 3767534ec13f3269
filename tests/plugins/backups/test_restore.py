"""Restoring backups: everything comes back, nothing is touched before all was looked at, and where it fails, is
cancelled or killed, all is as it was."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import Failed, Plugin, hookimpl
from rooftree.interfaces.backups import PartKind, PartWishes
from rooftree.interfaces.hooks import backup_source
from rooftree.jobs import execution
from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_archives import reader as archive_reading
from rooftree_archives.worker_process import WorkerSilent
from rooftree_backups import restore_steps, restoring
from rooftree_backups.entry_swap import BeforeEntries, EntrySwap, swap_back
from rooftree_backups.repositories_due import DueRepositories, RepositoriesDue
from rooftree_backups.restoring import sweep_restores
from rooftree_containers import Desired, container_steps
from tests.plugins.addons.house import HELLO, REGISTRY, House
from tests.plugins.backups.house import HousePlugin
from tests.plugins.backups.restored_house import (
    CORE_VERSION,
    core_is_well,
    install_core,
    make_backup,
    restore,
    until_quiet,
    whole_house,
)
from tests.rig.scythe import Scythe

allow = fixtures.allow
MOST_PLACES = 120
FOLDERS = ("share", "ssl", "media", "homeassistant", f"apps/data/{HELLO}")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    core_is_well(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path, allow: Collection[Failing]) -> AsyncIterator[House]:
    async with whole_house(tmp_path, FakeContainerEngine(), allow) as here:
        yield here


def write(home: House, value: str) -> None:
    for folder in FOLDERS:
        place = home.data / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in ("value", value):
            (place / name).write_text(value)


def seen(home: House) -> dict[str, dict[str, str]]:
    """What is in the folders, of what a test has written."""
    return {
        folder: {
            name: (home.data / folder / name).read_text()
            for name in ("value", "old", "new")
            if (home.data / folder / name).exists()
        }
        for folder in FOLDERS
    }


def all_hold(*names: str, value: str) -> dict[str, dict[str, str]]:
    return {folder: {"value": value} | {name: name for name in names} for folder in FOLDERS}


async def lived_in(home: House) -> None:
    """Core and an add-on run, and there is something in every folder."""
    await install_core(home)
    await home.run()
    await asyncio.to_thread(write, home, "old")


async def changed(home: House) -> None:
    """Since then everything has changed, and an add-on has come."""
    await asyncio.to_thread(write, home, "new")
    await home.run("other")


def left(home: House) -> list[str]:
    """What restores have left behind."""
    folders = [home.data / "restore", *(home.data / name for name in ("share", "ssl", "media"))]
    return [
        str(path)
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if folder.name == "restore" or path.name.startswith(".rooftree")
    ]


@pytest.mark.parametrize("password", [None, "kein Geheimnis ÄÖ"])
async def test_everything_is_as_it_was(home: House, password: str | None) -> None:
    await lived_in(home)
    slug = await make_backup(home, password=password)
    await changed(home)

    answer = await restore(home, slug, password=password)

    assert answer.data.keys() == {"job_id"}, answer.text
    assert await asyncio.to_thread(seen, home) == all_hold("old", value="old")
    assert [*home.addons.installed] == [HELLO], "the one that was not there has gone"
    assert home.installed().desired is Desired.STARTED
    job = await home.system.jobs.get(answer.data["job_id"])
    assert (job.name, job.reference) == ("backup_manager_full_restore", slug)
    assert [child.name for child in job.child_jobs] == [
        "backup_restore_folders",
        "backup_restore_homeassistant",
        "backup_restore_apps",
        "backup_remove_delta_apps",
    ]
    assert home.system.state_now == "running"
    assert await asyncio.to_thread(left, home) == []


async def test_folder_alone_comes_back_and_stays_the_folder_that_containers_see(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, "partial", folders=["share", "ssl"])
    await changed(home)
    inode = (await asyncio.to_thread(os.stat, home.data / "share")).st_ino

    await restore(home, slug, "partial", folders=["share"])

    now = await asyncio.to_thread(seen, home)
    assert now["share"] == {"value": "old", "old": "old"}
    assert now["ssl"]["value"] == "new"
    assert (await asyncio.to_thread(os.stat, home.data / "share")).st_ino == inode
    assert len(home.addons.installed) == 2


async def test_plan_tells_what_would_be_done_and_nothing_is(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home)
    await changed(home)

    plan = (await home.client.post(f"/backups/{slug}/restore/full?plan=1", json={})).data

    kinds = [step["kind"] for step in plan["steps"]]
    assert kinds[0] == "backups.unpack/1"
    assert {"backups.swap_entries/1", "containers.swap_folder/1", "addons.swap_folder/1"} <= set(kinds)
    assert plan["downtime"]
    assert any("MiB in the backup" in note for note in plan["steps"][0]["notes"])
    assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new")


async def test_restore_that_is_refused_takes_no_password_from_the_one_that_runs(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, password="right")

    asked = await asyncio.gather(restore(home, slug, password="right"), restore(home, slug, password="wrong"))

    assert [answer.status == 200 for answer in asked] == [True, False], [answer.text for answer in asked]


async def test_wrong_password_is_told_at_once_and_nothing_stopped(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, password="right")
    home.engine.calls.clear()

    for password in ("wrong", "", None):
        async with asyncio.timeout(2):
            answer = await restore(home, slug, password=password)
        assert answer.status == 400
        assert answer.message.startswith("Invalid password for backup")

    assert "stop" not in {verb for verb, _ in home.engine.calls}


async def test_backup_of_a_newer_version_is_refused_with_the_way_out(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, "partial", folders=["share"])
    from tests.plugins.backups import restored_house

    before, restored_house.OWN_VERSION = restored_house.OWN_VERSION, "2026.10.3"
    try:
        answer = await restore(home, slug, "partial", folders=["share"])
    finally:
        restored_house.OWN_VERSION = before

    assert (answer.status, answer.envelope["error_key"]) == (400, "backup_supervisor_version_error")
    assert "update first" in answer.message


async def test_what_is_not_in_the_backup_is_refused(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, "partial", folders=["share"])
    wishes: list[tuple[str, dict[str, object], str]] = [
        ("full", {}, "partial one"),
        ("partial", {"homeassistant": True}, "has no Home Assistant Core"),
        ("partial", {"addons": ["local_nobody"]}, "does not have local_nobody"),
        ("partial", {"folders": ["media"]}, "does not have media"),
        ("partial", {"location": "nowhere"}, "not in nowhere"),
    ]

    for kind, body, sentence in wishes:
        answer = await restore(home, slug, kind, **body)

        assert answer.status in {400, 404}, body
        assert sentence in answer.message


async def test_backup_that_is_altered_touches_nothing(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home, password="right")
    archive = home.data / "backup" / f"{slug}.tar"
    content = bytearray(await asyncio.to_thread(archive.read_bytes))
    content[content.index(b"SecureTar") + 200] ^= 1
    await asyncio.to_thread(archive.write_bytes, content)
    await changed(home)
    home.engine.calls.clear()

    answer = await restore(home, slug, password="right")

    assert answer.status == 400
    assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new")
    assert "stop" not in {verb for verb, _ in home.engine.calls}
    assert await asyncio.to_thread(left, home) == []


async def test_addon_that_does_not_run_restored_brings_everything_back(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home)
    await changed(home)
    home.engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=5)

    answer = await restore(home, slug)

    assert (answer.status, answer.envelope["error_key"]) == (400, "app_restore_failed_error")
    assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new")
    assert len(home.addons.installed) == 2
    assert home.system.state_now == "running"
    assert await asyncio.to_thread(left, home) == []


async def test_add_on_that_could_not_be_backed_up_is_not_uninstalled_by_a_full_restore(home: House) -> None:
    await lived_in(home)
    await home.run("other")
    owner = next(source for source in (await home.system.hooks.call(backup_source)) if source.kind is PartKind.ADDON)
    hold = type(owner).hold

    def fails_for_other(self: Any, slug: str, wishes: PartWishes) -> Any:
        if slug == "local_other":
            raise Failed("its command failed")
        return hold(self, slug, wishes)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(type(owner), "hold", fails_for_other)
        slug = await make_backup(home)

    assert (await restore(home, slug)).status == 200
    assert home.addons.installed.keys() == {HELLO, "local_other"}


def on_disks_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder of the house lies on another disk than the data folder."""
    monkeypatch.setattr(restoring, "_is_elsewhere", lambda data, live: True)


def unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes no note."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(restore_steps, "_keep_what_was_there", fails)


@pytest.mark.parametrize("allow", [{"undo_failed"}])
@pytest.mark.parametrize(
    ("befalls", "place"),
    [(lambda _: None, "restore"), (on_disks_of_their_own, "share"), (unmarked, "restore")],
    ids=["as usual", "on another disk", "unmarked"],
)
async def test_what_was_there_and_could_not_be_put_back_is_kept_and_told(
    home: House, monkeypatch: pytest.MonkeyPatch, befalls: Callable[[pytest.MonkeyPatch], None], place: str
) -> None:
    await lived_in(home)
    slug = await make_backup(home)
    await changed(home)
    home.engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=5)

    def fails(data: Path, swap: EntrySwap, before: BeforeEntries) -> None:
        if swap.live == "share":
            raise OSError(errno.EIO, "the disk fails")
        swap_back(data, swap, before)

    with monkeypatch.context() as disk:
        disk.setattr(restore_steps, "swap_back", fails)
        befalls(disk)
        assert (await restore(home, slug)).status == 400

    def kept() -> list[str]:
        return [path.read_text() for path in (home.data / place).glob("*/*/replaced/new")]

    def told() -> list[str]:
        return [problem.message for problem in home.system.problems if problem.type == "restore_not_taken_back"]

    assert await asyncio.to_thread(kept) == ["new"]
    await home.system.jobs.run(sweep_restores())
    assert await asyncio.to_thread(kept) == ["new"]
    assert len(told()) == 1 and str(home.data / place) in told()[0]
    for folder in (home.data / place).glob(".rooftree-restore-*" if place == "share" else "*"):
        await asyncio.to_thread(shutil.rmtree, folder)
    await home.system.jobs.run(sweep_restores())
    assert told() == []


async def test_new_house_gets_everything(tmp_path: Path, allow: Collection[Failing]) -> None:
    async with whole_house(tmp_path / "old", FakeContainerEngine(), allow) as old_home:
        await lived_in(old_home)
        slug = await make_backup(old_home)
        archive = await asyncio.to_thread((old_home.data / "backup" / f"{slug}.tar").read_bytes)
    async with whole_house(tmp_path / "new", FakeContainerEngine(), allow) as home:
        await install_core(home, "2026.10.0")
        for version in ("2026.10.0", "2026.11.0"):
            home.engine.publish_image(f"ghcr.io/home-assistant/generic-x86-64-homeassistant:{version}")
        home.engine.publish_image(f"{REGISTRY}/hello:1.0")
        await asyncio.to_thread((home.data / "backup" / f"{slug}.tar").write_bytes, archive)
        await home.client.post("/backups/reload")

        answer = await restore(home, slug)

        assert answer.status == 200, answer.text
        assert await asyncio.to_thread(seen, home) == all_hold("old", value="old")
        assert (await home.client.get("/core/info")).data["version"] == "2026.11.0"
        assert home.installed().desired is Desired.STARTED


async def test_restore_that_is_cancelled_is_taken_back(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home)
    await changed(home)
    hold = home.engine.hold("stop")

    begun = await restore(home, slug, background=True)
    await hold.reached.wait()
    await home.system.jobs.cancel(begun.data["job_id"])
    hold.release()
    await until_quiet(home)

    assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new")
    assert len(home.addons.installed) == 2
    assert home.addons.runs(HELLO)
    assert await asyncio.to_thread(left, home) == []


# --- kills ------------------------------------------------------------------------------------------------------------


async def half_lived_in(home: House) -> None:
    """The same, with an add-on that does not run."""
    await home.install()
    await asyncio.to_thread(write, home, "old")


@pytest.mark.parametrize("places", [(":do", ":accepted", ":end"), pytest.param((":done",), marks=pytest.mark.torture)])
async def test_restore_is_taken_back_or_done_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...]
) -> None:
    scythe, outcomes, engine = Scythe(places), set[bool](), FakeContainerEngine()
    monkeypatch.setattr(execution, "reach", scythe.reach)
    wanted = {"addons": [HELLO], "folders": ["share", "ssl"]}
    async with whole_house(tmp_path, engine) as home:
        await half_lived_in(home)
        slug = await make_backup(home, "partial", **wanted)
    for number in range(1, MOST_PLACES):
        async with whole_house(tmp_path, engine) as home:
            await asyncio.to_thread(write, home, "new")
            before = await asyncio.to_thread(seen, home)
            scythe.arm(number)
            await asyncio.wait({asyncio.create_task(restore(home, slug, "partial", **wanted))})
        if scythe.place is None:
            break
        async with whole_house(tmp_path, engine) as home:
            await until_quiet(home)
            now, place = await asyncio.to_thread(seen, home), scythe.place
            restored = {folder: now[folder] for folder in ("share", "ssl", f"apps/data/{HELLO}")}
            is_done = restored == {folder: {"value": "old", "old": "old"} for folder in restored}
            outcomes.add(is_done)
            assert is_done or now == before, place
            assert await asyncio.to_thread(left, home) == [], place
            assert home.system.state_now == "running", place
    else:
        raise AssertionError("it has no end")
    assert outcomes == {True, False}
    assert number >= 7


async def test_restore_that_fails_is_taken_back_wherever_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scythe, engine = Scythe((":undo",)), FakeContainerEngine()
    monkeypatch.setattr(execution, "reach", scythe.reach)
    async with whole_house(tmp_path, engine) as home:
        await lived_in(home)
        slug = await make_backup(home)
        await changed(home)
        engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=5)
    for number in range(1, MOST_PLACES, 3):
        async with whole_house(tmp_path, engine) as home:
            scythe.arm(number)
            await asyncio.wait({asyncio.create_task(restore(home, slug))})
        if scythe.place is None:
            break
        async with whole_house(tmp_path, engine) as home:
            await until_quiet(home)
            assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new"), scythe.place
            assert len(home.addons.installed) == 2, scythe.place
            assert await asyncio.to_thread(left, home) == [], scythe.place
            assert home.system.state_now == "running", scythe.place
    else:
        raise AssertionError("it has no end")
    assert number >= 10


# --- repositories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "due"),
    [
        ("full", {}, [DueRepositories((), replace=True)]),
        ("partial", {"addons": [HELLO]}, []),
        ("partial", {"folders": ["share"]}, []),
    ],
)
async def test_repositories_are_seen_to_after_all_add_ons_were_restored(
    home: House, monkeypatch: pytest.MonkeyPatch, kind: str, body: dict[str, object], due: list[DueRepositories]
) -> None:
    noted: list[DueRepositories] = []

    async def note(_: object, wanted: DueRepositories) -> None:
        noted.append(wanted)

    monkeypatch.setattr(RepositoriesDue, "note", note)
    await lived_in(home)
    slug = await make_backup(home)

    await restore(home, slug, kind, **body)

    assert noted == due


async def test_restore_that_is_taken_back_changes_no_repository(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def note(*_: object) -> None:
        raise AssertionError("nothing is due")

    monkeypatch.setattr(RepositoriesDue, "note", note)
    await lived_in(home)
    slug = await make_backup(home)
    home.engine.images[f"{REGISTRY}/hello:1.0"] = FakeImage(exit_code=5)

    assert (await restore(home, slug)).status == 400


# --- the plan, and what comes along -----------------------------------------------------------------------------------


async def test_plan_tells_what_is_replaced_by_what_and_what_is_away_for_how_long(home: House) -> None:
    await lived_in(home)
    slug = await make_backup(home)
    await home.offer(version="2.0")
    assert (await home.client.post(f"/store/addons/{HELLO}/update")).data == {}
    await home.run("other")
    await asyncio.to_thread((home.data / "share" / "large").write_bytes, b"x" * 3 * 1024 * 1024)

    first = await notes_of(home, slug)
    await restore(home, slug)
    await home.client.post("/core/options", json={"watchdog": True})
    second = await notes_of(home, slug)

    assert "In share is 3.0 MiB now, which is replaced" in first
    assert any("in the backup" in note and note.startswith("share") for note in first)
    assert f"{HELLO} goes from version 2.0 to 1.0" in first
    assert f"Home Assistant Core goes from version {CORE_VERSION} to {CORE_VERSION}" in first
    assert any("Core is away" in note and "estimate" in note for note in first)
    assert any(f"{HELLO} is stopped for some seconds" in note for note in first)
    assert any("can be told after the first restore" in note for note in first)
    assert any("Unpacking takes about" in note and "estimate" in note for note in second)


async def notes_of(home: House, slug: str) -> list[str]:
    plan = (await home.client.post(f"/backups/{slug}/restore/full?plan=1", json={})).data
    return [note for step in plan["steps"] for note in step.get("notes", ())]


class Logins:
    """What another domain keeps."""

    document = "docker.json"
    has_settings = True
    restored: ClassVar[list[Mapping[str, Any]]] = []

    def export(self) -> Mapping[str, Any]:
        return {"registries": {"ghcr.io": {"username": "me", "password": "mine"}}}

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        self.restored.append(records)
        return ()


class LoginsPlugin(Plugin):
    name = "logins"

    @hookimpl
    def backup_settings(self) -> Logins:
        return Logins()


@pytest.mark.parametrize(
    ("kind", "body", "comes"),
    [
        ("full", {}, True),
        ("full", {"settings": False}, False),
        ("partial", {"folders": ["share"]}, False),
        ("partial", {"folders": ["share"], "settings": True}, True),
        ("partial", {"homeassistant": True}, True),
    ],
)
async def test_settings_come_with_everything_and_with_core_and_where_they_are_asked_for(
    tmp_path: Path, kind: str, body: dict[str, object], comes: bool
) -> None:
    Logins.restored.clear()
    async with whole_house(tmp_path, FakeContainerEngine(), plugins=[LoginsPlugin]) as home:
        await lived_in(home)
        slug = await make_backup(home)

        plan = await home.client.post(f"/backups/{slug}/restore/{kind}?plan=1", json=body)
        answer = await restore(home, slug, kind, **body)

        assert answer.status == 200, answer.text
        assert bool(Logins.restored) is comes
        assert ("The login at ghcr.io comes back" in plan.text) is comes
        assert "mine" not in plan.text


# --- the place goes ---------------------------------------------------------------------------------------------------


async def test_place_that_goes_in_the_middle_of_a_restore_leaves_all_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with whole_house(tmp_path, FakeContainerEngine(), plugins=[HousePlugin]) as home:
        await lived_in(home)
        HousePlugin.latest.mounts.add("nas")  # type: ignore[attr-defined]
        slug = await make_backup(home, location="nas")
        await changed(home)
        home.engine.calls.clear()
        unpack, unpacked = archive_reading._Reader.unpack, list[str]()

        async def goes(reader: Any, part: Any, into: Path, progress: Any) -> Any:
            if len(unpacked) == 2:
                HousePlugin.latest.mounts.take_down("nas")  # type: ignore[attr-defined]
                raise WorkerSilent("The disk or share did not answer for 60 s")
            unpacked.append(part.slug)
            return await unpack(reader, part, into, progress)

        monkeypatch.setattr(archive_reading._Reader, "unpack", goes)

        answer = await restore(home, slug)

        assert answer.status >= 400
        assert "did not answer" in answer.message
        assert len(unpacked) == 2, "it was under way"
        assert await asyncio.to_thread(seen, home) == all_hold("old", "new", value="new")
        assert "stop" not in {verb for verb, _ in home.engine.calls}
        assert await asyncio.to_thread(left, home) == []
        assert home.system.state_now == "running"
