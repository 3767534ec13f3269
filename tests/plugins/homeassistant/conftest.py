"""A house where Core may be installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.homeassistant.house import CoreHouse, core_house

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
