"""A house to live in, and one whose engine outlives it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps as steps
from tests.plugins.addons.house import House, house


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version counts as started at once: in the fake engine, what ends at once has ended already."""
    monkeypatch.setattr(steps, "STEADY_S", 0.0)


@pytest.fixture
def engine() -> FakeContainerEngine:
    """The engine."""
    return FakeContainerEngine()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine) -> AsyncIterator[House]:
    """A house with nothing installed."""
    async with house(tmp_path, engine) as here:
        yield here
