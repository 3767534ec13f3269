"""Core in a container of the fake engine, with the stand-in for Core behind it: a process that runs as long as the
container does, and is what the image says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import evolve

from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.containers import AddonNetwork
from rooftree.testing import Failing
from rooftree.testing.containers import FakeContainerEngine, FakeImage
from rooftree_containers import ContainerState
from rooftree_homeassistant.home_assistant import CONTAINER, SOCKET, SOCKET_FOLDER
from tests.plugins.homeassistant.house import OLD, CoreHouse, WrittenFeed, core_house
from tests.rig.core_process import CoreProcess
from tests.rig.waiting import until


class CoreEngine(FakeContainerEngine):
    """The fake engine, in which Core's container does something.

    :param folder: where the system's data folder is made
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.data = folder / "data"
        self.traits: dict[str, Mapping[str, object]] = {}
        """How versions behave: fields of :class:`tests.rig.core_program.Character`, by version."""
        self.process: CoreProcess | None = None
        self.given_to_end_s: list[int] = []
        """How long Core got to end, each time."""
        self._is_up = False

    @property
    def core(self) -> CoreProcess:
        """The stand-in, once Core was started."""
        assert self.process is not None, "Core was never started"
        return self.process

    def release(self, image: str, version: str, **traits: object) -> None:
        """Publish a version that is like that; ``crashes=3`` ends at once."""
        self.traits[version] = traits
        crashes = traits.get("crashes")
        exit_code = crashes if isinstance(crashes, int) else None
        self.publish_image(f"{image}:{version}", FakeImage(exit_code=exit_code, prints=(f"Core {version}",)))

    async def network(self) -> AddonNetwork:
        """What is on the host's network is on this machine."""
        return evolve(await super().network(), gateway="127.0.0.1")

    async def start(self, name: str) -> None:
        """With Core's container, its process begins."""
        was_running = name in self._kept and self._kept[name].running
        await super().start(name)
        if name != CONTAINER or was_running or not self._kept[name].running:
            return
        version = self._kept[name].spec.image.rpartition(":")[2]
        if self.process is None:
            self.process = CoreProcess(self.data / "homeassistant", self.data / SOCKET_FOLDER / SOCKET)
        self.process.traits = {}
        starting = self.process.start(version=version, reports=False, **self.traits.get(version, {}))
        await asyncio.to_thread(asyncio.run, starting)  # it writes files, and the loop is the product's
        self._is_up = True

    async def stop(self, name: str, timeout_s: int) -> None:
        """With it, it ends."""
        if name == CONTAINER:
            self.given_to_end_s.append(timeout_s)
        await super().stop(name, timeout_s)
        await self._end_process(name)

    async def remove(self, name: str) -> None:
        """With it, it ends."""
        await super().remove(name)
        await self._end_process(name)

    async def core_listens(self) -> None:
        """Wait until Core was started and can be steered."""

        async def steerable() -> bool:
            return self._is_up

        await until(steerable, within_s=10, what="Core's process")

    async def crash_core(self, exit_code: int = 1) -> None:
        """Core ends, and its container."""
        await self._end_process(CONTAINER)
        self.crash(CONTAINER, exit_code)

    async def _end_process(self, name: str) -> None:
        if name == CONTAINER and self.process is not None:
            self._is_up = False
            await asyncio.to_thread(asyncio.run, self.process.kill())


@asynccontextmanager
async def core_engine(folder: Path) -> AsyncIterator[CoreEngine]:
    """Such an engine; no process is left when the block ends."""
    engine = CoreEngine(folder)
    try:
        yield engine
    finally:
        if engine.process is not None:
            await engine.process.kill()


@asynccontextmanager
async def running_core(
    folder: Path,
    engine: CoreEngine,
    version: str = OLD,
    *,
    feed: WrittenFeed | None = None,
    settings: Mapping[str, object] | None = None,
    clock: Clock = MACHINE,
    allow: Collection[Failing] = (),
) -> AsyncIterator[CoreHouse]:
    """A house in which Core is installed in a version, and runs."""
    async with core_house(folder, engine, feed, settings=settings, clock=clock, allow=allow) as house:
        if house.core.installed is None:
            if house.image(version) not in engine.registry:
                engine.release(house.core.image, version)
            await house.install(version)
            answer = await house.call("start")
            assert answer.status == 200, answer.text
        await house.until_state(ContainerState.STARTED)
        yield house


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    with await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="core-") as folder:
        yield Path(folder)
