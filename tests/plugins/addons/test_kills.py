"""A kill at any step of what is done to an add-on: after the next start it is finished, or as if it had never begun.

The job's task ends where a kill would fall, and takes nothing back; the engine's containers live on. Which places there
are is not written down here: each operation is killed at every one that it comes by. (``tests/e2e/test_kills.py`` kills
the daemon itself, at the steps that act on a real engine.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from rooftree.interfaces.containers import ContainerStatus
from rooftree.jobs import execution
from rooftree.state import failpoints
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import Desired
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house
from tests.rig.scythe import PLACES, Scythe
from tests.rig.waiting import until

SETTLES_S = 10.0
MOST_PLACES = 80
UNDOING = (":undo",)
ENDS_AT_ONCE = FakeImage(exit_code=7, prints=("no such table: notes",))

type Act = Callable[[House], Awaitable[object]]


# --- what there is ----------------------------------------------------------------------------------------------------


@frozen
class World:
    """Everything that an add-on has."""

    version: str | None
    desired: Desired | None
    container: tuple[str, ContainerStatus] | None
    """Its image and what it does."""
    images: frozenset[str]
    """But those that are kept for the way back."""
    kept_images: int
    folders: frozenset[str]
    """Those of its data, and of what is kept of them."""
    value: str | None
    """What it has written."""
    tokens: int
    probation: str | None
    """The version that an update replaced, while that may still come back."""


async def seen(home: House) -> World:
    """What there is now."""
    addon, container = home.addons.installed.get(HELLO), await home.container()
    probation = home.addons.probations.get(HELLO)
    kept_images = {name for name in home.engine.images if name.startswith("rooftree-kept:")}
    assert home.engine._aside == {}
    return World(
        version=addon.version if addon else None,
        desired=addon.desired if addon else None,
        container=(container.image, container.status) if container else None,
        images=frozenset({*home.engine.images} - kept_images),
        kept_images=len(kept_images),
        folders=frozenset(await asyncio.to_thread(folders, home.data)),
        value=await asyncio.to_thread(value, home),
        tokens=len(home.tokens()),
        probation=probation.was.version if probation else None,
    )


def folders(data: Path) -> Iterator[str]:
    """Those that an add-on may have, without the parts of their names that are new each time."""
    for folder in (data / "apps" / "data").glob("*"):
        yield f"data {folder.name}"
    for folder in (data / "apps" / "kept").glob("*/*"):
        yield f"kept {folder.parent.name} {'failed' if folder.name.startswith('failed') else 'update'}"


def written(home: House) -> Path:
    """A file in the add-on's data."""
    return home.data / "apps" / "data" / HELLO / "value"


def value(home: House) -> str | None:
    """What is in it."""
    return written(home).read_text() if written(home).exists() else None


# --- what is done -----------------------------------------------------------------------------------------------------


async def offered(home: House) -> None:
    """There is a first version."""
    await home.offer()


async def installed(home: House) -> None:
    """It is installed, and was never started."""
    await home.install()


async def runs(home: House) -> None:
    """It runs, and has written something."""
    await home.run()
    written(home).write_text("old")


async def newer(home: House) -> None:
    """It runs, and there is a newer version."""
    await runs(home)
    await home.offer(version="2.0")


async def newer_that_ends_at_once(home: House) -> None:
    """It runs, and there is a newer version that does not."""
    await runs(home)
    await home.offer(version="2.0", image=ENDS_AT_ONCE)


async def updated(home: House) -> None:
    """It runs as the newer version, which has written something else."""
    await newer(home)
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    written(home).write_text("new")


def post(path: str) -> Act:
    return lambda home: home.client.post(path, json={})


INSTALL = post(f"/store/addons/{HELLO}/install")
UPDATE = post(f"/store/addons/{HELLO}/update")
ROLL_BACK = post(f"/kernel/v1/addons/{HELLO}/roll-back")
START, STOP, UNINSTALL = (post(f"/addons/{HELLO}/{verb}") for verb in ("start", "stop", "uninstall"))


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scythe]]:
    """Makes what kills, at such places; where nobody is killed, failpoints do what they do."""

    def make(places: tuple[str, ...] = PLACES) -> Scythe:
        scythe = Scythe(places)

        async def reach(name: str) -> None:
            await scythe.reach(name)
            await failpoints.reach(name)

        monkeypatch.setattr(execution, "reach", reach)
        return scythe

    yield make
    failpoints.arm("")


async def settled(home: House, after: str) -> World:
    """What there is once every job has ended, and nothing is still to be deleted."""

    async def has_settled() -> bool:
        await home.quiet()
        to_be_deleted = await asyncio.to_thread(lambda: [*(home.data / "apps" / "removed").glob("*")])
        return all(job.done for job in home.system.jobs.listing()) and not to_be_deleted

    await until(has_settled, within_s=SETTLES_S, what=f"the end of everything after {after}")
    return await seen(home)


async def killed_everywhere(
    folder: Path, scythe: Scythe, before: Act, operation: Act, check: Callable[[House, World, str], Awaitable[None]]
) -> list[str]:
    """Kill an operation at each place that it comes by, each time in a house of its own; the places.

    :param check: what is so after the next start
    """
    places: list[str] = []
    for number in range(1, MOST_PLACES):
        engine, data = FakeContainerEngine(), folder / str(number)
        async with house(data, engine) as home:
            await before(home)
            scythe.arm(number)
            await operation(home)
        failpoints.arm("")
        if scythe.place is None:
            return places
        places.append(scythe.place)
        async with house(data, engine) as home:
            await check(home, await settled(home, scythe.place), scythe.place)
    raise AssertionError(f"it has no end: {places}")


async def undisturbed(folder: Path, before: Act, operation: Act) -> tuple[World, World]:
    """What is there before and after an operation in which nobody is killed."""
    async with house(folder, FakeContainerEngine()) as home:
        await before(home)
        world_before = await seen(home)
        await operation(home)
        return world_before, await settled(home, "what was not disturbed")


@pytest.mark.parametrize(
    ("before", "operation", "steps"),
    [
        pytest.param(offered, INSTALL, 4, id="install"),
        pytest.param(installed, START, 3, id="start"),
        pytest.param(runs, STOP, 2, id="stop"),
        pytest.param(newer, UPDATE, 10, id="update"),
        pytest.param(runs, UNINSTALL, 6, id="uninstall"),
        pytest.param(updated, ROLL_BACK, 11, id="roll back"),
    ],
)
async def test_killed_operation_leaves_the_world_as_before_or_after_it(
    tmp_path: Path, reaper: Callable[..., Scythe], before: Act, operation: Act, steps: int
) -> None:
    world_before, world_after = await undisturbed(tmp_path / "undisturbed", before, operation)
    outcomes = []

    async def check(home: House, world: World, place: str) -> None:
        assert world in (world_before, world_after), place
        outcomes.append(world == world_after)
        errors = [error.type for job in home.system.jobs.listing() for error in job.errors]
        assert errors == ([] if world == world_after else ["JobInterrupted"]), place
        if world != world_after:
            await operation(home)
            assert await settled(home, f"doing again what was killed at {place}") == world_after, place

    places = await killed_everywhere(tmp_path, reaper(), before, operation, check)

    assert len(places) == 2 * steps + 1
    assert outcomes == sorted(outcomes) and outcomes[-1], "what is taken forward stays so"


@pytest.mark.parametrize(
    ("before", "operation", "last_step", "steps"),
    [
        pytest.param(offered, INSTALL, "addons.register/1", 4, id="install"),
        pytest.param(installed, START, "addons.start_container/1", 3, id="start"),
        pytest.param(newer, UPDATE, "addons.start_container/1", 10, id="update"),
    ],
)
async def test_operation_that_failed_and_is_killed_while_it_is_taken_back_is_taken_back(
    tmp_path: Path, reaper: Callable[..., Scythe], before: Act, operation: Act, last_step: str, steps: int
) -> None:
    world_before, world_after = await undisturbed(tmp_path / "undisturbed", before, operation)

    async def fails(home: House) -> None:
        failpoints.arm(f"step:{last_step}:done=raise")
        await operation(home)

    async def check(home: House, world: World, place: str) -> None:
        assert world == world_before, place
        assert [error.type for job in home.system.jobs.listing() for error in job.errors] == ["OSError"], place
        await operation(home)
        assert await settled(home, f"doing again what was killed at {place}") == world_after, place

    places = await killed_everywhere(tmp_path, reaper(UNDOING), before, fails, check)

    assert len(places) == steps


async def test_reason_why_an_update_failed_outlives_a_kill_while_it_is_taken_back(
    tmp_path: Path, reaper: Callable[..., Scythe]
) -> None:
    async def check(home: House, world: World, place: str) -> None:
        (addon,) = home.addons.installed.values()
        problem = home.problem("update_rolled_back")
        assert (addon.version, world.value, world.probation) == ("1.0", "old", None), place
        assert world.container == (f"{REGISTRY}/hello:1.0", ContainerStatus.RUNNING), place
        assert problem is not None and "it ended with exit code 7" in problem.message, place
        shown = (await home.client.get(f"/kernel/v1/addons/{HELLO}/probation")).data
        assert (shown["back_to"], shown["failed_version"]) == (None, "2.0"), place

    places = await killed_everywhere(tmp_path, reaper(UNDOING), newer_that_ends_at_once, UPDATE, check)

    assert len(places) >= 8
