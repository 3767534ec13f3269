"""A house for tests of add-ons: a system with a store of local add-ons, and an engine that does what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rooftree import Plugin
from rooftree.clock import MACHINE, Clock
from rooftree.events.problems import Problem
from rooftree.interfaces.containers import Container
from rooftree.process.system import System
from rooftree.testing import Answer, Client, Failing, FakeClock, running_system
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin, FakeImage
from rooftree_addons import ADDONS, Addons, AddonState, InstalledAddon
from rooftree_addons.plugin import AddonsPlugin
from rooftree_containers.managed import Stage
from rooftree_store import AddonSlug
from rooftree_store.plugin import StorePlugin
from tests.rig.files import write_files
from tests.rig.waiting import until

WITHIN_S = 10.0
REGISTRY = "registry.example"
SETTINGS = {
    "plugins.store.repositories": [],
    "plugins.store.machine": "generic-x86-64",
    "plugins.addons.leak_lookup_url": "",
}
HELLO = AddonSlug("local_hello")
AFTER_ALL = max(Stage) + 1


def addon_config(name: str, version: str = "1.0", **keys: Any) -> dict[str, Any]:
    """An add-on's configuration; a key that is ``None`` is left out."""
    usual = {
        "name": name.title(),
        "version": version,
        "slug": name,
        "description": f"Says {name}",
        "arch": ["amd64", "aarch64", "armv7", "armhf", "i386"],
        "image": f"{REGISTRY}/{name}",
    }
    return {key: value for key, value in (usual | keys).items() if value is not None}


def write_offer(
    data: Path, name: str, version: str = "1.0", files: Mapping[str, str] = {}, config: Mapping[str, Any] = {}
) -> None:
    """Put an add-on into the local repository."""
    content = json.dumps(addon_config(name, version, **config))
    write_files(data / "apps" / "local" / name, {"config.json": content, **files})


def done(answer: Answer) -> None:
    """Fail the test unless the answer is a good one without data."""
    assert answer.data == {}


def refusal(answer: Answer, status: int, error_key: str | None = None) -> str:
    """The message of an error that has that status and key."""
    assert (answer.status, answer.envelope.get("error_key")) == (status, error_key), answer.text
    return answer.message


class House:
    """The system and its engine, a client that may do everything, and what tests look at."""

    def __init__(self, system: System, client: Client, engine: FakeContainerEngine) -> None:
        self.system = system
        self.client = client
        self.engine = engine
        self.addons: Addons = system.services.get(ADDONS)
        self.data = system.data.path

    async def offer(
        self,
        name: str = "hello",
        version: str = "1.0",
        *,
        image: FakeImage | None = None,
        files: Mapping[str, str] = {},
        config: Mapping[str, Any] = {},
    ) -> AddonSlug:
        """Offer an add-on in the local repository, its image published; in place of an older version."""
        self.engine.publish_image(f"{REGISTRY}/{name}:{version}", image)
        await asyncio.to_thread(write_offer, self.data, name, version, files, config)
        done(await self.client.post("/store/reload"))
        return AddonSlug(f"local_{name}")

    async def install(self, name: str = "hello", version: str = "1.0", **keys: Any) -> AddonSlug:
        """Offer an add-on and install it."""
        slug = await self.offer(name, version, **keys)
        done(await self.client.post(f"/store/addons/{slug}/install"))
        return slug

    async def run(self, name: str = "hello", version: str = "1.0", **keys: Any) -> AddonSlug:
        """Offer an add-on, install and start it."""
        slug = await self.install(name, version, **keys)
        done(await self.post(slug, "start"))
        return slug

    async def post(self, slug: str, verb: str, body: object = None, **options: Any) -> Answer:
        """``POST /addons/<slug>/<verb>``."""
        return await self.client.post(f"/addons/{slug}/{verb}", json={} if body is None else body, **options)

    async def set_options(self, slug: str, **options: Any) -> None:
        """Set an add-on's options in the API's sense; fails the test when they are refused."""
        done(await self.post(slug, "options", options))

    async def info(self, slug: str, **options: Any) -> dict[str, Any]:
        """``GET /addons/<slug>/info``."""
        return dict((await self.client.get(f"/addons/{slug}/info", **options)).data)

    def installed(self, slug: str = HELLO) -> InstalledAddon:
        """What is kept of an installed add-on."""
        return self.addons.installed[slug]

    async def container(self, slug: str = HELLO) -> Container | None:
        """An add-on's container."""
        return await self.engine.container(f"app_{slug}")

    def token(self, slug: str = HELLO) -> str:
        """The token in an add-on's container."""
        return self.engine.spec(f"app_{slug}").environment["SUPERVISOR_TOKEN"]

    def tokens(self, slug: str = HELLO) -> set[str]:
        """The digests of an add-on's valid tokens."""
        return set(self.system.tokens.known("addon", slug))

    def problem(self, kind: str, slug: str = HELLO) -> Problem | None:
        """The problem of that type which an add-on has, if it has it."""
        found = (problem for problem in self.system.problems if (problem.type, problem.reference) == (kind, slug))
        return next(found, None)

    def options_file(self, slug: str = HELLO) -> dict[str, Any]:
        """The options that an add-on's container reads."""
        return dict(json.loads((self.data / "apps" / "data" / slug / "options.json").read_text()))

    async def until_state(self, slug: str, state: AddonState) -> None:
        """Wait until an add-on is in that state."""

        async def reached() -> bool:
            return self.addons.state(AddonSlug(slug)) is state

        await until(reached, within_s=WITHIN_S, what=f"state {state} of {slug}")

    async def until_settled(self) -> None:
        """Wait until a system that has just started has brought about what is desired of every add-on."""
        async with asyncio.timeout(WITHIN_S):
            await self.addons.containers.stages.until_past(AFTER_ALL)
        await self.quiet()

    async def until_problem(self, kind: str, slug: str = HELLO) -> Problem:
        """Wait for a problem of an add-on."""

        async def found() -> Problem | None:
            return self.problem(kind, slug)

        problem = await until(found, within_s=WITHIN_S, what=f"problem {kind} of {slug}")
        assert problem is not None
        return problem

    async def until_watchdog_rests(self) -> None:
        """Wait until everything that was published has been dealt with, by the watchdog too."""
        await self.quiet()

        async def resting() -> bool:
            return not self.addons.containers.watchdog.watching

        await until(resting, within_s=WITHIN_S, what="the watchdog's rest")
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until everything that was published has been dealt with."""
        await self.system.bus.drained()

    async def let_pass(self, clock: FakeClock, time: timedelta) -> None:
        """Let time pass, and the jobs end that begin in it."""
        await self.quiet()
        await clock.advance(time)

        async def ended() -> bool:
            await self.quiet()
            return all(job.done for job in self.system.jobs.listing())

        await until(ended, within_s=WITHIN_S, what="the end of every job")
        await self.quiet()


@asynccontextmanager
async def house(
    folder: Path,
    engine: FakeContainerEngine,
    settings: Mapping[str, object] | None = None,
    plugins: Sequence[type[Plugin]] = (),
    clock: Clock = MACHINE,
    allow: Collection[Failing] = (),
) -> AsyncIterator[House]:
    """A house on that folder and engine; a second one on both is what a restart of the daemon finds.

    :param plugins: more of them, beside the store's and the add-ons'
    :param allow: what may go wrong
    """
    installed = [FakeEnginePlugin.serving(engine), StorePlugin, AddonsPlugin, *plugins]
    chosen = SETTINGS | dict(settings or {})
    async with (
        running_system(folder, plugins=installed, settings=chosen, clock=clock, allow=allow) as system,
        Client.over_unix(system) as client,
    ):
        yield House(system, client, engine)
