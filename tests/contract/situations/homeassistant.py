"""Home Assistant Core: each of its verbs, by both its names."""

from __future__ import annotations

from typing import Any

from rooftree.interfaces.core import CORE
from tests.contract.situations.scene import Call, Scene, situation
from tests.plugins.homeassistant.house import NEW, OLD, CoreHouse, WrittenFeed
from tests.plugins.homeassistant.running_core import CoreEngine


def _house(scene: Scene) -> tuple[CoreHouse, CoreEngine]:
    engine = scene.home.engine
    assert isinstance(engine, CoreEngine)
    return CoreHouse(scene.home.system, scene.home.client, engine, WrittenFeed()), engine


async def _installed(scene: Scene) -> CoreHouse:
    house, engine = _house(scene)
    for version in (OLD, NEW):
        engine.release(house.core.image, version)
    await house.install(OLD)
    return house


async def _runs(scene: Scene) -> CoreHouse:
    house = await _installed(scene)
    assert (await house.call("start")).data == {}
    await _has_told_where_it_is(house)
    return house


async def _has_told_where_it_is(house: CoreHouse) -> None:
    """Core does so by itself when it is reached, and that is kept."""
    engine = house.engine
    assert isinstance(engine, CoreEngine)
    connection = house.system.services.get(CORE)
    await house.comes_true("Core's page", lambda: connection.answers and house.core.options.port == engine.core.port)


def both(verb: str) -> Any:
    """A situation of both routes of a verb."""
    return situation(f"POST /core/{verb}", f"POST /homeassistant/{verb}")


@both("start")
async def started(scene: Scene) -> Call:
    await _installed(scene)
    return Call("/core/start")


@both("start")
async def started_while_it_runs(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/homeassistant/start")


@both("stop")
async def stopped(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/core/stop")


@both("restart")
async def restarted(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/core/restart")


@both("restart")
async def restarted_in_safe_mode(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/core/restart", {"safe_mode": True})


@both("rebuild")
async def rebuilt(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/core/rebuild", {"force": True})


@both("rebuild")
async def rebuilt_with_another_image(scene: Scene) -> Call:
    house = await _runs(scene)
    _, engine = _house(scene)
    engine.release("ghcr.io/someone/core", OLD)
    await house.call("options", image="ghcr.io/someone/core")
    return Call("/core/rebuild")


@both("check")
async def configuration_checked(scene: Scene) -> Call:
    house = await _installed(scene)
    _, engine = _house(scene)
    engine.release(house.core.image, OLD, crashes=0)  # its check ends, and is content
    engine.load_image(house.image(OLD), engine.registry[house.image(OLD)])
    return Call("/core/check")


@both("update")
async def updated_while_it_runs(scene: Scene) -> Call:
    await _runs(scene)
    return Call("/core/update", {"version": NEW})


@both("update")
async def updated_in_the_background_while_it_is_stopped(scene: Scene) -> Call:
    await _installed(scene)
    return Call("/core/update", {"version": NEW, "background": True})


@both("update")
async def installed_by_an_update(scene: Scene) -> Call:
    house, engine = _house(scene)
    engine.release(house.core.image, NEW)
    return Call("/core/update", {"version": NEW})


@situation("POST /kernel/v1/core/roll-back")
async def rolled_back(scene: Scene) -> Call:
    house = await _runs(scene)
    assert (await house.call("update", version=NEW)).data == {}
    await _has_told_where_it_is(house)
    return Call("/kernel/v1/core/roll-back")
