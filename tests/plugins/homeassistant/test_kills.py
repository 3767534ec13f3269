"""A kill at any step of a job of Core's: after the next start it is finished, or as if it had never begun.

The job's task ends where a kill would fall, and takes nothing back; the engine's containers live on. Which places there
are is not written down here: each job is killed at every one that it comes by. What a step leaves is what the next one
begins with, so the places behind the steps are for ``make torture``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rooftree import RooftreeError
from rooftree.interfaces.containers import ContainerStatus
from rooftree.jobs import execution
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import Desired
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.core_jobs import keep_update
from rooftree_homeassistant.home_assistant import CONTAINER, NAME, CoreContainer
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, core_house
from tests.rig.scythe import PLACES, Scythe

VALUE = "configuration.yaml"
MOST_PLACES = 80
ENDS = FakeImage(exit_code=0)
"""Core's image while its check runs: that ends well."""


@pytest.fixture(params=[(":do", ":undo", ":accepted", ":end"), pytest.param(PLACES, marks=pytest.mark.torture)])
def scythe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scythe:
    scythe = Scythe(request.param)
    monkeypatch.setattr(execution, "reach", scythe.reach)
    return scythe


@pytest.fixture(autouse=True)
def new_version_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core itself is well."""
    content(monkeypatch, None)


def content(monkeypatch: pytest.MonkeyPatch, complaint: str | None) -> None:
    """What there is to say of a new version."""

    async def up(*_: object) -> None:
        return None

    async def works(_: object) -> str | None:
        return complaint

    monkeypatch.setattr(CoreHealth, "until_up", up)
    monkeypatch.setattr(CoreHealth, "works", works)


type Act = Callable[[CoreHouse], Awaitable[object]]


async def installed(house: CoreHouse) -> None:
    """Core is installed, and was never started; nor is it to be, so that nothing goes on by itself."""
    for version in (OLD, NEW):
        house.engine.publish_image(house.image(version))
    await house.install(OLD, Desired.STOPPED)


async def runs(house: CoreHouse) -> None:
    """It runs."""
    await installed(house)
    assert (await house.call("start")).data == {}
    (house.config / VALUE).write_text("old")


async def updated(house: CoreHouse) -> None:
    """It runs as the new version, which has changed its configuration."""
    await runs(house)
    assert (await house.call("update", version=NEW)).data == {}
    (house.config / VALUE).write_text("new")


async def is_whole(house: CoreHouse) -> CoreContainer:
    """What must be so at any time; what is kept of Core."""
    core, engine = house.core.installed, house.engine
    assert core is not None
    assert [shown.name for shown in await engine.containers()] in ([CONTAINER], [])
    assert engine._aside == {}
    shown = await house.shown()
    tokens = house.system.tokens.known("core", NAME)
    if core.desired is Desired.STARTED:
        assert shown is not None
        assert (shown.status, shown.image) == (ContainerStatus.RUNNING, core.image)
        assert [shown.labels["io.rooftree.token"]] == list(tokens)
    else:
        assert shown is None or shown.status is not ContainerStatus.RUNNING
    kept = list((house.system.data.path / "kept" / "core" / NAME).glob("*"))
    names = {house.image(core.version)}
    if core.probation is not None:
        names |= {core.probation.kept.image, core.probation.was.image}
        assert [str(folder.relative_to(house.system.data.path)) for folder in kept] == [core.probation.kept.folder]
    else:
        assert [folder for folder in kept if not folder.name.startswith("failed-")] == []
    assert {*engine.images} == names
    assert [job for job in house.system.jobs.listing() if not job.done] == []
    assert house.system.problems.healthy
    return core


async def killed_everywhere(
    folder: Path, scythe: Scythe, before: Act, call: Act, check: Callable[[CoreHouse, CoreContainer, str], None]
) -> list[str]:
    """Kill the job of ``call`` at each place that it comes by, each time in a house of its own; the places."""
    places: list[str] = []
    for number in range(1, MOST_PLACES):
        engine = FakeContainerEngine()
        place = folder / str(number)
        async with core_house(place, engine) as house:
            await before(house)
            scythe.arm(number)
            await call(house)
        if scythe.place is None:
            scythe.remaining = None
            return places
        places.append(scythe.place)
        async with core_house(place, engine) as house:
            await house.comes_true(f"the recovery after {scythe.place}", lambda: True)
            check(house, await is_whole(house), scythe.place)
    raise AssertionError(f"it has no end: {places}")


def number_of_steps(places: list[str]) -> int:
    """How many steps were come by."""
    return len([place for place in places if place.endswith(":do")])


def post(verb: str, **body: object) -> Act:
    return lambda house: house.call(verb, **body)


@pytest.mark.parametrize(
    ("before", "verb", "desired", "steps"),
    [
        (installed, "start", Desired.STARTED, 5),
        (runs, "stop", Desired.STOPPED, 2),
        (runs, "restart", Desired.STARTED, 7),
        (runs, "rebuild", Desired.STARTED, 7),
    ],
)
async def test_verb_is_finished_wherever_it_was_killed(
    tmp_path: Path, scythe: Scythe, before: Act, verb: str, desired: Desired, steps: int
) -> None:
    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert core.desired is desired, place

    places = await killed_everywhere(tmp_path, scythe, before, post(verb), check)

    assert number_of_steps(places) == steps, places


async def test_safe_mode_is_for_the_start_that_was_asked_for(tmp_path: Path, scythe: Scythe) -> None:
    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert (house.config / "safe-mode").exists(), place  # Core, which is not there, would have taken it away

    await killed_everywhere(tmp_path, scythe, runs, post("restart", safe_mode=True), check)


async def test_update_that_is_killed_is_made_or_not_and_the_configuration_is_whole(
    tmp_path: Path, scythe: Scythe
) -> None:
    outcomes = set()

    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert (house.config / VALUE).read_text() == "old", place
        assert core.failed_version is None, place
        outcomes.add((core.version, core.probation is not None))

    places = await killed_everywhere(tmp_path, scythe, runs, post("update", version=NEW), check)

    assert outcomes == {(OLD, False), (NEW, True)}
    assert number_of_steps(places) >= 8


@pytest.mark.parametrize("scythe", [(":undo",), pytest.param(PLACES, marks=pytest.mark.torture)], indirect=True)
async def test_update_that_fails_and_is_killed_while_it_is_taken_back_is_taken_back(
    tmp_path: Path, scythe: Scythe, monkeypatch: pytest.MonkeyPatch
) -> None:
    content(monkeypatch, "it does not work")

    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert (core.version, core.probation) == (OLD, None), place
        assert (house.config / VALUE).read_text() == "old", place
        if place.endswith(":undo"):  # before that nobody had seen that it does not work
            assert core.failed_version == NEW, place
            assert house.problem("update_rolled_back") is not None, place

    places = await killed_everywhere(tmp_path, scythe, runs, post("update", version=NEW), check)

    assert len([place for place in places if place.endswith(":undo")]) >= 8


async def test_roll_back_is_finished_wherever_it_was_killed(tmp_path: Path, scythe: Scythe) -> None:
    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert (core.version, core.probation, core.failed_version) == (OLD, None, NEW), place
        assert (house.config / VALUE).read_text() == "old", place

    async def back(house: CoreHouse) -> None:
        await house.client.post("/kernel/v1/core/roll-back")

    places = await killed_everywhere(tmp_path, scythe, updated, back, check)

    assert number_of_steps(places) >= 10


async def test_what_an_update_replaced_is_given_up_whole_wherever_that_was_killed(
    tmp_path: Path, scythe: Scythe
) -> None:
    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert (core.version, core.probation, core.failed_version) == (NEW, None, None), place
        assert (house.config / VALUE).read_text() == "new", place

    async def proves_itself(house: CoreHouse) -> None:
        core = house.core.installed
        assert core is not None and core.probation is not None
        with suppress(RooftreeError):
            await house.system.jobs.run(keep_update(update=core.probation.kept.folder))

    places = await killed_everywhere(tmp_path, scythe, updated, proves_itself, check)

    assert number_of_steps(places) == 4


async def test_check_leaves_no_container_wherever_it_was_killed(tmp_path: Path, scythe: Scythe) -> None:
    def check(house: CoreHouse, core: CoreContainer, place: str) -> None:
        assert core.version == OLD, place

    async def ends(house: CoreHouse) -> None:
        house.engine.images[house.image(OLD)] = house.engine.publish_image(house.image(OLD), ENDS)
        await house.call("check")

    places = await killed_everywhere(tmp_path, scythe, installed, ends, check)

    assert number_of_steps(places) == 1
