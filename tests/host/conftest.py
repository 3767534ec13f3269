"""Fixtures of the tests on a real host: one boot for all of them, taken back to what it was after each.

The tests of this folder live in the host's network, so that its loopback is theirs: what they start (a registry, a git
server, a daemon) and its engine reach each other there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.host.rig.host import Host, test_host
from tests.host.rig.image import Unavailable
from tests.host.rig.releases import HomeAssistantOs
from tests.requirements import missing
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.fixtures import base_image
from tests.rig.git_server import GitServer, serve_git
from tests.rig.registry import Registry, serve_images
from tests.rig.requirements import require_docker

__all__ = ["base_image"]  # a fixture of the other end-to-end tests, for the engine below

BUILD_S = 400
"""What a test may take when the host has to be built first, which takes a minute where nothing else goes on."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """The first test of this folder waits for the host."""
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The host, up; without an engine, root or packages to make it of the test is skipped, and fails in CI."""
    require_docker()
    try:
        with test_host(Engine()) as host:
            yield host
    except Unavailable as error:
        missing(f"needs a test host: {error}")


@pytest.fixture(scope="session")
def engine(host: Host) -> Engine:
    """The host's Docker Engine, which logs to the journal."""
    return host.engine


@pytest.fixture(scope="module", autouse=True)
def in_its_network(host: Host) -> Iterator[None]:
    """The tests' loopback is the host's."""
    with host.network():
        yield


@pytest.fixture(scope="module")
def registry(
    in_its_network: None, engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """An image registry on the host's loopback, empty at first."""
    with serve_images(tmp_path_factory.mktemp("registry"), engine, base_image) as registry:
        yield registry


@pytest.fixture(scope="module")
def git_server(in_its_network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A git server on the host's loopback, empty at first."""
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(autouse=True)
def as_it_was(host: Host) -> Iterator[None]:
    """After each test the host is what it was."""
    yield
    host.reset()


@pytest.fixture
def home_assistant_os(host: Host, request: pytest.FixtureRequest) -> HomeAssistantOs:
    """The host is a Home Assistant OS; which one is a parameter (``indirect``) of type :class:`HomeAssistantOs`."""
    release: HomeAssistantOs = getattr(request, "param", HomeAssistantOs())
    host.become(release)
    return release


@pytest.fixture
async def daemon(engine: Engine) -> AsyncIterator[Daemon]:
    """A daemon of this checkout that is ready to be started on the host; at the end nothing of it stays there."""
    async with disposable_daemon(engine) as daemon:
        yield daemon
