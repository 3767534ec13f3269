"""A house whose add-ons may tell of themselves, and a Core that hears it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_discovery.plugin import DiscoveryPlugin
from tests.plugins.addons.house import House, house
from tests.plugins.discovery.core_desk import CoreDesk


@pytest.fixture
def engine() -> FakeContainerEngine:
    """The engine."""
    return FakeContainerEngine()


@pytest.fixture
def core() -> CoreDesk:
    """Core."""
    return CoreDesk()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, core: CoreDesk) -> AsyncIterator[House]:
    """The house, with nothing installed."""
    async with house(tmp_path, engine, plugins=[core.plugin(), DiscoveryPlugin]) as here:
        yield here
