"""A real Home Assistant Core that Rooftree installs and runs: one for all tests of this folder, who walk through it in
the order of the file. Without an engine, root or packages to make it of they are skipped, and fail in CI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.real_core.rig.core_user import CoreUser
from tests.real_core.rig.house import RealHouse, real_house
from tests.real_core.rig.image import real_core_image
from tests.requirements import missing
from tests.rig.debootstrap import Unavailable
from tests.rig.engine import Engine
from tests.rig.fixtures import base_image, engine, git_server, registry
from tests.rig.git_server import GitServer
from tests.rig.registry import Registry

__all__ = ["base_image", "engine", "git_server", "registry"]

BUILD_S = 1200
"""What a test may take when Core's image has to be built first."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """They go on one engine with one Core, and are asked for by name: ``make real-core``."""
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.real_core)
        item.add_marker(pytest.mark.xdist_group("real-core"))
        item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def core_image(engine: Engine) -> str:
    """The image of Core, on the engine."""
    try:
        return real_core_image(engine)
    except Unavailable as error:
        missing(f"needs an image of Home Assistant Core: {error}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    engine: Engine, registry: Registry, git_server: GitServer, base_image: str, core_image: str
) -> AsyncIterator[RealHouse]:
    """Rooftree as it was started for the first time, with a version feed that has that Core."""
    async with real_house(engine, registry, git_server, base_image, core_image) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(house: RealHouse) -> AsyncIterator[CoreUser]:
    """Who uses that Core."""
    async with CoreUser.at(house.core_url) as user:
        yield user
