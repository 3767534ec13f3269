"""A store and a house, each with a secret beside what strangers can write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree.testing.containers import FakeContainerEngine
from tests.attacks.repositories.hostile import (
    SECRET,
)
from tests.plugins.addons.house import House, house
from tests.plugins.store.shop import Shop, shop


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop, with a secret beside it."""
    async with shop(tmp_path) as opened:
        await asyncio.to_thread((opened.data / "secret").write_text, SECRET)
        yield opened


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A house with add-ons, and a secret beside them."""
    async with house(tmp_path, FakeContainerEngine()) as opened:
        await asyncio.to_thread((opened.data / "secret").write_text, SECRET)
        yield opened
