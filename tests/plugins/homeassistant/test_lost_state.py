"""What becomes of a Core that runs when what was known of it is lost: it runs on, and is known again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree import Problem
from rooftree.interfaces.containers import Container, ContainerStatus
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import Desired
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import NAME, CoreContainer
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house

WANTED = {"plugins.homeassistant.install": True}


@pytest.fixture(autouse=True)
def core_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come up whenever it is asked."""

    async def up(*_: object) -> None:
        return None

    monkeypatch.setattr(CoreHealth, "until_up", up)
    monkeypatch.setattr(CoreHealth, "works", up)


async def lose(house: CoreHouse, older: str | None = None) -> None:
    """Lose what is known of Core, or know it as an older version."""
    documents = await house.system.state.collection(CoreContainer)
    if older is None:
        await house.system.state.commit(documents.delete(NAME))
    else:
        older_state = CoreContainer(version=older, image=house.image(older))
        await house.system.state.commit(documents.put(NAME, older_state))


async def container(house: CoreHouse) -> Container:
    shown = await house.shown()
    assert shown is not None
    return shown


async def running(house: CoreHouse) -> Container:
    """Core in the old version, which runs."""
    for version in (OLD, NEW):
        house.engine.publish_image(house.image(version))
    await house.install(OLD)
    assert (await house.call("start")).data == {}
    return await container(house)


@pytest.mark.parametrize("older", [None, "2026.9.4"])
async def test_core_that_runs_is_known_again_by_its_container(home: CoreHouse, older: str | None) -> None:
    before = await running(home)
    await lose(home, older)
    home.system.problems.report(Problem("state_damaged", "system", "x", "It was lost"))

    await home.core.containers.reconciliation.connected()

    installed = home.core.installed
    assert installed is not None
    assert (installed.version, installed.image, installed.desired) == (OLD, home.image(OLD), Desired.STARTED)
    assert await container(home) == before
    assert home.problem("core_taken_over") is not None
    assert list(home.system.tokens.known("core", NAME)) == [before.labels["io.rooftree.token"]]


async def test_core_that_was_stopped_is_known_again_as_one_that_is_to_be_so(home: CoreHouse) -> None:
    await running(home)
    await home.call("stop")
    await lose(home)
    home.system.problems.report(Problem("state_damaged", "system", "x", "It was lost"))

    await home.core.containers.reconciliation.connected()

    installed = home.core.installed
    assert installed is not None
    assert (installed.version, installed.desired) == (OLD, Desired.STOPPED)
    assert (await container(home)).status is ContainerStatus.EXITED


async def test_core_that_is_known_as_a_newer_version_than_it_shows_is_left(home: CoreHouse) -> None:
    await running(home)
    await lose(home, NEW)
    home.system.problems.report(Problem("state_damaged", "system", "x", "It is of yesterday"))

    await home.core.containers.reconciliation.connected()

    assert home.core.installed is not None
    assert home.core.installed.version == NEW
    assert home.problem("core_taken_over") is None


async def test_first_install_is_no_update_of_a_core_that_runs(tmp_path: Path, engine: FakeContainerEngine) -> None:
    async with core_house(tmp_path, engine) as house:
        await running(house)
        await lose(house)

    async with core_house(tmp_path, engine, settings=WANTED) as house:
        await house.comes_true("Core is known", lambda: house.core.installed is not None)

        assert (await house.info())["version"] == OLD
        assert ((await container(house)).image, (await container(house)).status) == (
            house.image(OLD),
            ContainerStatus.RUNNING,
        )
