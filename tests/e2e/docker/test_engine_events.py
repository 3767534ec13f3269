"""The engine's events, and an engine that hangs or goes away."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from rooftree.interfaces.containers import (
    ContainerChanged,
    ContainerSpec,
    EngineConnected,
    EngineLost,
    EngineUnavailable,
)
from rooftree_docker.engine import DockerEngine
from tests.e2e.docker.conftest import IMPATIENT, Events, MakeDriver, watching
from tests.e2e.docker.engine_proxy import EngineProxy
from tests.rig.engine import Engine
from tests.rig.waiting import until

pytestmark = pytest.mark.docker

type MakeSpec = Callable[..., ContainerSpec]


async def test_start_end_and_removal_are_told(driver: DockerEngine, events: Events, spec: MakeSpec) -> None:
    async with watching(driver):
        await events.wait_for(EngineConnected)
        container_id = await driver.create(spec("exit 4"))
        await driver.start("app_test")
        died = await events.wait_for(ContainerChanged, lambda change: change.action == "die")
        await driver.remove("app_test")
        await events.wait_for(ContainerChanged, lambda change: change.action == "destroy")

    changes = [event for event in events.seen if isinstance(event, ContainerChanged)]
    assert [change.action for change in changes] == ["start", "die", "destroy"]
    assert (died.name, died.id, died.exit_code) == ("app_test", container_id, 4)


async def test_strangers_events_are_not_told(
    driver: DockerEngine, events: Events, engine: Engine, spec: MakeSpec, base_image: str, prefix: str
) -> None:
    async with watching(driver):
        await events.wait_for(EngineConnected)
        engine.run("run", "--rm", "--name", f"{prefix}stranger", base_image, "true")
        await driver.create(spec("true"))
        await driver.start("app_test")
        await events.wait_for(ContainerChanged, lambda change: change.action == "die")

    assert {event.name for event in events.seen if isinstance(event, ContainerChanged)} == {"app_test"}


async def test_engine_that_goes_away_and_comes_back_is_noticed(
    make_driver: MakeDriver, proxy: EngineProxy, events: Events, spec: MakeSpec
) -> None:
    driver = make_driver(proxy.url, deadlines=IMPATIENT)
    async with watching(driver):
        await events.wait_for(EngineConnected)

        await proxy.vanish()
        lost = await events.wait_for(EngineLost)
        gone = driver.available
        with pytest.raises(EngineUnavailable, match="Start it"):
            await driver.containers()
        await proxy.appear()
        await events.wait_for(EngineConnected, count=2)

        await driver.create(spec(network="host"))
        await driver.start("app_test")
        await events.wait_for(ContainerChanged, lambda change: change.action == "start")
        assert driver.available

    assert gone is False
    assert proxy.url in lost.reason


async def test_engine_that_hangs_is_noticed_and_every_call_ends_in_time(
    make_driver: MakeDriver, proxy: EngineProxy, events: Events
) -> None:
    driver = make_driver(proxy.url, deadlines=IMPATIENT)
    async with watching(driver):
        await events.wait_for(EngineConnected)

        proxy.hang()
        begun = monotonic()
        with pytest.raises(EngineUnavailable, match="when asked to list containers"):
            await driver.containers()
        lost = await events.wait_for(EngineLost)
        proxy.resume()
        await events.wait_for(EngineConnected, count=2)

        assert monotonic() - begun < 10
        assert await driver.containers() == []
    assert "answer a ping" in lost.reason


async def test_followed_log_ends_with_an_error_when_the_engine_goes_away(
    make_driver: MakeDriver, proxy: EngineProxy, spec: MakeSpec
) -> None:
    driver = make_driver(proxy.url)
    await driver.create(spec("while echo x; do sleep 0.05; done", network="host"))
    await driver.start("app_test")

    with pytest.raises(EngineUnavailable):
        async for _ in driver.logs("app_test", follow=True):
            await proxy.vanish()


async def test_closed_driver_leaves_no_line_open(make_driver: MakeDriver, proxy: EngineProxy, events: Events) -> None:
    driver = make_driver(proxy.url)
    async with watching(driver):
        await events.wait_for(EngineConnected)
    await driver.info()
    kept_open = proxy.connections

    await driver.close()

    assert kept_open > 0

    async def are_closed() -> bool:
        return proxy.connections == 0

    await until(are_closed, within_s=5, what="the end of every line")
