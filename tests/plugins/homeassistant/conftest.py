"""A house where Core may be installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps, watchdog
from rooftree_homeassistant import core_health
from tests.plugins.homeassistant.house import CoreHouse, core_house
from tests.plugins.homeassistant.running_core import CoreEngine, core_engine, running_core, short_folder
from tests.rig.backends import backend, backend_process

__all__ = ["backend", "backend_process"]

allow = fixtures.allow


@pytest.fixture
def engine() -> FakeContainerEngine:
    """The engine."""
    return FakeContainerEngine()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, allow: Collection[Failing]) -> AsyncIterator[CoreHouse]:
    """A house without Core."""
    async with core_house(tmp_path, engine, allow=allow) as house:
        yield house


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than it takes."""

    async def pause(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(watchdog, "pause", pause)
    monkeypatch.setattr(container_steps, "STEADY_S", 0.0)
    monkeypatch.setattr(core_health, "ASK_EVERY_S", 0.02)


@pytest.fixture
async def place() -> AsyncIterator[Path]:
    """A folder for a data folder."""
    async with short_folder() as folder:
        yield folder


@pytest.fixture
async def behind(place: Path) -> AsyncIterator[CoreEngine]:
    """An engine whose container of Core does something."""
    async with core_engine(place) as engine:
        yield engine


@pytest.fixture
async def lived_in(place: Path, behind: CoreEngine, allow: Collection[Failing]) -> AsyncIterator[CoreHouse]:
    """A house in which Core runs."""
    async with running_core(place, behind, allow=allow) as house:
        yield house
