"""Everything kept still for who copies the house from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.interfaces.backups import PartLeftOut
from tests.plugins.backups.house import House, house


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as running:
        yield running


ADDONS = {"local_lamp", "local_bell"}


async def test_everything_is_still_until_the_thaw(home: House) -> None:
    assert (await home.client.post("/backups/freeze")).data == {}

    assert home.system.state_now == "freeze"
    assert {line for line in home.addons.held if line.startswith("hold")} == {f"hold {slug}" for slug in ADDONS}
    assert home.core.held == ["hold homeassistant"]
    assert (await home.client.post("/backups/new/full")).status == 400
    assert (await home.client.post("/backups/freeze")).status == 400

    assert (await home.client.post("/backups/thaw")).data == {}
    assert home.system.state_now == "running"
    assert home.core.held[-1] == "let go homeassistant"
    assert (await home.client.post("/backups/thaw")).status == 400


async def test_everything_is_let_go_at_the_deadline(home: House) -> None:
    await home.client.post("/backups/freeze", json={"timeout": 1})
    assert home.system.state_now == "freeze"

    await home.thawed()

    assert home.core.held[-1] == "let go homeassistant"
    assert (await home.client.post("/backups/freeze")).data == {}
    await home.client.post("/backups/thaw")


async def test_what_cannot_be_kept_still_is_said_and_the_rest_is_until_the_thaw(home: House) -> None:
    home.addons.errors["local_lamp"] = PartLeftOut("backup_pre exited with 1")

    answer = await home.client.post("/backups/freeze")

    assert (answer.status, answer.envelope["extra_fields"]) == (400, {"parts": ["local_lamp"]})
    assert "backup_pre exited with 1" in answer.message
    assert home.system.state_now == "freeze"
    assert home.addons.held.count("let go local_bell") == 0
    await home.client.post("/backups/thaw")
    assert home.addons.held[-1] == "let go local_bell"


async def test_a_part_that_fails_as_nobody_expected_leaves_nothing_frozen_for_ever(home: House) -> None:
    home.addons.errors["local_lamp"] = OSError(28, "No space left on device")

    answer = await home.client.post("/backups/freeze")

    assert (answer.status, answer.envelope["extra_fields"]) == (400, {"parts": ["local_lamp"]})
    assert home.system.state_now == "freeze"
    async with asyncio.timeout(5):
        assert (await home.client.post("/backups/thaw")).data == {}
    home.addons.errors.clear()
    assert (await home.client.post("/backups/freeze")).data == {}
    await home.client.post("/backups/thaw")


async def test_what_was_still_when_rooftree_stopped_is_let_go(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.client.post("/backups/freeze")
        addons = home.addons

    assert {line for line in addons.held if line.startswith("let go")} == {f"let go {slug}" for slug in ADDONS}
    async with house(tmp_path) as home:
        async with asyncio.timeout(5):
            while set(home.addons.released) != ADDONS:
                await asyncio.sleep(0.01)
        assert home.core.released == ["homeassistant"]
        assert home.system.state_now == "running"
