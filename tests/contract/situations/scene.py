"""Where calls are made that start a job, and which: filled by the modules beside this one, one for each domain."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from attrs import field, frozen

from tests.plugins.addons.house import House
from tests.plugins.mounts.conftest import Shares
from tests.rig.git_server import GitRepository, GitServer


@frozen
class Scene:
    """Where a call is made."""

    home: House
    git: GitServer
    route: str
    """The one that is about to be called."""
    served: Shares | None = None
    """Servers with shares, where the route is about mounts."""
    vault: Path | None = None
    """A vault with nothing in it, where the route is about vaults."""

    @property
    def shares(self) -> Shares:
        """Servers with shares."""
        assert self.served is not None, "there are shares for routes about mounts alone"
        return self.served

    async def put_vault(self, place: str) -> None:
        """Put the vault there, below the data folder."""
        assert self.vault is not None, "there is a vault for routes about vaults alone"
        await asyncio.to_thread(shutil.copytree, self.vault, self.home.data / place)

    def publish(self) -> GitRepository:
        """A repository that can be added."""
        return self.git.repository(secrets.token_hex(4), {"repository.yaml": "name: A shop"})

    async def added(self) -> GitRepository:
        """A repository that was added."""
        repository = self.publish()
        answer = await self.home.client.post("/store/repositories", json={"repository": repository.url})
        assert answer.data == {}
        return repository


@frozen
class Call:
    """A call."""

    path: str
    body: object = None
    """Sent as JSON, but bytes as they are."""
    headers: Mapping[str, str] = field(factory=dict)


type Situation = Callable[[Scene], Awaitable[Call]]

CALLS: dict[str, list[Situation]] = {}


def situation(*routes: str) -> Callable[[Situation], Situation]:
    """Say how routes are called, once they are in the situation that the function makes."""

    def decorate(make: Situation) -> Situation:
        for route in routes:
            CALLS.setdefault(route, []).append(make)
        return make

    return decorate
