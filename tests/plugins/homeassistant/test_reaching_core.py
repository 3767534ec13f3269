"""Core in its container is reached when it runs, and lost when it does not: by the domain's plugin, whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.interfaces.core import CORE, Core
from tests.plugins.homeassistant.house import CoreHouse, core_house
from tests.plugins.homeassistant.running_core import CoreEngine, core_engine, running_core

OF_TCP = "2026.3.1"
"""A version that has no socket."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[CoreEngine]:
    """The engine."""
    async with core_engine(tmp_path) as engine:
        yield engine


def core_of(home: CoreHouse) -> Core:
    return home.system.services.get(CORE)


async def reached(home: CoreHouse) -> None:
    await home.comes_true("Core reached", lambda: core_of(home).answers)


async def test_core_is_reached_and_lost_with_its_container(tmp_path: Path, engine: CoreEngine) -> None:
    async with running_core(tmp_path, engine) as home:
        await reached(home)
        assert (await core_of(home).command("get_config"))["version"] == home.core.installed.version  # type: ignore[union-attr]

        await home.call("stop")

        await home.comes_true("Core lost", lambda: not core_of(home).answers)


async def test_core_in_recovery_mode_is_a_problem_until_it_starts_as_configured(
    tmp_path: Path, engine: CoreEngine
) -> None:
    async with running_core(tmp_path, engine) as home:

        def in_recovery_mode() -> bool:
            return any(problem.type == "core_recovery_mode" for problem in home.system.problems)

        await reached(home)
        assert not in_recovery_mode()
        engine.release(home.core.image, home.core.installed.version, recovery_mode=True)  # type: ignore[union-attr]
        await home.call("rebuild")
        await home.comes_true("the problem", in_recovery_mode)

        engine.release(home.core.image, home.core.installed.version)  # type: ignore[union-attr]
        await home.call("rebuild")

        await home.comes_true("no problem", lambda: not in_recovery_mode())


async def test_core_that_does_not_run_is_in_no_recovery_mode(tmp_path: Path, engine: CoreEngine) -> None:
    async with running_core(tmp_path, engine) as home:

        def in_recovery_mode() -> bool:
            return any(problem.type == "core_recovery_mode" for problem in home.system.problems)

        engine.release(home.core.image, home.core.installed.version, recovery_mode=True)  # type: ignore[union-attr]
        await home.call("rebuild")
        await home.comes_true("the problem", in_recovery_mode)

        await home.call("stop")

        await home.comes_true("no problem", lambda: not in_recovery_mode())


async def test_core_that_runs_on_while_we_are_away_is_reached_again(tmp_path: Path, engine: CoreEngine) -> None:
    async with running_core(tmp_path, engine) as home:
        await reached(home)
    async with core_house(tmp_path, engine) as home:
        await reached(home)

        assert len(await engine.core.told("connected", by="socket")) == 2


async def test_core_of_before_the_socket_is_reached_when_it_has_told_its_port_and_token(
    tmp_path: Path, engine: CoreEngine
) -> None:
    async with core_house(tmp_path, engine) as home, asyncio.TaskGroup() as group:
        engine.release(home.core.image, OF_TCP)
        await home.install(OF_TCP)
        starting = group.create_task(home.client.post("/core/start"))
        await engine.core_listens()
        assert not core_of(home).answers

        told = {"port": engine.core.port, "ssl": False, "refresh_token": engine.core.refresh_token}
        await home.client.post("/core/options", json=told)  # as Core does by itself when it starts

        assert (await starting).status == 200
        await reached(home)
        assert await engine.core.told("connected", by="tcp")
