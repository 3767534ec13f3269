"""Core's backup page with a real Core: backups that Core makes, lists, looks into, fetches, takes, puts back and
deletes, by the clock, too.

The tests share one house, and each leaves it for the next.
"""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.real_core.rig.backup_page import LOCAL, BackupPage
from tests.real_core.rig.browser import BROWSER
from tests.real_core.rig.core_user import CoreUser
from tests.real_core.rig.frontend import signed_in
from tests.real_core.rig.house import RealHouse
from tests.real_core.rig.image import VERSION
from tests.requirements import needs
from tests.rig.addon import Addon
from tests.rig.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

VAULT = "hassio.cellar"
SECRET = "schöner Tag 26"
RESTORE_S = 240.0
SOON_S = timedelta(seconds=10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(house: RealHouse, owner: CoreUser) -> BackupPage:
    """The backup page of a house that has been moved into: an add-on runs, and there is something everywhere."""
    await house.has_core(owner)
    await owner.onboard()
    await owner.is_there()
    await owner.integration_is_loaded()
    await house.daemon.ok("POST", "/store/repositories", {"repository": house.repository.url})
    porch = await house.addon("porch")
    await porch.install()
    await porch.start()
    await write_down(house, porch, "before")
    await owner.post("/api/states/sensor.before", {"state": "1"})
    await until(lambda: comes("sensor.before", house), within_s=30, what="a recorded state")
    return BackupPage(owner)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def porch(house: RealHouse, page: BackupPage) -> Addon:
    """Its add-on."""
    return await house.addon("porch")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(page: BackupPage, porch: Addon) -> Any:
    """A backup of everything, with a password."""
    return await page.make(
        "Everything / Ümlaut", include_all_addons=True, include_folders=["share", "media", "ssl"], password=SECRET
    )


async def write_down(house: RealHouse, porch: Addon, word: str) -> None:
    """Put a word into everything that is backed up."""
    for file in (porch.data / "book", *(house.daemon.data_dir / name / "book" for name in ("share", "media", "ssl"))):
        file.write_text(word)
    (house.daemon.data_dir / "homeassistant" / "automations.yaml").write_text(f"# {word}\n[]\n")


def words(house: RealHouse, porch: Addon) -> dict[str, str]:
    """What is written where."""
    data = house.daemon.data_dir
    files = {"porch": porch.data / "book", **{name: data / name / "book" for name in ("share", "media", "ssl")}}
    core = (data / "homeassistant" / "automations.yaml").read_text().split()[1]
    return {**{name: file.read_text() for name, file in files.items()}, "core": core}


def recorded(house: RealHouse) -> set[str]:
    """The entities of which Core's database knows states."""
    file = house.daemon.data_dir / "homeassistant" / "home-assistant_v2.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return {row[0] for row in database.execute("SELECT entity_id FROM states_meta")}


def members(archive: bytes, inner: str) -> set[str]:
    """The files in a part of a backup that is not encrypted."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        part = outer.extractfile(inner)
        assert part is not None
        with tarfile.open(fileobj=part, mode="r|gz") as tar:
            return {member.name.removeprefix("./") for member in tar}


# --- made, listed, fetched, brought -----------------------------------------------------------------------------------


async def test_our_folder_is_where_core_puts_backups(page: BackupPage) -> None:
    assert await page.agents() == {LOCAL}
    info = await page.info()
    assert (info["backups"], info["state"]) == ([], "idle")


async def test_backup_of_everything_is_listed_with_its_parts(house: RealHouse, page: BackupPage, whole: Any) -> None:
    file = next((house.daemon.data_dir / "backup").glob("*.tar"))

    listed = (await page.listed())[whole["backup_id"]]

    assert listed == whole
    assert (listed["name"], listed["database_included"], listed["homeassistant_version"]) == (
        "Everything / Ümlaut", True, VERSION
    )  # fmt: skip
    assert [addon["version"] for addon in listed["addons"]] == ["1.0"]
    assert set(listed["folders"]) == {"share", "media", "ssl"}
    assert (listed["failed_addons"], listed["failed_agent_ids"], listed["failed_folders"]) == ([], [], [])
    assert listed["agents"] == {LOCAL: {"protected": True, "size": file.stat().st_size}}
    assert abs(datetime.now(UTC) - datetime.fromisoformat(listed["date"])) < timedelta(minutes=3)
    assert listed["with_automatic_settings"] is False


async def test_core_tells_its_page_how_far_a_backup_is(page: BackupPage, porch: Addon) -> None:
    async with page.events() as events:
        part = await page.make(
            "Porch", include_addons=[porch.slug], include_folders=["share"], include_homeassistant=False,
            include_database=False,
        )  # fmt: skip

    assert part["agents"][LOCAL]["protected"] is False
    assert (part["homeassistant_included"], part["database_included"]) == (False, False)
    stages = [event.get("stage") for event in events if event["manager_state"] == "create_backup"]
    assert {"addons", "folders"} <= set(stages)
    assert [event["state"] for event in events if "state" in event][-1] == "completed"
    archive = await page.download(part["backup_id"])
    assert "book" in members(archive, "share.tar.gz")
    assert "data/book" in members(archive, f"{porch.slug}.tar.gz")


async def test_core_decrypts_what_it_fetches(house: RealHouse, page: BackupPage, porch: Addon, whole: Any) -> None:
    sealed = await page.download(whole["backup_id"])
    plain = await page.download(whole["backup_id"], password=SECRET)

    assert sealed == next((house.daemon.data_dir / "backup").glob("*mlaut*.tar")).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        about = tar.extractfile("./backup.json")
        assert about is not None
        assert json.load(about)["protected"] is False
    assert "data/home-assistant_v2.db" in members(plain, "homeassistant.tar.gz")
    assert "data/book" in members(plain, f"{porch.slug}.tar.gz")
    for part in ("share", "media", "ssl"):
        assert "book" in members(plain, f"{part}.tar.gz")


async def test_core_tells_a_wrong_password_from_the_right_one(page: BackupPage, whole: Any) -> None:
    where = {"backup_id": whole["backup_id"], "agent_id": LOCAL}

    assert await page.owner.ask("backup/can_decrypt_on_download", password=SECRET, **where) is None
    assert await page.refusal("backup/can_decrypt_on_download", password="wrong", **where) == "password_incorrect"
    assert await page.refusal("backup/restore", password="wrong", **where) == "password_incorrect"
    assert await page.refusal("backup/restore", backup_id="ffffffff", agent_id=LOCAL) == "home_assistant_error"


async def test_backup_is_deleted_and_brought_again(page: BackupPage, whole: Any) -> None:
    file = await page.download(whole["backup_id"])
    await page.delete(whole["backup_id"])
    assert whole["backup_id"] not in await page.listed()

    async with page.events() as events:
        backup_id = await page.upload(file)

    assert backup_id == whole["backup_id"]
    brought = await page.details(backup_id)
    assert {**brought, "agents": None} == {**whole, "agents": None}
    assert brought["agents"][LOCAL]["protected"] is True
    assert [event["state"] for event in events if "state" in event][-1] == "completed"
    assert await page.download(backup_id) == file


async def test_part_that_fails_is_named_by_core(house: RealHouse, page: BackupPage, porch: Addon) -> None:
    media = house.daemon.data_dir / "media"
    aside = media.rename(media.with_name("media-aside"))
    media.write_text("no folder")
    try:
        backup = await page.make("Lacks", include_addons=[porch.slug], include_folders=["media", "share"])
    finally:
        media.unlink()
        aside.rename(media)

    assert (backup["failed_folders"], backup["failed_addons"]) == (["media"], [])
    assert set(backup["folders"]) == {"share", "ssl"}
    await page.delete(backup["backup_id"])


async def test_vault_is_made(house: RealHouse, page: BackupPage) -> None:
    await house.daemon.ok("POST", "/kernel/v1/vaults", {"name": "cellar", "place": "local"})

    assert "cellar" in {mount["name"] for mount in (await page.owner.supervisor("/mounts"))["mounts"]}


# --- put back ---------------------------------------------------------------------------------------------------------


async def test_add_on_is_put_back_while_core_goes_on(house: RealHouse, page: BackupPage, porch: Addon) -> None:
    backup = next(b for b in (await page.listed()).values() if b["name"] == "Porch")
    core = house.core_started_at()
    await write_down(house, porch, "after")

    await page.owner.ask(
        "backup/restore", backup_id=backup["backup_id"], agent_id=LOCAL, restore_addons=[porch.slug],
        restore_folders=["share"], restore_homeassistant=False, restore_database=False,
    )  # fmt: skip

    await page.is_idle("restore_backup")
    expected = {"porch": "before", "share": "before", "media": "after", "ssl": "after", "core": "after"}
    assert words(house, porch) == expected
    assert (house.core_started_at(), (await porch.info())["state"]) == (core, "started")


async def test_core_puts_itself_back_with_all_that_was_in_the_backup(
    house: RealHouse, page: BackupPage, porch: Addon, whole: Any
) -> None:
    await write_down(house, porch, "after")
    await page.owner.ask("config/core/update", location_name="Another house")
    await page.owner.post("/api/states/sensor.after", {"state": "1"})
    await until(lambda: comes("sensor.after", house), within_s=30, what="a recorded state")
    core = house.core_started_at()

    with pytest.raises(ConnectionError):  # Core is stopped before it can answer
        await page.owner.ask(
            "backup/restore", backup_id=whole["backup_id"], agent_id=LOCAL, password=SECRET,
            restore_addons=[porch.slug], restore_folders=["share", "media", "ssl"],
        )  # fmt: skip

    await page.is_idle("restore_backup", RESTORE_S)
    config = await page.owner.is_there()
    assert (config["location_name"], config["recovery_mode"], config["version"]) == ("Home", False, VERSION)
    assert set(words(house, porch).values()) == {"before"}
    set_aside = [path.name for path in (house.daemon.data_dir / "homeassistant").glob("*.corrupt.*")]
    known = recorded(house)
    assert set_aside == []  # where Core puts a database that it finds damaged, before it makes another
    assert ("sensor.before" in known, "sensor.after" in known) == (True, False)
    assert house.core_started_at() != core
    assert (await porch.info())["state"] == "started"
    await page.owner.integration_is_loaded()
    assert house.core_complaints() == []


async def comes(entity: str, house: RealHouse) -> bool:
    """Whether Core's database has it by now."""
    return entity in recorded(house)


async def test_core_that_was_started_since_puts_backups_into_the_vault(
    house: RealHouse, page: BackupPage, porch: Addon
) -> None:
    assert await page.agents() == {LOCAL, VAULT}

    backup = await page.make("Stored", LOCAL, VAULT, include_addons=[porch.slug], include_folders=["share"])
    only_there = await page.make(
        "Deep", VAULT, include_addons=[porch.slug], include_homeassistant=False, include_database=False, password=SECRET
    )

    assert set(backup["agents"]) == {LOCAL, VAULT}
    assert backup["failed_agent_ids"] == []
    assert set(only_there["agents"]) == {VAULT}
    assert "data/book" in members(await page.download(only_there["backup_id"], VAULT), f"{porch.slug}.tar.gz")
    await write_down(house, porch, "after")
    await page.owner.ask(
        "backup/restore", backup_id=only_there["backup_id"], agent_id=VAULT, restore_addons=[porch.slug],
        restore_homeassistant=False, restore_database=False,
    )  # fmt: skip
    await page.is_idle("restore_backup")
    assert words(house, porch)["porch"] == "before"
    for made in (backup, only_there):
        await page.delete(made["backup_id"])
    assert house.core_complaints() == []


# --- by the clock -----------------------------------------------------------------------------------------------------


async def test_nightly_backup_is_made_and_the_one_before_goes(page: BackupPage, porch: Addon) -> None:
    by_hand = set(await page.listed())
    await page.owner.ask(
        "backup/config/update",
        automatic_backups_configured=True,
        create_backup={"agent_ids": [LOCAL], "include_all_addons": True, "include_database": True, "password": SECRET,
                       "include_folders": ["ssl"], "name": None},
        retention={"copies": 1, "days": None},
    )  # fmt: skip
    before = await page.listed()
    await page.owner.ask("backup/generate_with_automatic_settings")
    first = await page.comes_beside(before)
    assert first["with_automatic_settings"] is True

    due = (datetime.now(UTC) + SOON_S).replace(second=0, microsecond=0) + timedelta(minutes=1)
    await page.owner.ask("backup/config/update", schedule={"recurrence": "daily", "time": f"{due:%H:%M:%S}"})
    next_one = (await page.owner.ask("backup/config/info"))["config"]["next_automatic_backup"]
    assert datetime.fromisoformat(next_one) == due

    async def is_due() -> bool:
        completed = (await page.owner.ask("backup/config/info"))["config"]["last_completed_automatic_backup"]
        return datetime.fromisoformat(completed) >= due

    await until(is_due, within_s=180, what="the nightly backup")
    await page.is_idle("create_backup")
    (nightly,) = [backup for backup in (await page.listed()).values() if backup["with_automatic_settings"]]
    assert nightly["backup_id"] != first["backup_id"]
    assert set(await page.listed()) == by_hand | {nightly["backup_id"]}
    assert (nightly["name"], nightly["agents"][LOCAL]["protected"]) == (f"Automatic backup {VERSION}", True)
    assert [addon["slug"] for addon in nightly["addons"]] == [porch.slug]
    assert datetime.fromisoformat(nightly["date"]) >= due


async def test_entities_tell_of_the_nightly_backup(page: BackupPage) -> None:
    entities = await page.owner.ask("config/entity_registry/list")
    names = {entity["unique_id"]: entity["entity_id"] for entity in entities if entity["platform"] == "backup"}
    states = {name: (await page.owner.state(entity))["state"] for name, entity in names.items()}

    config = (await page.owner.ask("backup/config/info"))["config"]
    completed = datetime.fromisoformat(config["last_completed_automatic_backup"]).replace(microsecond=0)
    assert states["backup_manager_state"] == "idle"
    assert datetime.fromisoformat(states["last_successful_automatic_backup"]) == completed
    assert datetime.fromisoformat(states["next_scheduled_automatic_backup"]) > datetime.now(UTC)
    event = await page.owner.state(names["automatic_backup_event"])
    assert event["attributes"]["event_type"] == "completed"


async def test_add_on_is_updated_with_a_backup_of_cores(house: RealHouse, page: BackupPage, porch: Addon) -> None:
    before = await page.listed()
    house.release_porch("2.0")
    await house.daemon.ok("POST", "/store/reload")
    await page.owner.look_anew()
    await page.owner.sees("update.porch_update", "on", within_s=60)

    await page.owner.call_service("update.install", entity_id="update.porch_update", backup=True)

    await page.owner.sees("update.porch_update", "off")
    backup = await page.comes_beside(before)
    assert [(addon["slug"], addon["version"]) for addon in backup["addons"]] == [(porch.slug, "1.0")]
    assert (backup["name"], backup["extra_metadata"]["supervisor.addon_update"]) == ("Porch 1.0", porch.slug)
    assert (await porch.info())["version"] == "2.0"


# --- as it is seen ----------------------------------------------------------------------------------------------------


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/config/backup/overview", ["Next automatic backup", "automatic backup"]),
        ("/config/backup/backups", ["Everything / Ümlaut", "Porch 1.0", f"Automatic backup {VERSION}"]),
        ("/config/backup/settings", ["Locations", "This system"]),
    ],
)
async def test_browser_shows_the_backup_page(page: BackupPage, tmp_path: Path, path: str, shown: list[str]) -> None:
    async with signed_in(page.owner, tmp_path) as tab:
        await tab.open(page.owner.url + path)

        for words_of_it in shown:
            await tab.shows(words_of_it)
        await tab.picture(Path(path).name)
        assert tab.complaints == []


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
async def test_browser_shows_what_is_in_a_backup(page: BackupPage, tmp_path: Path, whole: Any) -> None:
    async with signed_in(page.owner, tmp_path) as tab:
        await tab.open(f"{page.owner.url}/config/backup/details/{whole['backup_id']}")

        for words_of_it in ("Everything / Ümlaut", "This system", "Porch", "Media"):
            await tab.shows(words_of_it)
        await tab.picture("backup")
        of_its_picture = f"/addons/{whole['addons'][0]['slug']}/icon"  # which it has not
        assert [complaint for complaint in tab.complaints if not complaint.endswith(of_its_picture)] == []


async def test_core_complained_of_nothing(house: RealHouse) -> None:
    assert house.core_complaints() == []
