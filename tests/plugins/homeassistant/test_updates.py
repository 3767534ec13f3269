"""An update of Core that can't hurt: what is new has to work, or what was there comes back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.containers import Container, ContainerStatus, PullFailed, RegistryRateLimited
from rooftree.testing import Failing
from rooftree_containers import Desired, probation_watch
from rooftree_containers.standing import UpdateTakenBack
from rooftree_homeassistant import core_health, core_page
from rooftree_homeassistant.core_container import device_rules
from rooftree_homeassistant.home_assistant import CoreContainer
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse
from tests.plugins.homeassistant.running_core import CoreEngine, running_core
from tests.rig.waiting import until

SHORT: dict[str, object] = {"plugins.homeassistant.probation_minutes": 0.01}


def installed(house: CoreHouse) -> CoreContainer:
    assert house.core.installed is not None
    return house.core.installed


async def container(house: CoreHouse) -> Container:
    shown = await house.shown()
    assert shown is not None
    return shown


@pytest.fixture(autouse=True)
def quick_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that does not come is given up soon."""
    monkeypatch.setattr(core_page, "FIRST_FRAME_S", 0.3)


@pytest.fixture
async def home(place: Path, behind: CoreEngine, allow: Collection[Failing]) -> AsyncIterator[CoreHouse]:
    """A house in which the old version runs, and has a configuration and a history."""
    async with running_core(place, behind, allow=allow) as house:
        await asyncio.to_thread((house.config / "configuration.yaml").write_text, "light: old")
        behind.release(house.core.image, NEW)
        yield house


def history(house: CoreHouse) -> str:
    return (house.config / "home-assistant_v2.db").read_text()


async def test_update_goes_to_the_newest_and_keeps_the_way_back_until_that_has_run_well(
    place: Path, behind: CoreEngine
) -> None:
    async with running_core(place, behind, settings=SHORT) as house:
        behind.release(house.core.image, NEW)
        offered = (await house.info())["update_available"]

        answer = await house.call("update")
        info = await house.info()
        await house.comes_true("its probation's end", lambda: installed(house).probation is None)

        assert answer.data == {}
        assert (offered, info["version"], info["update_available"]) == (True, NEW, False)
        assert behind.core.traits["version"] == NEW
        assert set(behind.images) == {house.image(NEW)}
        assert not list((house.system.data.path / "kept" / "core").rglob("*.yaml"))


async def test_probation_can_be_looked_at_and_gone_back_from_by_hand(home: CoreHouse) -> None:
    await home.call("update", version=NEW)
    state = (await home.client.get("/kernel/v1/core/probation")).data
    (home.config / "configuration.yaml").write_text("light: new")

    answer = await home.client.post("/kernel/v1/core/roll-back")

    assert (state["version"], state["back_to"], state["failed_version"]) == (NEW, OLD, None)
    assert answer.data == {}
    assert ((await home.info())["version"], (await container(home)).status) == (OLD, ContainerStatus.RUNNING)
    assert (home.config / "configuration.yaml").read_text() == "light: old"
    again = await home.client.post("/kernel/v1/core/roll-back")
    assert (again.status, again.envelope["error_key"]) == (400, "no_roll_back_available_error")


async def test_roll_back_is_not_kept_waiting_by_a_start_that_hangs(home: CoreHouse, behind: CoreEngine) -> None:
    await home.call("update", version=NEW)
    await home.call("stop")
    behind.traits[NEW] = {"state": "STARTING"}
    starting = asyncio.create_task(home.call("start"))
    await behind.core_listens()

    async with asyncio.timeout(20):
        answer = await home.client.post("/kernel/v1/core/roll-back")
        started = await starting

    assert (answer.status, started.status) == (200, 409)
    assert (await home.info())["version"] == OLD


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"crashes": 3}, "ended with exit code 3"),
    ({"recovery_mode": True}, "recovery mode"),
    ({"components": ["http", "websocket_api"]}, "without frontend"),
    ({"components": None}, "without http and frontend"),
    ({"frontend": False}, "answers with status 404"),
    ({"websocket": False}, "does not answer in time"),
    ({"fails": 500}, "its API was not there"),
    ({"state": "STARTING"}, "it was still STARTING"),
]


@pytest.mark.parametrize(("traits", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
async def test_version_that_does_not_work_is_taken_back_and_the_caller_is_told(
    home: CoreHouse, behind: CoreEngine, traits: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_health, "FIRST_ANSWER_S", 0.5)
    monkeypatch.setattr(core_health, "START_S", 0.5)
    behind.release(home.core.image, NEW, **traits)
    told: list[UpdateTakenBack] = []
    home.system.bus.subscribe(UpdateTakenBack, told.append, "test")

    answer = await home.call("update", version=NEW)

    assert (answer.status, answer.envelope["error_key"]) == (400, "homeassistant_update_error")
    assert f"Version {NEW} of Home Assistant Core does not work here" in answer.message
    assert reason in answer.message
    assert "The version before it is back" in answer.message
    assert (installed(home).version, installed(home).failed_version, installed(home).probation) == (OLD, NEW, None)
    assert behind.core.traits["version"] == OLD
    assert (await container(home)).status is ContainerStatus.RUNNING
    assert (home.config / "configuration.yaml").read_text() == "light: old"
    assert [(event.what.version, event.what.back_to) for event in told] == [(NEW, OLD)]
    problem = home.problem("update_rolled_back")
    assert problem is not None
    assert reason in problem.message
    kept = home.system.data.path / told[0].what.set_aside
    assert f"Core {NEW}" in (kept / "log.txt").read_text()
    assert home.image(NEW) not in behind.images


async def test_history_goes_on_whatever_becomes_of_an_update(home: CoreHouse, behind: CoreEngine) -> None:
    behind.release(home.core.image, NEW, recovery_mode=True)

    await home.call("update", version=NEW)

    assert history(home) == f"schema of {OLD}\n"  # the old version has written it anew, when it came back
    kept = home.system.data.path / "kept" / "core"
    assert not list(kept.rglob("home-assistant_v2.db*"))


async def test_history_is_put_back_too_where_the_operator_wants_it(place: Path, behind: CoreEngine) -> None:
    settings = {"plugins.homeassistant.update_keeps_history": True}
    async with running_core(place, behind, settings=settings) as house:
        behind.release(house.core.image, NEW, recovery_mode=True)

        await house.call("update", version=NEW)

        failed = [path.read_text() for path in (place / "data" / "kept" / "core").rglob("home-assistant_v2.db")]
        assert failed == [f"schema of {NEW}\n"]


async def test_version_that_crashes_on_probation_is_rolled_back(
    home: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probation_watch, "SUSPECT_S", 0.01)
    await home.call("update", version=NEW)
    (home.config / "configuration.yaml").write_text("light: new")

    await behind.crash_core(9)
    await home.comes_true("the way back", lambda: home.problem("update_rolled_back") is not None)

    assert installed(home).version == OLD
    assert (home.config / "configuration.yaml").read_text() == "light: old"
    assert behind.core.traits["version"] == OLD


async def test_version_that_stops_working_on_probation_is_rolled_back(home: CoreHouse, behind: CoreEngine) -> None:
    await home.call("update", version=NEW)
    await behind.core.become(fails=500)

    for _ in range(2):
        await home.core.containers.watchdog.ask()
    await home.comes_true("the way back", lambda: home.problem("update_rolled_back") is not None)

    assert installed(home).version == OLD


async def test_long_migration_of_a_new_version_is_no_failure(
    home: CoreHouse, behind: CoreEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_health, "START_S", 0.3)
    behind.release(home.core.image, NEW, state="NOT_RUNNING", migration="offline")
    updating = asyncio.create_task(home.call("update", version=NEW))

    async def is_new() -> bool:
        return behind.core.traits.get("version") == NEW

    await until(is_new, within_s=10, what="the new version")
    await behind.core_listens()

    async def asked_often() -> bool:
        return len(await behind.core.told("request", path="/api/core/state")) > 30  # longer than a start may take

    await until(asked_often, within_s=10, what="thirty questions")
    assert not updating.done()
    await behind.core.become(state="RUNNING", migration=None)

    assert (await updating).data == {}
    assert installed(home).version == NEW


@pytest.mark.parametrize(
    ("error", "status", "key"),
    [
        (None, 400, "homeassistant_update_image_error"),
        (PullFailed("the line is cut"), 400, "homeassistant_update_image_error"),
        (RegistryRateLimited("too often", registry="x"), 429, "container_registry_rate_limit_exceeded"),
    ],
)
async def test_image_that_does_not_come_leaves_core_running(
    home: CoreHouse, behind: CoreEngine, error: Exception | None, status: int, key: str
) -> None:
    before = await container(home)
    if error is None:
        behind.empty_registry()
    else:
        behind.fail("pull", error)

    answer = await home.call("update", version=NEW)

    assert (answer.status, answer.envelope["error_key"]) == (status, key)
    if status == 400:
        assert answer.envelope["extra_fields"]["version"] == NEW
    assert await container(home) == before
    assert (await home.info())["version"] == OLD
    assert home.problem("update_rolled_back") is None


async def test_image_that_the_engine_has_is_asked_of_no_registry(home: CoreHouse, behind: CoreEngine) -> None:
    image = home.image(NEW)
    behind.load_image(image, behind.registry[image])
    behind.empty_registry()

    planned = (await home.client.post("/core/update?plan=1")).data
    answer = await home.call("update")

    assert planned["fetch_bytes"] == 0
    assert answer.status == 200, answer.text
    assert [call for call in behind.calls if call[0] == "pull"] == []
    assert (await home.info())["version"] == NEW


async def test_version_that_is_installed_and_one_that_nobody_knows_are_refused(home: CoreHouse) -> None:
    same = await home.call("update", version=OLD)
    home.tell_versions(None)
    unknown = await home.call("update")
    backup = await home.call("update", version=NEW, backup=True)

    assert (same.status, same.envelope["error_key"]) == (400, "homeassistant_update_already_installed_error")
    assert same.envelope["extra_fields"] == {"version": OLD}
    assert (unknown.status, unknown.envelope["error_key"]) == (400, "homeassistant_update_error")
    assert backup.status == 503


async def test_core_that_is_stopped_is_updated_and_stays_so(home: CoreHouse) -> None:
    await home.call("stop")

    answer = await home.call("update")

    assert answer.data == {}
    assert ((await home.info())["version"], installed(home).desired) == (NEW, Desired.STOPPED)
    shown = await home.shown()
    assert shown is None or shown.status is ContainerStatus.EXITED


async def test_plan_tells_how_much_is_fetched_and_how_long_core_is_away(home: CoreHouse) -> None:
    plan = (await home.client.post("/core/update?plan=1", json={})).data
    notes = [note for step in plan["steps"] for note in step["notes"]]

    assert plan["fetch_bytes"] == 1_000_000
    assert plan["downtime"]
    assert plan["reversible"]
    assert any("away while" in note and "the last time" in note for note in notes)
    assert (await home.info())["version"] == OLD


async def test_update_in_the_background_answers_with_its_job(home: CoreHouse) -> None:
    answer = await home.call("update", background=True)
    await home.comes_true("the update", lambda: installed(home).version == NEW)

    assert len(answer.data["job_id"]) == 32


async def test_page_that_only_others_can_see_is_not_asked_for(home: CoreHouse, behind: CoreEngine) -> None:
    behind.release(home.core.image, NEW, frontend=False, server_host=["192.0.2.7"])

    assert (await home.call("update", version=NEW)).data == {}


def test_devices_of_core_without_privileges_are_those_it_has_integrations_for(tmp_path: Path) -> None:
    listed = tmp_path / "devices"
    listed.write_text(
        "Character devices:\n  1 mem\n  4 /dev/vc/0\n240 hidraw\n241 gpiochip\n242 nvme\n\n"
        "Block devices:\n  8 sd\n243 media\n"
    )

    rules = device_rules(listed)

    assert {"c 188:* rwm", "c 240:* rwm", "c 241:* rwm"} <= {*rules}
    assert not {"c 1:* rwm", "c 4:* rwm", "c 242:* rwm", "c 243:* rwm", "c 8:* rwm"} & {*rules}
