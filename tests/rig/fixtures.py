"""The parts as fixtures, made once a session, and a daemon for each test: for the ``conftest.py`` of who wants them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rig.core_image import CoreImages, core_images
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine, import_base_image
from tests.rig.git_server import GitServer, serve_git
from tests.rig.registry import Registry, serve_images
from tests.rig.requirements import require_docker


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that runs here; without one the test is skipped, and fails in CI."""
    require_docker()
    return Engine()


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> Iterator[str]:
    """The name of a busybox image that exists on the engine only."""
    name = f"rooftree-rig/base:{secrets.token_hex(4)}"
    import_base_image(name, engine)
    yield name
    engine.run("rmi", "--force", name)


@pytest.fixture(scope="session")
def registry(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An image registry on loopback, empty at first."""
    with serve_images(tmp_path_factory.mktemp("registry"), engine, base_image) as registry:
        yield registry


@pytest.fixture(scope="session")
def cores(registry: Registry) -> CoreImages:
    """Where versions of the stand-in for Home Assistant Core are published."""
    return core_images(registry)


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A git server on loopback, empty at first."""
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon that is ready to be started; at the end nothing of it stays on the engine."""
    async with disposable_daemon(engine) as daemon:
        yield daemon
