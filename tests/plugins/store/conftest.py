"""A git server on loopback, for the tests that need something to clone, and a shop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.plugins.store.shop import Shop, shop
from tests.rig.git_server import GitServer, serve_git


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """The server, empty at first."""
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that offers nothing."""
    async with shop(tmp_path) as opened:
        yield opened
