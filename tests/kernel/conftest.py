"""A world for jobs, and a system in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

import pytest

from rooftree.jobs import suspension
from rooftree.process.system import System
from rooftree.state import failpoints
from rooftree.testing import Failing, fixtures, running_system
from tests.kernel.world import (
    World,
    Worldly,
)

allow = fixtures.allow
"""The fixture."""


@pytest.fixture
def world(waits_are_short: None) -> Iterator[World]:
    Worldly.world = World()
    yield Worldly.world
    Worldly.world = None


@pytest.fixture
async def system(tmp_path: Path, world: World, allow: Collection[Failing]) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Worldly], allow=allow) as system:
        yield system


@pytest.fixture
def waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "RETRY_S", (0.002,))


@pytest.fixture
def disk() -> Iterator[Callable[[str], None]]:
    """Says what the disk does from now on: ``nospace``, ``raise`` (EIO), or nothing unusual."""

    def become(action: str) -> None:
        failpoints.arm(f"database.before_commit={action}" if action else "")

    yield become
    become("")
