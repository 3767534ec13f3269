"""Restoring Core on a machine without one: the version of the backup is installed, and taken back as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve

from rooftree import JobCall, RooftreeError, Steps, job
from rooftree.interfaces.backups import StagedPart
from rooftree.interfaces.containers import ContainerStatus, EngineRefused
from rooftree.jobs import execution
from rooftree.testing.containers import FakeContainerEngine, Hold
from rooftree_containers import Desired
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import CONTAINER, NAME
from rooftree_homeassistant.install import FirstInstall
from tests.plugins.homeassistant.first_home import FirstHome, first_home
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house
from tests.plugins.homeassistant.restoring import back_up, restore, source_of, unpack
from tests.rig.scythe import PLACES, Scythe

MOST_PLACES = 80


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core itself is well, whatever it is."""

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(CoreHealth, "works", nothing)
    monkeypatch.setattr(CoreHealth, "until_up", nothing)


async def backed_up(folder: Path, kept: Path) -> None:
    """Another machine's Core, in an old version, which was backed up."""
    async with core_house(folder, FakeContainerEngine()) as house:
        await house.install(OLD, Desired.STOPPED)
        assert (await house.call("start")).data == {}
        await house.call("options", watchdog=False)
        await asyncio.to_thread((house.config / "value").write_text, "old")
        await back_up(house, kept)


async def cancelled(home: FirstHome, pull: Hold) -> None:
    """Somebody wants something else than the newest Core, which is being fetched."""
    home.engine.publish_image(home.image(NEW))
    await pull.reached.wait()
    await home.system.jobs.cancel(home.job().uuid)
    await home.comes_true("the end of the install", lambda: True)
    await home.until_shown(stage="stopped")
    pull.release()


def value(home: CoreHouse) -> str | None:
    file = home.config / "value"
    return file.read_text() if file.exists() else None


async def test_core_comes_in_the_version_of_the_backup(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up(tmp_path / "old", tmp_path / "kept")
    pull = engine.hold("pull")
    async with first_home(tmp_path / "new", engine, monkeypatch) as home:
        engine.publish_image(home.image(OLD))
        await cancelled(home, pull)

        await restore(home, await unpack(home, tmp_path / "kept"))

        shown, installed = await home.shown(), home.core.installed
        assert shown is not None and installed is not None
        assert (shown.status, shown.image) == (ContainerStatus.RUNNING, home.image(OLD))
        assert (installed.version, installed.desired) == (OLD, Desired.STARTED)
        assert home.core.options.watchdog is False
        assert await asyncio.to_thread(value, home) == "old"
        assert not await home.listens(home.ports.usual), "the port is Core's now"


async def test_core_that_can_not_be_started_is_not_installed_afterwards(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up(tmp_path / "old", tmp_path / "kept")
    pull = engine.hold("pull")
    async with first_home(tmp_path / "new", engine, monkeypatch) as home:
        engine.publish_image(home.image(OLD))
        await cancelled(home, pull)
        engine.fail("start", EngineRefused("no such program"))

        with pytest.raises(RooftreeError, match="no such program"):
            await restore(home, await unpack(home, tmp_path / "kept"))

        assert home.core.installed is None
        assert await home.shown() is None
        assert engine.images == {}
        assert home.core.options.watchdog is True
        assert await asyncio.to_thread(value, home) is None
        assert home.system.tokens.known("core", NAME) == {}
        await home.until_shown(stage="stopped")


async def test_restore_waits_for_nobody_while_core_is_being_installed_and_says_how_to_end_that(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up(tmp_path / "old", tmp_path / "kept")
    pull = engine.hold("pull")
    async with first_home(tmp_path / "new", engine, monkeypatch) as home:
        engine.publish_image(home.image(NEW))
        await pull.reached.wait()
        part = await unpack(home, tmp_path / "kept")
        call = (await source_of(home)).restore(part)

        with pytest.raises(RooftreeError, match=f"just being installed.*{home.job().uuid}/cancel"):
            await home.system.jobs.run(as_of_a_backup(call=call))


@job("as_of_a_backup", when_busy="refuse")
async def as_of_a_backup(call: JobCall[None]) -> Steps:
    return [call]


async def test_core_is_not_restored_where_the_operator_wants_none(home: CoreHouse, tmp_path: Path) -> None:
    await backed_up(tmp_path / "old", tmp_path / "kept")

    with pytest.raises(RooftreeError, match="install = false"):
        await restore(home, await unpack(home, tmp_path / "kept"))

    assert home.core.installed is None


async def test_backup_that_tells_no_version_needs_a_core_that_is_there(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up(tmp_path / "old", tmp_path / "kept")
    pull = engine.hold("pull")
    async with first_home(tmp_path / "new", engine, monkeypatch) as home:
        await cancelled(home, pull)
        part = await unpack(home, tmp_path / "kept")

        with pytest.raises(RooftreeError, match="does not say which version"):
            await restore(home, evolve(part, documents={}, version=None))


@pytest.mark.parametrize("places", [(":do", ":accepted", ":end"), pytest.param(PLACES, marks=pytest.mark.torture)])
async def test_restore_is_taken_back_or_done_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...]
) -> None:
    """What a step leaves is what the next one begins with, so the places behind steps are for ``make torture``."""
    scythe, outcomes = Scythe(places), set[bool]()
    monkeypatch.setattr(execution, "reach", scythe.reach)
    monkeypatch.setattr(FirstInstall, "tasks", lambda _: ())
    settings = {"plugins.homeassistant.install": True}
    await backed_up(tmp_path / "old", tmp_path / "kept")
    for number in range(1, MOST_PLACES):
        engine, folder = FakeContainerEngine(), tmp_path / str(number)
        async with core_house(folder, engine, settings=settings) as home:
            engine.publish_image(home.image(OLD))
            part = await unpack(home, tmp_path / "kept")
            scythe.arm(number)
            await asyncio.wait({asyncio.create_task(attempt(home, part))})
        if scythe.place is None:
            break
        async with core_house(folder, engine, settings=settings) as home:
            await home.comes_true(f"the recovery after {scythe.place}", lambda: True)
            installed, shown = home.core.installed, await home.shown()
            outcomes.add(installed is not None)
            assert home.core.options.watchdog is (installed is None), scythe.place
            assert (await asyncio.to_thread(value, home)) == (None if installed is None else "old"), scythe.place
            assert (shown is not None) is (installed is not None), scythe.place
            assert len(home.system.tokens.known("core", NAME)) == (0 if installed is None else 1), scythe.place
            assert engine.images.keys() == (set() if installed is None else {home.image(OLD)}), scythe.place
            if shown is not None:
                assert shown.status is ContainerStatus.RUNNING, scythe.place
                assert engine.spec(CONTAINER).image == home.image(OLD), scythe.place
    else:
        raise AssertionError("it has no end")
    assert outcomes == {True, False}
    assert number >= 6


async def attempt(home: CoreHouse, part: StagedPart) -> None:
    try:
        await restore(home, part)
    except RooftreeError:
        return


async def test_core_is_installed_by_itself_after_a_restore_that_a_kill_ended_was_taken_back(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scythe = Scythe((":done",))
    await backed_up(tmp_path / "old", tmp_path / "kept")
    pull = engine.hold("pull")
    async with first_home(tmp_path / "new", engine, monkeypatch) as home:
        engine.publish_image(home.image(OLD))
        await cancelled(home, pull)
        part = await unpack(home, tmp_path / "kept")
        monkeypatch.setattr(execution, "reach", scythe.reach)
        scythe.arm(2)
        await asyncio.wait({asyncio.create_task(attempt(home, part))})
        assert scythe.place is not None and home.core.installed is not None

    async with first_home(tmp_path / "new", engine, monkeypatch, ports=home.ports) as home:
        await home.comes_true(
            "the install", lambda: home.core.installed is not None and home.core.installed.version == NEW
        )
