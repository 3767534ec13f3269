"""Core on a host with systemd and NetworkManager, in whose network the tests live; what it can't have is skipped, and
fails in CI."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.host.rig.file_server import file_server, take_down
from tests.host.rig.host import Host, test_host
from tests.host.rig.image import Unavailable
from tests.host.rig.lan import ROUTER, Lan, lan
from tests.real_core.rig.house import RealHouse, real_house
from tests.real_core.rig.image import real_core_image
from tests.requirements import missing
from tests.rig.engine import Engine
from tests.rig.git_server import GitServer, serve_git
from tests.rig.registry import Registry, serve_images
from tests.rig.requirements import require_docker

CABLE = (
    "ipv4.method", "manual", "ipv4.addresses", "192.0.2.7/24", "ipv4.gateway", ROUTER, "ipv4.route-metric", "900",
    "ipv6.method", "auto",
)  # fmt: skip
"""How the second interface of the host is at first: it leads to everywhere, as far as NetworkManager has set it up, and
so the panel shows it, and not the first, which Docker has."""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The host, up."""
    require_docker()
    try:
        with test_host(Engine(), in_memory=True) as host:
            yield host
    except Unavailable as error:
        missing(f"needs a test host: {error}")


@pytest.fixture(scope="module")
def refused(host: Host) -> None:
    """What is further away than this machine says no at once: Core would wait for minutes at each start, for packages
    that it would like to have."""
    host.run("iptables", "--insert", "OUTPUT", "--out-interface", "eth0", "--jump", "REJECT")


@pytest.fixture(scope="module")
def in_its_network(host: Host) -> Iterator[None]:
    """The tests' loopback is the host's."""
    with host.network():
        yield


@pytest.fixture(scope="module")
def engine(host: Host) -> Engine:
    """The host's Docker Engine, whose daemons NetworkManager sees."""
    return host.visible_engine


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


@pytest.fixture(scope="module")
def base_image(engine: Engine) -> str:
    """What the rig's own images begin with: Core's house builds none here."""
    return "base"


@pytest.fixture(scope="module")
def core_image(host: Host) -> str:
    """The image of Core, carried over to the host's engine. It fetches no packages, as it can't: it would not start."""
    name = real_core_image(Engine())
    there = ["docker", "--host", f"unix://{host.engine_socket}", "load", "--quiet"]
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as here:
        subprocess.run(there, stdin=here.stdout, check=True, stdout=subprocess.DEVNULL)
    assert here.returncode == 0
    offline = f"{name}-offline"
    dockerfile = f"FROM {name}\nRUN sed -i 's/hass --config/hass --skip-pip --config/' /init\n"
    host.engine.run("build", "--quiet", "--tag", offline, "-", data=dockerfile.encode())
    return offline


@pytest.fixture(scope="module")
def cable(host: Host) -> Iterator[Lan]:
    """An interface of the host that may be changed, with a router at its other end."""
    with lan(host) as cable:
        cable.profile(*CABLE)
        yield cable


@pytest.fixture(scope="module")
def shares(host: Host) -> Iterator[Path]:
    """A server named ``nas`` with a share ``films``; the folder of its shares."""
    with file_server(host, "films") as folder:
        yield folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    host: Host,
    engine: Engine,
    registry: Registry,
    git_server: GitServer,
    base_image: str,
    core_image: str,
    shares: Path,
    refused: None,
) -> AsyncIterator[RealHouse]:
    """Rooftree on the host, with a file server beside it."""
    async with real_house(engine, registry, git_server, base_image, core_image) as house:
        yield house
        await house.daemon.kill()
        await asyncio.to_thread(take_down, host, house.daemon.data_dir)
