"""A house to live in, and one whose engine outlives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from rooftree.testing import Failing, fixtures
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import container_steps as steps
from tests.plugins.addons.host_ports import let_it_have
from tests.plugins.addons.house import House, house

allow = fixtures.allow


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version counts as started at once: in the fake engine, what ends at once has ended already."""
    monkeypatch.setattr(steps, "STEADY_S", 0.0)


@pytest.fixture
def engine() -> FakeContainerEngine:
    """The engine."""
    return FakeContainerEngine()


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, allow: Collection[Failing]) -> AsyncIterator[House]:
    """A house with nothing installed."""
    async with house(tmp_path, engine, allow=allow) as here:
        yield here


@pytest.fixture
def on_the_host(engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs in the network that the tests are in: an interface of its is here."""
    let_it_have("lo", engine, monkeypatch)


@pytest.fixture
def elsewhere(engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs in another network, whatever runs on this machine."""
    let_it_have("elsewhere0", engine, monkeypatch)
