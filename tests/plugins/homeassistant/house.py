"""A house with Core in it: the domain's plugin on the fake engine, with a version feed that the test writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import Factory, define

from rooftree import Kernel, Plugin, Problem
from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.containers import Container
from rooftree.interfaces.core import CORE
from rooftree.interfaces.versions import VERSION_FEED, VersionsChanged
from rooftree.process import System
from rooftree.testing import Answer, Client, Failing, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_containers import ContainerState, Desired
from rooftree_homeassistant.home_assistant import CONTAINER, HOME_ASSISTANT, NAME, CoreContainer, HomeAssistant
from rooftree_homeassistant.plugin import HomeAssistantPlugin
from tests.rig.waiting import until

OLD, NEW = "2026.10.1", "2026.11.0"
IMAGE = "ghcr.io/home-assistant/{machine}-homeassistant"
WITHIN_S = 10


@define
class WrittenFeed:
    """A :class:`~rooftree.interfaces.versions.VersionFeed` that says what the test wrote."""

    core: str | None = NEW
    images: dict[str, str] = Factory(lambda: {"core": IMAGE})
    channel: str = "stable"

    def newest_core(self, machine: str | None) -> str | None:
        return self.core

    def newest_os(self, board: str) -> str | None:
        return None

    def last_os_of_major(self, major: int) -> str | None:
        return None

    @property
    def os_bundle(self) -> str | None:
        return None

    def newest_service(self, name: str) -> str | None:
        return None

    def image(self, name: str, *, machine: str | None = None, arch: str | None = None) -> str | None:
        template = self.images.get(name)
        return template.format(machine=machine, arch=arch) if template else None

    def keep_fresh(self, address: str | None = None) -> None:
        """It always is."""

    async def read(self) -> None:
        """It says the same as before."""


class FeedPlugin(Plugin):
    """Provides it; made for a test's own with :meth:`telling`."""

    name = "feed"
    provides = (VERSION_FEED,)
    feed: WrittenFeed

    @classmethod
    def telling(cls, feed: WrittenFeed) -> type[FeedPlugin]:
        """The plugin class that provides this feed."""
        return type(cls.__name__, (cls,), {"feed": feed})

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(VERSION_FEED, self.feed)


class CoreHouse:
    """The system, an administrator's client of it, and what tests look at."""

    def __init__(self, system: System, client: Client, engine: FakeContainerEngine, feed: WrittenFeed) -> None:
        self.system = system
        self.client = client
        self.engine = engine
        self.feed = feed
        self.core: HomeAssistant = system.services.get(HOME_ASSISTANT)

    @property
    def config(self) -> Path:
        """Core's configuration."""
        return self.system.data.path / "homeassistant"

    def image(self, version: str) -> str:
        """The image of a version, with its tag."""
        return f"{self.core.image}:{version}"

    async def install(self, version: str = OLD, desired: Desired = Desired.STARTED) -> None:
        """Let Core be installed in a version, as the job that does it leaves it but for its container. Whoever brings
        up what is installed at the start has been here before: it would start Core."""
        bringing_up = {task for task in asyncio.all_tasks() if task.get_name() == "homeassistant: bring up"}
        await asyncio.gather(*bringing_up)
        image = self.image(version)
        published = self.engine.registry.get(image) or self.engine.publish_image(image)
        self.engine.load_image(image, published)
        installed = await self.system.state.collection(CoreContainer)
        await self.system.state.commit(
            installed.put(NAME, CoreContainer(version=version, image=image, desired=desired))
        )

    async def call(self, verb: str, **body: Any) -> Answer:
        """Call ``POST /core/<verb>``, and let everything be dealt with that comes of it."""
        answer = await self.client.post(f"/core/{verb}", json=body)
        await self.system.bus.drained()
        return answer

    async def info(self) -> Mapping[str, Any]:
        """What ``/core/info`` says."""
        info: Mapping[str, Any] = (await self.client.get("/core/info")).data
        return info

    async def shown(self) -> Container | None:
        """Core's container."""
        return await self.engine.container(CONTAINER)

    def problem(self, kind: str) -> Problem | None:
        """Core's problem of that type."""
        return next((one for one in self.system.problems if (one.type, one.context) == (kind, "core")), None)

    async def comes_true(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it is so, and every job has ended."""

        async def check() -> bool:
            await self.system.bus.drained()
            return condition() and all(job.done for job in self.system.jobs.listing())

        await until(check, within_s=WITHIN_S, what=what)

    async def until_state(self, state: ContainerState) -> None:
        """Wait until Core's container is in that state."""
        await self.comes_true(f"Core {state}", lambda: self.core.containers.observation.state(NAME) is state)

    async def hook[R](self, hook: Callable[[], R | Coroutine[Any, Any, R]]) -> list[R]:
        """What this domain answers to a hook."""
        return await self.core.kernel.call(hook)

    async def config_of_core(self) -> Mapping[str, Any]:
        """What Core says of its own configuration."""
        answer = await self.system.services.get(CORE).request("GET", "api/config")
        config: Mapping[str, Any] = orjson.loads(answer.body)
        return config

    def tell_versions(self, core: str | None) -> None:
        """The feed says that this is the newest Core."""
        self.feed.core = core
        self.system.bus.publish(VersionsChanged(("core",)))


@asynccontextmanager
async def core_house(
    folder: Path,
    engine: FakeContainerEngine,
    feed: WrittenFeed | None = None,
    *,
    settings: Mapping[str, object] | None = None,
    plugins: Sequence[type[Plugin]] = (),
    clock: Clock = MACHINE,
    allow: Collection[Failing] = (),
) -> AsyncIterator[CoreHouse]:
    """A house on that folder and engine; a second one on both is what a restart of the daemon finds. Core is not
    installed by itself unless the settings say so."""
    feed = feed or WrittenFeed()
    settings = {"plugins.homeassistant.install": False, **(settings or {})}
    chosen = [FakeEnginePlugin.serving(engine), FeedPlugin.telling(feed), HomeAssistantPlugin, *plugins]
    async with (
        running_system(folder, plugins=chosen, settings=settings, clock=clock, allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield CoreHouse(system, client, engine, feed)
