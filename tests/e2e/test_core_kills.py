"""The daemon is killed at the steps of what it does to Core, on a real engine: the first install, an update, the way
back from one that crashes, and a roll-back by hand.

Afterwards Core runs, once, in the version before or after, with the configuration that belongs to it; nothing else is
left, and doing it again works. ``tests/plugins/homeassistant/test_kills.py`` kills at every place there is, each time,
with an engine that is none; here each operation is killed each time where it acts on the engine.
"""

from __future__ import annotations

import contextlib
from signal import SIGKILL

import aiohttp
import pytest
from _pytest.mark import ParameterSet

from tests.rig.core_house import CoreHouse, core_house
from tests.rig.core_image import CoreImages
from tests.rig.core_program import STARTS
from tests.rig.engine import INSTANCE_LABEL, Engine
from tests.rig.footprint import KEPT
from tests.rig.waiting import until

TOGETHER = pytest.mark.xdist_group("core-kills")
pytestmark = TOGETHER

OLD, NEW, BROKEN = "2026.10.1", "2026.11.0", "2026.11.1"
CONVERGES_S = 30.0

INSTALL = (
    "homeassistant.fetch_core/1",
    "homeassistant.put_core/1",
    "containers.create_container/1",
    "homeassistant.hand_over_port/1",
    "containers.start_container/1",
)
REPLACE = (
    "docker.keep_image/1",
    "homeassistant.pull_image/1",
    "containers.check_start/1",
    "containers.stop_container/1",
    "containers.keep_data/1",
    "homeassistant.change_version/1",
    "containers.create_container/1",
    "containers.begin_probation/1",
    "containers.start_container/1",
)
ROLL_BACK = (
    "containers.keep_failed_log/1",
    "containers.remove_container/1",
    "docker.bring_back_image/1",
    "containers.put_back_data/1",
    "containers.put_back_version/1",
    "docker.remove_image/1",
    "containers.drop_kept_data/1",
    "containers.create_container/1",
    "containers.start_container/1",
    "homeassistant.await_core/1",
)


def places(steps: tuple[str, ...], *moments: str, each_time: tuple[str, ...]) -> list[ParameterSet]:
    """Where an operation is killed, as parameters of a test.

    :param each_time: where it is killed in ``make test``; the rest takes minutes
    """
    killed_at = [(step, moment) for step in steps for moment in moments]
    unknown = {*each_time} - {f"{step}:{moment}" for step, moment in killed_at}
    assert not unknown, f"no operation comes by {unknown}"
    return [
        pytest.param(
            f"step:{step}:{moment}",
            id=f"{step.partition('/')[0]}-{moment}",
            marks=[] if f"{step}:{moment}" in each_time else [pytest.mark.torture],
        )
        for step, moment in killed_at
    ]


@pytest.fixture(scope="module")
def published(cores: CoreImages) -> CoreImages:
    """All versions are there; one of them ends as soon as it has begun."""
    for version in (OLD, NEW):
        cores.publish(version)
    cores.publish(BROKEN, crashes=7)
    return cores


async def killed(house: CoreHouse, operation: str | None, place: str) -> None:
    """Have the daemon do something, and be killed at that place of it; then let it go on by itself."""
    daemon = house.daemon
    with contextlib.suppress(RuntimeError):  # its first install it begins with its start, and is killed in that
        await daemon.start(failpoints=f"{place}=kill")
    if operation is not None:
        with pytest.raises(aiohttp.ClientError):
            await daemon.call("POST", operation, {})
    assert await daemon.ended() == -SIGKILL, f"it never came by {place}"
    await daemon.start()
    await daemon.recovered()


async def lead_up_to_update(house: CoreHouse, newest: str) -> None:
    """Core runs in the old version, and the feed has a newer one."""
    await house.daemon.start()
    await house.runs(OLD)
    await house.core.is_told("connected")
    house.feed.core = newest
    await house.daemon.ok("POST", "/reload_updates")


def world_of(house: CoreHouse) -> dict[str, object]:
    """What the engine and the data folder have of this house."""
    engine, instance = house.engine, house.daemon.instance
    containers = engine.run(
        "ps", "--all", "--filter", f"label={INSTANCE_LABEL}={instance}", "--format", "{{.Names}} {{.Image}} {{.State}}"
    )
    images = engine.run("images", "--format", "{{.Tag}}", house.images.name).split()
    for_way_back = engine.run("images", "--quiet", "--filter", f"label={house.images.label}", KEPT).split()
    kept = house.daemon.data_dir / "kept" / "core"
    return {
        "containers": [line.removeprefix(house.daemon.prefix) for line in containers.splitlines()],
        "images": sorted(images),
        "images for the way back": len(for_way_back),
        "kept": sorted("failed" if path.name.startswith("failed") else "update" for path in kept.glob("*/*")),
    }


def running(house: CoreHouse, version: str, **more: object) -> dict[str, object]:
    """What is left when Core runs in that version, and nothing else is kept."""
    return {
        "containers": [f"homeassistant {house.images.name}:{version} running"],
        "images": [version],
        "images for the way back": 0,
        "kept": [],
        **more,
    }


async def becomes(house: CoreHouse, *expected: dict[str, object]) -> dict[str, object]:
    """Wait until there is what one of these says, and nothing else; which one."""

    async def found() -> dict[str, object] | None:
        now = world_of(house)
        return now if now in expected else None

    try:
        return await until(found, within_s=CONVERGES_S, what="one of the expected worlds") or {}
    except TimeoutError:
        assert world_of(house) in expected  # shows what differs
        raise


@pytest.mark.parametrize(
    "place", places(INSTALL, "before", "do", "done", each_time=("homeassistant.fetch_core/1:done",))
)
async def test_install_goes_on_wherever_it_was_killed(engine: Engine, published: CoreImages, place: str) -> None:
    async with core_house(engine, published, OLD) as house:
        await killed(house, None, place)

        await house.runs(OLD)
        assert world_of(house) == running(house, OLD)
        assert (await house.info())["version"] == OLD
        jobs = (await house.daemon.ok("GET", "/jobs/info"))["jobs"]
        assert [job["errors"] for job in jobs if job["errors"]] == []


@pytest.mark.parametrize(
    "place",
    places(
        REPLACE,
        *("before", "do", "done"),
        each_time=("containers.keep_data/1:done", "containers.start_container/1:do"),
    ),
)
async def test_killed_update_leaves_core_in_the_version_before_or_after_it(
    engine: Engine, published: CoreImages, place: str
) -> None:
    async with core_house(engine, published, OLD) as house:
        await lead_up_to_update(house, NEW)
        await house.daemon.stop()

        await killed(house, "/core/update", place)

        before = running(house, OLD)
        after = running(house, NEW, images=[OLD, NEW], kept=["update"]) | {"images for the way back": 1}
        world = await becomes(house, before, after)
        starts = (house.config / STARTS).read_text().split()
        if world == before:
            assert (await house.info())["version"] == OLD and NEW not in starts
            await house.daemon.ok("POST", "/core/update", {})
            assert await becomes(house, after) == after
        assert (await house.info())["version"] == NEW
        assert (house.config / STARTS).read_text().split()[-1] == NEW


@pytest.mark.parametrize("place", places(REPLACE[3:], "undo", each_time=("homeassistant.change_version/1:undo",)))
async def test_update_that_crashes_and_is_killed_on_its_way_back_is_back(
    engine: Engine, published: CoreImages, place: str
) -> None:
    async with core_house(engine, published, OLD) as house:
        await lead_up_to_update(house, BROKEN)
        await house.daemon.stop()

        await killed(house, "/core/update", place)

        await becomes(house, running(house, OLD, kept=["failed"]), running(house, OLD))
        assert (await house.info())["version"] == OLD
        assert set((house.config / STARTS).read_text().split()) == {OLD}


@pytest.mark.parametrize("place", places(ROLL_BACK, "before", "do", "done", each_time=("docker.remove_image/1:done",)))
async def test_killed_roll_back_is_finished(engine: Engine, published: CoreImages, place: str) -> None:
    async with core_house(engine, published, OLD) as house:
        await lead_up_to_update(house, NEW)
        await house.daemon.ok("POST", "/core/update", {})
        await house.daemon.stop()

        await killed(house, "/kernel/v1/core/roll-back", place)

        await becomes(house, running(house, OLD, kept=["failed"]), running(house, OLD))
        assert (await house.info())["version"] == OLD
        assert set((house.config / STARTS).read_text().split()) == {OLD}
