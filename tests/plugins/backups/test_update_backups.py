"""A backup before an update, where that is wished: a part of the update's job, which is not made without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.containers import PullFailed
from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps
from tests.plugins.addons.house import HELLO, House, done
from tests.plugins.backups.restored_house import CORE_IMAGE, core_is_well, install_core, whole_house

allow = fixtures.allow
NEWER_CORE = "2026.12.0"
COMMAND = ("/pre.sh",)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    core_is_well(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path, allow: Collection[Failing]) -> AsyncIterator[House]:
    async with whole_house(tmp_path, FakeContainerEngine(), allow) as here:
        yield here


async def backups(home: House) -> list[dict[str, Any]]:
    return list((await home.client.get("/backups")).data["backups"])


@pytest.mark.parametrize("mode", ["hot", "cold"])
async def test_addon_is_backed_up_before_its_update(home: House, mode: str) -> None:
    await home.run(config={"backup": mode})
    await home.offer(version="2.0", config={"backup": mode})

    done(await home.client.post(f"/store/addons/{HELLO}/update", json={"backup": True}))

    (backup,) = await backups(home)
    assert (backup["name"], backup["content"]["addons"]) == (f"addon_{HELLO}_1.0", [HELLO])
    details = (await home.client.get(f"/backups/{backup['slug']}/info")).data
    assert details["extra"]["supervisor.addon_update"] == HELLO
    assert details["addons"][0]["version"] == "1.0"
    assert home.installed().version == "2.0"
    assert home.addons.runs(HELLO)


async def test_backup_stays_where_the_update_fails(home: House) -> None:
    await home.run()
    await home.offer(version="2.0")
    home.engine.fail("pull", PullFailed("broken off"))

    answer = await home.client.post(f"/store/addons/{HELLO}/update", json={"backup": True})

    assert answer.status != 200
    assert len(await backups(home)) == 1
    assert home.installed().version == "1.0"


async def test_plan_of_the_update_begins_with_the_backup(home: House) -> None:
    await home.run()
    await home.offer(version="2.0")

    plan = (await home.client.post(f"/store/addons/{HELLO}/update?plan=1", json={"backup": True})).data

    assert plan["steps"][0]["job"] == "backup_manager_partial_backup"
    assert await backups(home) == []


async def test_core_is_backed_up_before_its_update(home: House) -> None:
    await install_core(home)
    home.engine.publish_image(f"{CORE_IMAGE}:{NEWER_CORE}")

    done(await home.client.post("/core/update", json={"version": NEWER_CORE, "backup": True}))

    (backup,) = await backups(home)
    assert (backup["name"], backup["content"]["homeassistant"]) == ("core_2026.11.0", True)
    assert (await home.client.get("/core/info")).data["version"] == NEWER_CORE
