"""A shop for tests of the store: a system with nothing else, and a client that may do everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rooftree import Plugin
from rooftree.events.problems import Problem
from rooftree.process.system import System
from rooftree.testing import Answer, Client, running_system
from rooftree_store import ADDON_STORE, AddonStore
from rooftree_store.plugin import StorePlugin
from rooftree_store.sources import RepositorySource
from tests.rig.files import write_files

SETTINGS = {"plugins.store.repositories": [], "plugins.store.machine": "generic-x86-64"}
ARCHITECTURES = ["amd64", "aarch64", "armv7", "armhf", "i386"]


def config(slug: str = "hello", version: str = "1.0", **keys: Any) -> str:
    """A config file's text; a key that is ``None`` is left out."""
    usual = {"name": slug.title(), "version": version, "slug": slug, "description": "", "arch": ARCHITECTURES}
    return json.dumps({key: value for key, value in (usual | keys).items() if value is not None})


def refusal(answer: Answer, status: int, error_key: str | None = None) -> str:
    """The message of an error that has that status and key."""
    assert (answer.status, answer.envelope.get("error_key")) == (status, error_key), answer.text
    return answer.message


class Shop:
    """The system, a client, and what tests look at."""

    def __init__(self, system: System, client: Client) -> None:
        self.system = system
        self.client = client
        self.store: AddonStore = system.services.get(ADDON_STORE)
        self.data = system.data.path
        self.local = self.data / "apps" / "local"
        self.clones = self.data / "apps" / "git"

    async def offer(self, files: Mapping[str, str]) -> None:
        """Put files into the local repository, and read it anew."""
        await asyncio.to_thread(write_files, self.local, files)
        await self.reload()

    async def reload(self) -> None:
        """Fetch and read everything anew."""
        assert (await self.client.post("/store/reload")).data == {}

    async def add(self, source: str) -> Answer:
        """Add a repository."""
        return await self.client.post("/store/repositories", json={"repository": source})

    async def remove(self, source: str) -> Answer:
        """Remove a repository."""
        return await self.client.delete(f"/store/repositories/{RepositorySource.parse(source).slug}")

    def offered(self) -> dict[str, str]:
        """The versions on offer, by slug."""
        return {str(slug): offer.config.version for slug, offer in self.store.addons.items()}

    def sources(self) -> list[str]:
        """The sources of the repositories, without the local one."""
        return [str(source) for source in self.store.sources.values() if source != "local"]

    def folders(self) -> list[str]:
        """What lies in the folder of the clones, half-made ones included."""
        return sorted(path.name for path in self.clones.glob("*")) if self.clones.exists() else []

    def problem(self, kind: str) -> Problem | None:
        """The store's problem of that type, if there is one."""
        return next((problem for problem in self.system.problems if problem.type == kind), None)


@asynccontextmanager
async def shop(
    folder: Path, settings: Mapping[str, object] | None = None, *others: type[Plugin]
) -> AsyncIterator[Shop]:
    """A shop on that folder; a second one is what a restart of the daemon finds. Other plugins may be there too."""
    chosen = SETTINGS | dict(settings or {})
    async with (
        running_system(folder, plugins=[StorePlugin, *others], settings=chosen) as system,
        Client.over_unix(system) as client,
    ):
        yield Shop(system, client)
