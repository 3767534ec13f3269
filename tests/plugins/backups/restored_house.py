"""A house with the real domains of add-ons and Core, real archives, and an engine that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rooftree import Plugin, hookimpl
from rooftree.clock import MACHINE, Clock
from rooftree.testing import Answer, Failing
from rooftree.testing.containers import FakeContainerEngine
from rooftree_backups.plugin import BackupsPlugin
from rooftree_containers import Desired
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.home_assistant import NAME, CoreContainer
from rooftree_homeassistant.plugin import HomeAssistantPlugin
from tests.plugins.addons.house import House, house
from tests.plugins.homeassistant.house import FeedPlugin, WrittenFeed
from tests.rig.waiting import until

CORE_VERSION = "2026.11.0"
CORE_IMAGE = "ghcr.io/home-assistant/generic-x86-64-homeassistant"
OWN_VERSION = "2026.11.1"


class Facts(Plugin):
    """What is known of the installation."""

    name = "facts"

    @hookimpl
    def backup_facts(self) -> Mapping[str, Any]:
        return {"supervisor_version": OWN_VERSION}


def core_is_well(monkeypatch: pytest.MonkeyPatch, complaint: str | None = None) -> None:
    """What there is to say of Core once it was started."""

    async def works(_: object) -> str | None:
        return complaint

    async def up(*_: object) -> None:
        return None

    monkeypatch.setattr(CoreHealth, "works", works)
    monkeypatch.setattr(CoreHealth, "until_up", up)


@asynccontextmanager
async def whole_house(
    folder: Path,
    engine: FakeContainerEngine,
    allow: Collection[Failing] = (),
    clock: Clock = MACHINE,
    plugins: Sequence[type[Plugin]] = (),
) -> AsyncIterator[House]:
    """Such a house; a second one on the same folder and engine is what a restart of the daemon finds."""
    chosen = [FeedPlugin.telling(WrittenFeed()), HomeAssistantPlugin, BackupsPlugin, Facts, *plugins]
    settings = {"plugins.homeassistant.install": False}
    async with house(folder, engine, settings, chosen, clock=clock, allow=allow) as home:
        yield home


async def install_core(home: House, version: str = CORE_VERSION) -> None:
    """Core is installed, and runs."""
    image = f"{CORE_IMAGE}:{version}"
    home.engine.load_image(image, home.engine.registry.get(image) or home.engine.publish_image(image))
    installed = await home.system.state.collection(CoreContainer)
    document = CoreContainer(version=version, image=image, desired=Desired.STOPPED)
    await home.system.state.commit(installed.put(NAME, document))
    assert (await home.client.post("/core/start")).data == {}


async def take_in(home: House, archive: Path) -> str:
    """Put an archive where backups are; its slug."""
    before = {backup["slug"] for backup in (await home.client.get("/backups")).data["backups"]}
    target = home.data / "backup" / archive.name
    await asyncio.to_thread(target.write_bytes, await asyncio.to_thread(archive.read_bytes))
    await home.client.post("/backups/reload")
    after = {backup["slug"] for backup in (await home.client.get("/backups")).data["backups"]}
    (slug,) = after - before
    return slug


async def make_backup(home: House, kind: str = "full", **body: Any) -> str:
    """Make a backup; its slug."""
    answer = await home.client.post(f"/backups/new/{kind}", json=body)
    assert answer.status == 200, answer.text
    return str(answer.data["slug"])


async def restore(home: House, slug: str, kind: str = "full", **body: Any) -> Answer:
    """Restore one, and let everything be dealt with that comes of it."""
    answer = await home.client.post(f"/backups/{slug}/restore/{kind}", json=body)
    await home.quiet()
    return answer


async def until_quiet(home: House) -> None:
    """Wait until every job has ended."""

    async def ended() -> bool:
        await home.quiet()
        return all(job.done for job in home.system.jobs.listing())

    await until(ended, within_s=20, what="the end of every job")
