"""The driver under test, on the engine of this machine, as an instance of its own that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Protocol

import aiodocker
import pytest

from rooftree.events.bus import Event
from rooftree.interfaces.containers import ContainerSpec
from rooftree_docker.engine import DockerEngine
from rooftree_docker.engine_client import Deadlines
from rooftree_docker.network import NetworkSettings
from rooftree_docker.wire import WireNotGuarded, remove_orphans
from tests.e2e.docker.engine_proxy import EngineProxy, engine_proxy
from tests.rig.engine import BUILT_BY_LABEL, INSTANCE_LABEL, Engine
from tests.rig.engine_connection import engine_url

EVENT_S = 15.0

IMPATIENT = Deadlines(answer=1.5, change=20, stall=4, registry=3, heartbeat=0.2, first_retry=0.05, last_retry=0.2)
"""For engines that are made to hang."""


class Events:
    """What the driver published, and a way to wait for more."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self._more = asyncio.Event()

    def publish(self, event: Event) -> None:
        """Given to the driver."""
        self.seen.append(event)
        self._more.set()

    async def wait_for[E: Event](
        self, kind: type[E], matches: Callable[[E], bool] = lambda _: True, count: int = 1
    ) -> E:
        """The event of that number; raises ``TimeoutError`` when it does not come."""
        async with asyncio.timeout(EVENT_S):
            while True:
                found = [event for event in self.seen if isinstance(event, kind) and matches(event)]
                if len(found) >= count:
                    return found[count - 1]
                self._more.clear()
                await self._more.wait()


class MakeDriver(Protocol):
    """Makes a driver of this test's instance; options replace the usual ones."""

    def __call__(self, url: str | None = None, **options: Any) -> DockerEngine: ...


def random_subnet() -> IPv4Network:
    """A range that is probably free; where it is not, the driver finds another."""
    return IPv4Network(f"10.{200 + secrets.randbelow(50)}.{2 * secrets.randbelow(128)}.0/23")


@pytest.fixture
def instance() -> str:
    """The id of this test's instance."""
    return secrets.token_hex(16)


@pytest.fixture
def prefix() -> str:
    """What this test's names on the engine begin with."""
    return f"rt{secrets.token_hex(2)}_"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """The data folder."""
    folder = Path(tempfile.mkdtemp(prefix="rt-")).resolve()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def events() -> Events:
    """What the driver publishes."""
    return Events()


@pytest.fixture
async def make_driver(
    engine: Engine, instance: str, prefix: str, data_dir: Path, events: Events
) -> AsyncIterator[MakeDriver]:
    """Makes drivers, and takes what they made off the engine at the end."""
    drivers: list[DockerEngine] = []

    def make(url: str | None = None, **options: Any) -> DockerEngine:
        settings: dict[str, Any] = {
            "data_dir": data_dir,
            "instance_id": instance,
            "prefix": prefix,
            "network": NetworkSettings(subnet=random_subnet()),
            "publish": events.publish,
        }
        drivers.append(DockerEngine(url or engine_url(), **settings | options))
        return drivers[-1]

    yield make

    for driver in drivers:
        await driver.close()
    await remove_instance(instance)
    with contextlib.suppress(WireNotGuarded):
        await asyncio.to_thread(remove_orphans)


async def remove_instance(instance: str) -> None:
    """Take everything of the instance off the engine; quicker than a row of docker commands after every test."""
    filters = {"label": [f"{INSTANCE_LABEL}={instance}"]}
    async with aiodocker.Docker(url=engine_url()) as docker:
        for container in await docker.containers.list(all=1, filters=json.dumps(filters)):
            await container.delete(force=True, v=True)
        for network in await docker.networks.list(filters=filters):
            await (await docker.networks.get(network["Id"])).delete()
        built = {"label": [f"{BUILT_BY_LABEL}={instance}"]}
        for image in await docker.images.list(filters=built):
            await docker.images.delete(image["Id"], force=True)


@pytest.fixture
def driver(make_driver: MakeDriver) -> DockerEngine:
    """A driver on the engine itself."""
    return make_driver()


@pytest.fixture
async def proxy(engine: Engine) -> AsyncIterator[EngineProxy]:
    """An engine that can be made to hang or to vanish."""
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        async with engine_proxy(Path(folder) / "docker.sock", engine_url().removeprefix("unix://")) as proxy:
            yield proxy


@pytest.fixture
def spec(base_image: str) -> Callable[..., ContainerSpec]:
    """Specifications of a container that runs a shell script."""

    def make(script: str = "sleep 600", **more: Any) -> ContainerSpec:
        return ContainerSpec(**{"name": "app_test", "image": base_image, "command": ("sh", "-c", script)} | more)

    return make


@contextlib.asynccontextmanager
async def watching(driver: DockerEngine) -> AsyncIterator[None]:
    """The driver's event stream, read as the daemon does."""
    task = asyncio.create_task(driver.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
