"""Fixtures for images that must be signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.plugins.docker.shelf import ACME, Shelf, open_shelf


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    """A registry with one image."""
    async with open_shelf() as made:
        yield made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file with the key of who must sign."""
    path = tmp_path / "acme.pub"
    path.write_bytes(ACME.public_key)
    return path
