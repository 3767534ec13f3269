"""What becomes of Core when its host is switched off and on, and when only Rooftree is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import Desired, reconciliation
from rooftree_homeassistant import install
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import CONTAINER, NAME
from tests.plugins.homeassistant.first_home import first_home
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house


@pytest.fixture(autouse=True)
def core_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come up whenever it is asked."""

    async def up(*_: object) -> None:
        return None

    monkeypatch.setattr(CoreHealth, "until_up", up)


def boots(patch: pytest.MonkeyPatch, name: str) -> None:
    """The host is in that boot from now on."""

    async def boot_id() -> str:
        return name

    for module in (reconciliation, install):
        patch.setattr(module, "boot_id", boot_id)


async def comes_to(house: CoreHouse, desired: Desired) -> None:
    """Wait until all was looked at; Core is to be that, and is."""

    def is_so() -> bool:
        runs = house.core.containers.observation.runs(NAME)
        installed = house.core.installed
        return installed is not None and installed.desired is desired and runs is (desired is Desired.STARTED)

    await house.core.containers.reconciliation.connected()
    await house.comes_true(f"a Core that is {desired}", is_so)


@pytest.mark.parametrize(
    ("boot", "was", "then"), [(True, Desired.STOPPED, Desired.STARTED), (False, Desired.STARTED, Desired.STOPPED)]
)
async def test_core_starts_with_its_host_as_its_user_wants(
    tmp_path: Path,
    engine: FakeContainerEngine,
    monkeypatch: pytest.MonkeyPatch,
    boot: bool,
    was: Desired,
    then: Desired,
) -> None:
    boots(monkeypatch, "the first")
    async with core_house(tmp_path, engine) as house:
        await house.install(OLD, was)
        await house.call("options", boot=boot)
        await comes_to(house, was)
    await engine.stop(CONTAINER, 10)

    boots(monkeypatch, "the second")
    async with core_house(tmp_path, engine) as house:
        await comes_to(house, then)


@pytest.mark.parametrize(("boot", "then"), [("the first", Desired.STOPPED), ("the second", Desired.STARTED)])
async def test_core_that_was_stopped_since_its_install_stays_so_until_the_host_boots(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch, boot: str, then: Desired
) -> None:
    boots(monkeypatch, "the first")
    async with core_house(tmp_path, engine) as house:
        engine.publish_image(house.image(NEW))
    async with first_home(tmp_path, engine, monkeypatch) as home:
        await home.until_installed()
        await home.call("stop")

    boots(monkeypatch, boot)
    async with core_house(tmp_path, engine) as house:
        await comes_to(house, then)
