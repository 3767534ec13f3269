"""What somebody does with a real Home Assistant Core that Rooftree runs, from the first start to an update that fails.

The tests share one house, and each leaves it for the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_core.rig.backup_page import BackupPage
from tests.real_core.rig.browser import BROWSER
from tests.real_core.rig.core_user import OWNER, PASSWORD, CoreUser
from tests.real_core.rig.frontend import signed_in
from tests.real_core.rig.house import RealHouse
from tests.real_core.rig.image import VERSION
from tests.requirements import needs
from tests.rig.bashio import bashio
from tests.rig.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEXT = "2026.11.1"
UPDATE_S = 420.0
FRONTEND_CALLS = (
    "/addons", "/available_updates", "/backups/info", "/core/info", "/core/stats",
    "/discovery", "/hardware/info", "/host/info", "/info", "/ingress/panels", "/jobs/info", "/mounts",
    "/network/info", "/os/info", "/resolution/info", "/services", "/store", "/store/addons", "/store/repositories",
    "/supervisor/info", "/supervisor/stats",
)  # fmt: skip
"""What its pages ask for, through Core's WebSocket."""


@pytest.fixture(scope="module")
def porch_slug(house: RealHouse) -> Iterator[str]:
    """The add-on's slug, once it was offered."""
    yield house.slugs["porch"]


# --- the first start --------------------------------------------------------------------------------------------------


async def test_core_is_installed_and_runs(house: RealHouse, owner: CoreUser) -> None:
    await house.has_core(owner)

    jobs = (await house.daemon.ok("GET", "/jobs/info"))["jobs"]
    assert [job for job in jobs if job["errors"]] == []


async def test_somebody_is_welcomed(owner: CoreUser) -> None:
    await owner.onboard()

    config = await owner.is_there()
    assert (config["version"], config["recovery_mode"]) == (VERSION, False)


async def test_integration_is_loaded_and_core_complains_of_nothing(house: RealHouse, owner: CoreUser) -> None:
    await owner.integration_is_loaded()

    assert house.core_complaints() == []


async def test_core_told_us_its_port_and_takes_us_on_its_socket(house: RealHouse) -> None:
    info = await house.daemon.ok("GET", "/core/info")

    assert (info["port"], info["ssl"], info["update_available"]) == (house.core_port, False, False)
    socket = house.daemon.data_dir / "run" / "core" / "core.sock"
    assert socket.is_socket()


@pytest.mark.parametrize("path", FRONTEND_CALLS)
async def test_frontend_asks_through_core(owner: CoreUser, path: str) -> None:
    assert await owner.supervisor(path) is not None


# --- an add-on --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("owner")
async def test_frontend_installs_an_add_on(house: RealHouse, owner: CoreUser) -> None:
    await owner.supervisor("/store/repositories", "post", repository=house.repository.url)
    porch = await house.addon("porch")

    await owner.supervisor(f"/store/addons/{porch.slug}/install", "post")
    await owner.supervisor(f"/addons/{porch.slug}/options", "post", ingress_panel=True)
    await owner.supervisor(f"/addons/{porch.slug}/start", "post")

    assert (await porch.info())["state"] == "started"


async def test_panel_is_in_the_sidebar(owner: CoreUser, porch_slug: str) -> None:
    async def is_there() -> bool:
        panels = await owner.ask("get_panels")
        return panels.get(porch_slug, {}).get("title") == "Porch"

    await until(is_there, within_s=30, what="the add-on's panel")


async def test_add_on_is_a_device_with_entities(house: RealHouse, owner: CoreUser, porch_slug: str) -> None:
    await owner.look_anew()
    shown = await until(lambda: owner.state("update.porch_update"), within_s=60, what="its update entity")

    devices = await owner.ask("config/device_registry/list")
    assert porch_slug in {number for device in devices for _, number in device["identifiers"]}
    assert (shown["state"], shown["attributes"]["installed_version"]) == ("off", "1.0")


async def test_stop_made_elsewhere_is_seen_at_once(house: RealHouse, owner: CoreUser) -> None:
    porch = await house.addon("porch")
    entities = await owner.ask("config/entity_registry/list")
    running = next(e for e in entities if e["unique_id"] == f"{porch.slug}_state" and e["platform"] == "hassio")
    if running["disabled_by"] is not None:
        await owner.ask("config/entity_registry/update", entity_id=running["entity_id"], disabled_by=None)
        await owner.look_anew()
    await owner.sees(running["entity_id"], "on", within_s=60)

    await porch.stop()
    await owner.sees(running["entity_id"], "off", within_s=3)
    await porch.start()
    await owner.sees(running["entity_id"], "on", within_s=3)


async def test_update_entity_updates_the_add_on(house: RealHouse, owner: CoreUser) -> None:
    house.release_porch("2.0")
    await house.daemon.ok("POST", "/store/reload")
    await owner.sees("update.porch_update", "on", within_s=60)

    await owner.call_service("update.install", entity_id="update.porch_update")

    shown = await owner.sees("update.porch_update", "off")
    assert shown["attributes"]["installed_version"] == "2.0"
    assert (await (await house.addon("porch")).info())["version"] == "2.0"


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
async def test_browser_shows_the_add_on_through_ingress(house: RealHouse, owner: CoreUser, tmp_path: Path) -> None:
    porch = await house.addon("porch")
    async with signed_in(owner, tmp_path) as page:
        await page.open(f"{house.core_url}/{porch.slug}")

        await page.shows("The porch of 2.0")
        await page.shows("the light is on")


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/config/apps/installed", "Porch"),
        ("/config/apps/available", "Porch"),
        ("/config/network", "Network"),
        ("/config/storage", "Storage"),
        ("/config/repairs", "Repairs"),
        ("/config/system", "System"),
    ],
)
async def test_browser_shows_the_pages_of_the_supervisor(
    house: RealHouse, owner: CoreUser, tmp_path: Path, path: str, words: str
) -> None:
    async with signed_in(owner, tmp_path) as page:
        await page.open(house.core_url + path)

        await page.shows(words)
        assert [complaint for complaint in page.complaints if "/api/hassio" in complaint] == []


# --- what an add-on asks of Core --------------------------------------------------------------------------------------


async def test_add_on_asks_core_and_changes_a_state(house: RealHouse, owner: CoreUser) -> None:
    porch = await house.addon("porch")

    config = bashio(porch, "GET", "/core/api/config")
    changed = bashio(porch, "POST", "/core/api/states/sensor.porch", {"state": "dry"})

    assert (config[0], config[1]["version"], changed[0]) == (200, VERSION, 201)
    assert (await owner.state("sensor.porch"))["state"] == "dry"


async def test_user_of_core_logs_in_at_the_add_on(house: RealHouse) -> None:
    porch = await house.addon("porch")

    assert bashio(porch, "POST", "/auth", {"username": OWNER, "password": PASSWORD})[0] == 200
    assert bashio(porch, "POST", "/auth", {"username": OWNER, "password": "wrong"})[0] == 401


async def test_broker_of_an_add_on_is_discovered_and_forgotten(house: RealHouse, owner: CoreUser) -> None:
    porch = await house.addon("porch")
    broker = {"host": "porch", "port": 1883, "username": "house", "password": "secret", "protocol": "3.1.1"}

    published, _ = bashio(porch, "POST", "/services/mqtt", broker)
    announced, message = bashio(porch, "POST", "/discovery", {"service": "mqtt", "config": broker})

    async def is_found() -> bool:
        flows = await owner.ask("config_entries/flow/progress")
        return any(flow["handler"] == "mqtt" and flow["context"]["source"] == "hassio" for flow in flows)

    assert (published, announced) == (200, 200)
    await until(is_found, within_s=30, what="a flow for the broker")
    listed = (await owner.supervisor("/discovery"))["discovery"]
    assert [(entry["addon"], entry["uuid"]) for entry in listed] == [(porch.slug, message["uuid"])]
    assert bashio(porch, "DELETE", f"/discovery/{message['uuid']}")[0] == 200
    assert (await owner.supervisor("/discovery"))["discovery"] == []


# --- Core's own services, and an update that fails --------------------------------------------------------------------


async def test_core_restarts_itself_into_safe_mode_and_out_of_it(house: RealHouse, owner: CoreUser) -> None:
    before = house.core_started_at()
    await owner.call_service("homeassistant.restart", safe_mode=True)
    await until(lambda: changed(house, before), within_s=120, what="another start of Core")
    assert (await owner.is_there())["safe_mode"] is True

    before = house.core_started_at()
    await owner.call_service("homeassistant.restart")
    await until(lambda: changed(house, before), within_s=120, what="another start of Core")
    assert (await owner.is_there())["safe_mode"] is False


async def test_update_from_cores_own_entity_makes_a_backup_and_goes_to_the_next_version(
    house: RealHouse, owner: CoreUser
) -> None:
    house.release_core(NEXT)
    await house.daemon.ok("POST", "/reload_updates")
    entities = await owner.ask("config/entity_registry/list")
    core_update = next(
        entity["entity_id"]
        for entity in entities
        if entity["platform"] == "hassio"
        and entity["entity_id"].startswith("update.")
        and entity["unique_id"].startswith("home_assistant_core_")
    )
    await owner.look_anew()
    await owner.sees(core_update, "on")

    # This takes Core away that is called, after it has made the backup.
    await owner.call_service("update.install", entity_id=core_update, backup=True)

    async def is_updated() -> bool:
        jobs = (await house.daemon.ok("GET", "/jobs/info"))["jobs"]
        return (await house.daemon.ok("GET", "/core/info"))["version"] == NEXT and all(job["done"] for job in jobs)

    await until(is_updated, within_s=UPDATE_S, what="the end of the update")
    config = await owner.is_there()
    assert (config["version"], config["recovery_mode"]) == (NEXT, False)
    shown = await owner.sees(core_update, "off")
    assert shown["attributes"]["installed_version"] == NEXT
    (backup,) = (await BackupPage(owner).listed()).values()
    assert (backup["name"], backup["homeassistant_version"]) == (f"Home Assistant Core {VERSION}", VERSION)
    probation = await house.daemon.ok("GET", "/kernel/v1/core/probation")
    assert (probation["version"], probation["back_to"]) == (NEXT, VERSION)
    assert await owner.supervisor("/addons") is not None
    assert house.core_complaints() == []


async def test_update_that_crashes_goes_back_by_itself(house: RealHouse, owner: CoreUser) -> None:
    house.release_broken_core("2026.11.9", "#!/bin/sh\necho 'this version is broken on purpose'\nexit 1\n")
    await house.daemon.ok("POST", "/reload_updates")
    assert (await house.daemon.ok("GET", "/core/info"))["update_available"] is True

    status, body = await house.daemon.call("POST", "/core/update", {})

    assert status == 400, body
    info = await house.daemon.ok("GET", "/core/info")
    assert (info["version"], info["version_latest"]) == (NEXT, "2026.11.9")
    config = await owner.is_there()
    assert (config["version"], config["recovery_mode"]) == (NEXT, False)
    assert house.core_complaints() == []


async def changed(house: RealHouse, before: str) -> bool:
    """Whether Core was started since."""
    return house.core_started_at() not in {before, ""}
