"""Restoring Core: all of it comes back, and where it does not work then, or all is killed, all is as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest
from attrs import evolve

from rooftree import RooftreeError, Secret
from rooftree.interfaces.backups import BackupRestored, StagedPart
from rooftree.interfaces.containers import ContainerStatus
from rooftree.jobs import execution
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import Desired
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreContainer
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house
from tests.plugins.homeassistant.restoring import FOLDER, back_up, restore, unpack
from tests.plugins.homeassistant.running_core import CoreEngine
from tests.rig.scythe import PLACES, Scythe

HISTORY = "home-assistant_v2.db"
MOST_PLACES = 80


def write(house: CoreHouse, value: str) -> None:
    """Let its configuration, and its history, be that."""
    for name in (value, "value", HISTORY):
        (house.config / name).write_text(value)


def seen(house: CoreHouse) -> dict[str, str]:
    return {
        name: (house.config / name).read_text()
        for name in ("old", "new", "value", HISTORY)
        if (house.config / name).exists()
    }


OLD_FILES = {"old": "old", "value": "old", HISTORY: "old"}
NEW_FILES = {"old": "old", "new": "new", "value": "new", HISTORY: "new"}


def installed(house: CoreHouse) -> CoreContainer:
    assert house.core.installed is not None
    return house.core.installed


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core itself is well, whatever it is."""
    complain(monkeypatch, None)


def complain(monkeypatch: pytest.MonkeyPatch, complaint: str | None) -> None:
    async def works(_: object) -> str | None:
        return complaint

    async def up(*_: object) -> None:
        return None

    monkeypatch.setattr(CoreHealth, "works", works)
    monkeypatch.setattr(CoreHealth, "until_up", up)


async def backed_up(house: CoreHouse, kept: Path) -> None:
    """Core ran in an old version when it was backed up."""
    for version in (OLD, NEW):
        house.engine.publish_image(house.image(version))
    await house.install(OLD, Desired.STOPPED)
    assert (await house.call("start")).data == {}
    await house.call("options", port=8124, watchdog=False, refresh_token="of old")
    await asyncio.to_thread(write, house, "old")
    await back_up(house, kept)


async def changed(house: CoreHouse) -> None:
    """Since then it was updated, and set otherwise."""
    assert (await house.call("update", version=NEW)).data == {}
    await house.call("options", port=8125, watchdog=True, refresh_token="of late", duplicate_log_file=True)
    await asyncio.to_thread(write, house, "new")


@pytest.mark.usefixtures("well")
async def test_running_core_is_what_it_was_then(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)

    await restore(home, await unpack(home, tmp_path / "kept"))

    options, shown = home.core.options, await home.shown()
    assert installed(home).version == OLD
    assert (options.port, options.watchdog, options.refresh_token) == (8124, False, Secret("of old"))
    assert options.duplicate_log_file, "what is no affair of backups stays"
    assert await asyncio.to_thread(seen, home) == OLD_FILES
    assert shown is not None
    assert (shown.status, shown.image) == (ContainerStatus.RUNNING, home.image(OLD))
    assert installed(home).probation is None


@pytest.mark.usefixtures("well")
async def test_core_knows_which_job_restores_it(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")

    await restore(home, await unpack(home, tmp_path / "kept"))

    variables = home.engine.spec(CONTAINER).environment
    job = await home.system.jobs.get(variables["SUPERVISOR_RESTORE_JOB_ID"])
    assert job.name == "backup_restore_homeassistant"
    await home.call("rebuild")
    assert "SUPERVISOR_RESTORE_JOB_ID" not in home.engine.spec(CONTAINER).environment


@pytest.mark.usefixtures("well")
async def test_database_stays_where_the_backup_has_none(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    (tmp_path / "kept" / "trees" / "data" / HISTORY).unlink()

    await restore(home, await unpack(home, tmp_path / "kept", exclude_database=True))

    assert await asyncio.to_thread(seen, home) == OLD_FILES | {HISTORY: "new"}


@pytest.mark.usefixtures("well")
async def test_core_that_was_stopped_runs_after_its_restore(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await home.call("stop")

    await restore(home, await unpack(home, tmp_path / "kept"))

    assert installed(home).desired is Desired.STARTED
    shown = await home.shown()
    assert shown is not None and shown.status is ContainerStatus.RUNNING


@pytest.mark.usefixtures("well")
async def test_what_was_replaced_is_given_up_when_the_restore_has_ended(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    probation = installed(home).probation
    assert probation is not None
    await restore(home, await unpack(home, tmp_path / "kept"))

    home.system.bus.publish(BackupRestored("12345678"))
    await home.comes_true("the end of what was replaced", lambda: not home.core.replaced)

    assert home.engine.images.keys() == {home.image(OLD)}
    assert not await asyncio.to_thread((home.system.data.path / probation.kept.folder).exists)


async def test_core_that_does_not_work_restored_is_what_it_was(
    home: CoreHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complain(monkeypatch, None)
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    before = home.core.options, installed(home)
    complain(monkeypatch, "it started in recovery mode")

    with pytest.raises(RooftreeError, match="recovery mode") as refused:
        await restore(home, await unpack(home, tmp_path / "kept"))

    assert refused.value.error_key == "homeassistant_restore_failed_error"
    assert (home.core.options, installed(home)) == before
    assert await asyncio.to_thread(seen, home) == NEW_FILES
    shown = await home.shown()
    assert shown is not None
    assert (shown.status, shown.image) == (ContainerStatus.RUNNING, home.image(NEW))


async def test_real_core_comes_up_restored(lived_in: CoreHouse, behind: CoreEngine, tmp_path: Path) -> None:
    await asyncio.to_thread(write, lived_in, "old")
    await back_up(lived_in, tmp_path / "kept")
    await asyncio.to_thread(write, lived_in, "new")

    await restore(lived_in, await unpack(lived_in, tmp_path / "kept"))

    assert (await lived_in.config_of_core())["version"] == OLD
    assert (await asyncio.to_thread(seen, lived_in))["value"] == "old"


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize("documents", [{}, {"homeassistant.json": b'{"wait_boot": 600, "last_version": null}'}])
async def test_part_of_a_very_old_backup_is_a_configuration_and_little_else(
    home: CoreHouse, tmp_path: Path, documents: Mapping[str, bytes]
) -> None:
    await backed_up(home, tmp_path / "kept")
    await changed(home)
    part = await unpack(home, tmp_path / "kept")
    await asyncio.to_thread(make_very_old, home.system.data.path / FOLDER, documents)

    await restore(home, evolve(part, documents=documents, trees=("root",), version=OLD))

    assert installed(home).version == OLD
    assert (await asyncio.to_thread(seen, home))["value"] == "old"


def make_very_old(folder: Path, documents: Mapping[str, bytes]) -> None:
    (folder / "trees" / "data").rename(folder / "trees" / "root")
    (folder / "documents" / "homeassistant.json").unlink()
    for name, content in documents.items():
        (folder / "documents" / name).write_bytes(content)


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"{", "is not JSON"),
        (b"[]", "must be an object"),
        (orjson.dumps({"port": 0}), "port: must be from 1"),
        (orjson.dumps({"port": "8123"}), "port: "),
        (orjson.dumps({"watchdog": "yes"}), "watchdog: "),
    ],
)
async def test_what_a_backup_says_of_core_is_looked_at(
    home: CoreHouse, tmp_path: Path, document: bytes, sentence: str
) -> None:
    await backed_up(home, tmp_path / "kept")
    part: StagedPart = await unpack(home, tmp_path / "kept")

    with pytest.raises(RooftreeError, match=sentence):
        await restore(home, evolve(part, documents={"homeassistant.json": document}))


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complaint", "places"),
    [
        (None, (":do", ":accepted", ":end")),
        ("it does not work", (":undo",)),
        pytest.param(None, PLACES, marks=pytest.mark.torture),  # what a step leaves is what the next one begins with
    ],
)
async def test_restore_is_taken_back_or_done_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str | None, places: tuple[str, ...]
) -> None:
    scythe, outcomes = Scythe(places), set[str | None]()
    monkeypatch.setattr(execution, "reach", scythe.reach)
    for number in range(1, MOST_PLACES):
        engine, folder, kept = FakeContainerEngine(), tmp_path / str(number), tmp_path / f"kept-{number}"
        complain(monkeypatch, None)
        async with core_house(folder, engine) as home:
            await backed_up(home, kept)
            await changed(home)
            part = await unpack(home, kept)
            before = installed(home)
            complain(monkeypatch, complaint)
            scythe.arm(number)
            await asyncio.wait({asyncio.create_task(attempt(home, part))})
        if scythe.place is None:
            break
        complain(monkeypatch, None)
        async with core_house(folder, engine) as home:
            await home.comes_true(f"the recovery after {scythe.place}", lambda: not home.core.replaced)
            after, shown = installed(home), await home.shown()
            outcomes.add(after.version)
            is_old = after.version == OLD
            assert home.core.options.port == (8124 if is_old else 8125), scythe.place
            assert await asyncio.to_thread(seen, home) == (OLD_FILES if is_old else NEW_FILES), scythe.place
            assert after.probation == (None if is_old else before.probation), scythe.place
            assert shown is not None
            assert (shown.status, shown.image) == (ContainerStatus.RUNNING, after.image), scythe.place
            assert len(home.system.tokens.known("core", NAME)) == 1, scythe.place
    else:
        raise AssertionError("it has no end")
    assert outcomes == ({OLD, NEW} if complaint is None else {NEW})
    assert number >= (6 if ":do" in places else 8)


async def attempt(home: CoreHouse, part: StagedPart) -> None:
    try:
        await restore(home, part)
    except RooftreeError:
        return
