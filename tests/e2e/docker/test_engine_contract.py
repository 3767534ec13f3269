"""The driver keeps what every container engine promises, on the real engine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.containers import ContainerChanged, ContainerSpec, DataPath, EngineConnected, EngineLost
from rooftree.testing.container_engine_contract import NAME, ContainerEngineContract, Program, World
from rooftree_docker.engine import DockerEngine
from tests.e2e.docker.conftest import IMPATIENT, Events, MakeDriver, watching
from tests.e2e.docker.engine_proxy import EngineProxy
from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.registry import Registry
from tests.rig.service_process import free_port

SCRIPTS: dict[Program, str] = {
    "waits": "sleep 600",
    "exits with 5": "exit 5",
    "prints one two three": "echo one; echo two; echo three; sleep 600",
    "echoes its input": "cat; sleep 600",
}


class DockerWorld:
    """The driver behind a proxy that can vanish, beside a registry."""

    def __init__(
        self,
        engine: DockerEngine,
        proxy: EngineProxy,
        events: Events,
        docker: Engine,
        base_image: str,
        published: str,
        data_dir: Path,
        prefix: str,
    ) -> None:
        self.engine = engine
        self.published = published
        self.unpublished = f"{published}-missing"
        self.free_port = free_port()
        self.strangers: list[str] = []
        self._proxy = proxy
        self._events = events
        self._docker = docker
        self._base_image = base_image
        self._data_dir = data_dir
        self._prefix = prefix

    def spec(self, program: Program = "waits", **more: Any) -> ContainerSpec:
        """A shell script in the base image; what is published has the same shell."""
        script = SCRIPTS[program]
        return ContainerSpec(**{"name": NAME, "image": self._base_image, "command": ("sh", "-c", script)} | more)

    async def folder(self, files: Mapping[str, str]) -> DataPath:
        """A fresh folder."""
        name = secrets.token_hex(4)
        real = {path: text.replace("FROM base", f"FROM {self._base_image}") for path, text in files.items()}
        await asyncio.to_thread(write_files, self._data_dir / name, real)
        return DataPath(name)

    async def changes(self, count: int) -> list[ContainerChanged]:
        """What the driver published."""
        await self._events.wait_for(ContainerChanged, count=count)
        return [event for event in self._events.seen if isinstance(event, ContainerChanged)]

    async def add_stranger(self, name: str) -> None:
        """A container of another instance."""
        command = ("run", "--detach", "--name", f"{self._prefix}{name}", self._base_image, "sleep", "600")
        self.strangers.append(await asyncio.to_thread(self._docker.run, *command))

    async def go_away(self) -> None:
        """The socket vanishes."""
        await asyncio.create_task(self._proxy.vanish())  # a stack of its own: it may block, our code may not
        await self._events.wait_for(EngineLost)

    async def come_back(self) -> None:
        """The socket is there again."""
        await self._proxy.appear()
        await self._events.wait_for(EngineConnected, count=2)


@pytest.fixture(scope="module")
def published(registry: Registry) -> str:
    """An image with a shell, in the registry only."""
    return registry.publish(f"contract/{secrets.token_hex(4)}", "1", 'FROM base\nLABEL io.example="contract"\n')


class TestDockerEngine(ContainerEngineContract):
    """The contract."""

    @pytest.fixture
    async def world(
        self,
        make_driver: MakeDriver,
        proxy: EngineProxy,
        events: Events,
        engine: Engine,
        base_image: str,
        published: str,
        data_dir: Path,
        prefix: str,
    ) -> AsyncIterator[World]:
        """The world of the driver."""
        driver = make_driver(proxy.url, deadlines=IMPATIENT)
        world = DockerWorld(driver, proxy, events, engine, base_image, published, data_dir, prefix)
        async with watching(driver):
            await events.wait_for(EngineConnected)
            yield world
        for stranger in world.strangers:
            engine.run("rm", "--force", stranger)
        await driver.remove(NAME)
        await driver.remove_image(published)
