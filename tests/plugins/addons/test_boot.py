"""Add-ons start in stages after a boot of the host, and end in the opposite order with the system."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces import hooks
from rooftree.interfaces.containers import EngineRefused, Health
from rooftree.interfaces.power import HostStays
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_addons import AddonState, InstalledAddon
from rooftree_addons.addon_containers import LastBoot, described
from rooftree_containers import Desired, boot_stages
from rooftree_containers.boot_stages import waits_for
from rooftree_store import AddonSlug
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.plugins.addons.house import House, addon_config, house


class AskedClock(FakeClock):
    """A clock that knows how long it was asked to let others sleep."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        """Sleep, and tell."""
        self._asked.put_nowait(seconds)
        await super().sleep(seconds)

    async def asked_for(self, seconds: float) -> None:
        """Wait until somebody wants to sleep exactly so long."""
        async with asyncio.timeout(10):
            while await self._asked.get() != seconds:
                pass


def with_services(name: str, *services: str) -> InstalledAddon:
    """An add-on with these entries in its list of services."""
    config = addon_config(name, services=list(services))
    return InstalledAddon.fresh(AddonSlug(f"local_{name}"), "image:1", config, set())


def waiting(home: House, *stage: InstalledAddon) -> dict[str, set[str]]:
    """Whom each waits for, where it waits."""
    containers = [described(home.addons, addon) for addon in stage]
    return {slug: set(others) for slug, others in waits_for(containers).items() if others}


async def test_who_needs_or_wants_a_service_waits_for_who_provides_it(home: House) -> None:
    broker, database = with_services("broker", "mqtt:provide"), with_services("database", "mysql:provide")
    found = waiting(
        home,
        with_services("a", "mqtt:need"),
        broker,
        with_services("b", "mysql:want", "mqtt:want"),
        with_services("c"),
        database,
    )

    assert found == {"local_a": {"local_broker"}, "local_b": {"local_broker", "local_database"}}


async def test_who_provides_and_needs_the_same_service_does_not_wait_for_itself(home: House) -> None:
    assert waiting(home, with_services("broker", "mqtt:provide", "mqtt:want")) == {}


async def test_nobody_waits_in_a_circle(home: House) -> None:
    first, second = with_services("a", "mqtt:provide", "mysql:need"), with_services("b", "mysql:provide", "mqtt:need")

    assert waiting(home, first, second) == {}


async def installed(folder: Path, engine: FakeContainerEngine, **addons: dict[str, Any]) -> None:
    """Install and run these add-ons by name and configuration; then the host is booted, and all have ended."""
    async with house(folder, engine) as home:
        for name, config in addons.items():
            await home.run(name, config=config)
        boots = await home.system.state.collection(LastBoot)
        await home.system.state.commit(boots.put("host", LastBoot("another")))
    for name in addons:
        engine.crash(f"app_local_{name}", 137)
    engine.calls.clear()


async def all_started(home: House, *names: str) -> None:
    """Wait until these run."""
    for name in names:
        await home.until_state(f"local_{name}", AddonState.STARTED)


def starts(engine: FakeContainerEngine) -> list[str]:
    """The add-ons that were started, in order."""
    return [name.removeprefix("app_local_") for verb, name in engine.calls if verb == "start"]


def stops(engine: FakeContainerEngine) -> list[str]:
    """The add-ons that were ended, in order."""
    return [name.removeprefix("app_local_") for verb, name in engine.calls if verb == "stop"]


async def test_provider_runs_well_before_who_needs_it_is_started(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    services = {"services": ["mqtt:need"]}
    await installed(tmp_path, engine, needing=services, broker={"services": ["mqtt:provide"]}, other={})
    engine.load_image("registry.example/broker:1.0", FakeImage(health_check=True))

    async with house(tmp_path, engine) as home:
        await all_started(home, "other")
        await home.until_state("local_broker", AddonState.STARTUP)
        early = starts(engine)
        engine.set_health("app_local_broker", Health.HEALTHY)
        await all_started(home, "needing", "broker")

    assert sorted(early) == ["broker", "other"]
    assert starts(engine)[-1] == "needing"


async def test_provider_that_cannot_be_started_keeps_nobody_from_trying(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    await installed(tmp_path, engine, needing={"services": ["mqtt:need"]}, broker={"services": ["mqtt:provide"]})
    engine.fail("start", EngineRefused("It would not"))

    async with house(tmp_path, engine) as home:
        await all_started(home, "needing")

        assert home.problem("boot_fail", "local_broker") is not None
        assert home.problem("boot_fail", "local_needing") is None


async def test_next_stage_begins_without_one_that_is_too_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeContainerEngine()
    await installed(tmp_path, engine, slow={"startup": "system"}, next={"startup": "application"})
    engine.load_image("registry.example/slow:1.0", FakeImage(health_check=True))
    monkeypatch.setattr(boot_stages, "STAGE_WITHIN_S", 0.1)
    monkeypatch.setattr(boot_stages, "USUAL_WAIT_S", 0)

    async with house(tmp_path, engine) as home:
        await all_started(home, "next")
        state = home.addons.state(AddonSlug("local_slow"))
        engine.set_health("app_local_slow", Health.HEALTHY)
        await all_started(home, "slow")

    assert state is AddonState.STARTUP


@pytest.mark.parametrize("wait_boot", [None, 20])
async def test_stage_after_a_boot_takes_at_least_as_long_as_the_options_say(
    tmp_path: Path, wait_boot: int | None
) -> None:
    engine, clock = FakeContainerEngine(), AskedClock()
    await installed(tmp_path, engine, first={"startup": "system"}, second={"startup": "application"})
    settings = {"plugins.supervisor.wait_boot": wait_boot} if wait_boot else {}

    async with house(tmp_path, engine, settings, plugins=[SupervisorPlugin], clock=clock) as home:
        await all_started(home, "first")
        await clock.asked_for(wait_boot or 5)
        await clock.advance(timedelta(seconds=(wait_boot or 5) - 1))
        early = starts(engine)
        await clock.advance(timedelta(seconds=1))
        await all_started(home, "second")

    assert early == ["first"]


async def test_restart_of_the_daemon_alone_waits_for_no_time_to_pass(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    async with house(tmp_path, engine) as home:
        await home.run("first", config={"startup": "system"})
        await home.run("second")
    engine.crash("app_local_first")
    engine.crash("app_local_second")

    async with house(tmp_path, engine, clock=FakeClock()) as home:
        await all_started(home, "first", "second")


async def test_add_ons_end_in_the_opposite_order_and_are_to_run_again(tmp_path: Path) -> None:
    engine = FakeContainerEngine()
    configs: dict[str, dict[str, Any]] = {
        "broker": {"startup": "services", "services": ["mqtt:provide"]},
        "needing": {"startup": "services", "services": ["mqtt:need"]},
        "early": {"startup": "initialize"},
        "system": {"startup": "system"},
        "app": {},
        "single": {"startup": "once"},
    }
    async with house(tmp_path, engine) as home:
        for name, config in configs.items():
            await home.run(name, config=config)
        stopped = await home.run("stopped")
        await home.post(stopped, "stop")
        engine.calls.clear()
        ((work,),) = await home.system.hooks.call(hooks.before_host_ends)
        engine.fail("stop", EngineRefused("It would not"))

        await work.run()

        assert (work.name, work.order) == ("add-ons", 10)
        assert stops(engine) == ["app", "needing", "broker", "system", "early"]
        assert [slug.removeprefix("local_") for slug in work.ends] == stops(engine)
        assert home.installed(AddonSlug("local_app")).desired is Desired.STARTED
        assert home.addons.state(AddonSlug("local_single")) is AddonState.STARTED
        assert home.addons.state(AddonSlug("local_system")) is AddonState.STOPPED

        home.system.bus.publish(HostStays())

        await home.until_state(AddonSlug("local_system"), AddonState.STARTED)
