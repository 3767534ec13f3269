"""After a boot of the host, the data of a service are there before the add-ons that want it start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_discovery import services
from rooftree_discovery.plugin import DiscoveryPlugin
from rooftree_discovery.services import AddonServices
from tests.plugins.addons.house import done, house
from tests.plugins.addons.test_boot import all_started, installed, starts
from tests.plugins.discovery.test_services import provide, read

BROKER, NEEDING = "local_broker", "local_needing"
ADDONS = {"needing": {"services": ["mqtt:want"]}, "broker": {"services": ["mqtt:provide"]}}


async def test_hook_services_offered_is_waited_for_by_who_wants_them(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, over = asyncio.Event(), asyncio.Event()
    wait = AddonServices.until_provided

    async def until_provided(services: AddonServices, slug: str) -> None:
        waiting.set()
        await wait(services, slug)
        over.set()

    monkeypatch.setattr(AddonServices, "until_provided", until_provided)
    await installed(tmp_path, engine, **ADDONS)

    async with asyncio.timeout(10), house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        await waiting.wait()
        await home.quiet()
        early = (starts(engine), over.is_set())
        done(await provide(home, BROKER))
        await over.wait()
        await all_started(home, "needing")

        assert early == (["broker"], False)
        assert (await read(home, NEEDING)).data["addon"] == BROKER


async def test_provider_that_says_nothing_is_not_waited_for_any_longer(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "PROVIDED_WITHIN_S", 0.2)
    await installed(tmp_path, engine, **ADDONS)

    async with house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        await all_started(home, "broker", "needing")

    assert starts(engine) == ["broker", "needing"]


async def test_what_was_said_before_the_boot_needs_not_be_said_again(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "PROVIDED_WITHIN_S", 60.0)
    async with house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        await home.run("broker", config=ADDONS["broker"])
        done(await provide(home, BROKER))
    await installed(tmp_path, engine, needing=ADDONS["needing"])
    engine.crash("app_local_broker", 137)

    async with house(tmp_path, engine, plugins=[DiscoveryPlugin]) as home:
        await all_started(home, "broker", "needing")

        assert (await read(home, NEEDING)).data["addon"] == BROKER
