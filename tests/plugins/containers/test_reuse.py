"""A container that may be used again is started as it is, as long as a new one would be made just so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import evolve

from rooftree.access import TokenUsedElsewhere
from rooftree.interfaces.containers import Container, ContainerSpec, ContainerStatus, DataPath, EngineRefused, Mount
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import plans
from rooftree_containers.container_steps import CreateFreshContainer
from rooftree_containers.lifetime import fingerprint
from tests.plugins.containers.lamp import JOBS, LampPlugin
from tests.plugins.containers.test_lamp import NEWER, Room, impatience, room

__all__ = ["impatience"]


@pytest.fixture
def engine() -> FakeContainerEngine:
    """An engine whose registry has what the lamp needs."""
    engine = FakeContainerEngine()
    for image in ("lamp:1.0", "lamp:2.0", "socket:1.0"):
        engine.publish_image(f"registry.example/{image}")
    return engine


@pytest.fixture
async def here(tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    """A room with such a lamp, which is on."""
    monkeypatch.setattr(LampPlugin, "reused", True)
    monkeypatch.setattr(LampPlugin, "words", {"TZ": "UTC"})
    async with room(tmp_path, engine, FakeClock()) as made:
        yield made


async def shown(here: Room) -> Container:
    lamp = await here.shown()
    assert lamp is not None
    return lamp


@pytest.mark.parametrize("way", ["restart", "stop and start", "crash"])
async def test_same_container_runs_again_with_the_token_that_it_has(
    here: Room, engine: FakeContainerEngine, way: str
) -> None:
    before, tokens = await shown(here), here.system.tokens.known("lamp", "lamp")

    if way == "restart":
        await here.run(JOBS.restart(name="lamp"))
    elif way == "stop and start":
        await here.run(JOBS.stop(name="lamp"))
        assert here.system.tokens.known("lamp", "lamp") == {}
        await here.run(JOBS.start(name="lamp"))
    else:
        engine.crash("hassio_lamp")
        await here.comes_true("its return", lambda: here.containers.observation.runs("lamp"))

    after = await shown(here)
    assert (after.id, after.status) == (before.id, ContainerStatus.RUNNING)
    assert here.system.tokens.known("lamp", "lamp").keys() == tokens.keys()


async def test_what_would_be_made_otherwise_is_made_anew(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await shown(here)
    monkeypatch.setattr(LampPlugin, "words", {"TZ": "Europe/Zurich"})

    await here.run(JOBS.restart(name="lamp"))

    assert (await shown(here)).id != before.id


def test_whoever_adds_first_to_a_container_it_is_the_same_one() -> None:
    spec = ContainerSpec(
        name="x",
        image="x:1",
        environment={"A": "1", "B": "2"},
        mounts=(Mount(DataPath("a"), "/a"), Mount(DataPath("b"), "/b")),
        command=("a", "b"),
    )
    turned = evolve(spec, environment={"B": "2", "A": "1"}, mounts=spec.mounts[::-1])

    assert fingerprint(spec) == fingerprint(turned)
    assert (
        len(
            {
                fingerprint(other)
                for other in (
                    spec,
                    evolve(spec, command=("b", "a")),
                    evolve(spec, environment={"A": "2", "B": "1"}),
                    evolve(spec, mounts=spec.mounts[:1]),
                    evolve(spec, privileged=True),
                )
            }
        )
        == 5
    )


async def test_image_of_the_same_name_that_is_another_one_is_used(here: Room, engine: FakeContainerEngine) -> None:
    before = await shown(here)
    engine.load_image("registry.example/lamp:1.0", FakeImage())

    await here.run(JOBS.restart(name="lamp"))

    assert (await shown(here)).id != before.id


async def test_token_that_somebody_else_has_is_not_given_again(here: Room) -> None:
    before, tokens = await shown(here), here.system.tokens.known("lamp", "lamp")
    here.system.bus.publish(TokenUsedElsewhere("lamp", "lamp", "172.30.33.250"))
    await here.system.bus.drained()
    assert here.problem("token_used_elsewhere") is not None

    await here.run(JOBS.restart(name="lamp"))

    assert (await shown(here)).id != before.id
    assert here.system.tokens.known("lamp", "lamp").keys().isdisjoint(tokens)
    assert here.problem("token_used_elsewhere") is None


async def test_container_that_cannot_be_started_again_stays_as_it_was(here: Room, engine: FakeContainerEngine) -> None:
    before = await shown(here)
    engine.fail("start", EngineRefused("not now"))

    with pytest.raises(EngineRefused):
        await here.run(JOBS.restart(name="lamp"))

    after = await shown(here)
    assert (after.id, after.status) == (before.id, ContainerStatus.RUNNING)
    assert here.system.tokens.known("lamp", "lamp")


async def test_fresh_one_is_made_where_that_is_asked(here: Room) -> None:
    before = await shown(here)

    steps = await plans.rebuild(here.containers, "lamp")

    assert CreateFreshContainer("lamp", "lamp") in steps
    await here.containers.lifetimes.create("lamp", before.id, fresh=True)
    assert (await shown(here)).id != before.id


async def test_update_makes_a_new_one(here: Room) -> None:
    before = await shown(here)

    await here.run(JOBS.update(name="lamp", **NEWER))

    assert (await shown(here)).id != before.id
