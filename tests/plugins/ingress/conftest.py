"""A house whose add-ons have pages, and a Core that opens them for its users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import field, mutable

from rooftree import Principal, Role
from rooftree.interfaces.core import CoreUnavailable, CoreUser
from rooftree.testing import Client, FakeClock, token_for
from rooftree.testing.containers import FakeContainerEngine
from rooftree_ingress.ingress import INGRESS
from rooftree_ingress.plugin import IngressPlugin
from tests.plugins.addons.house import House, house
from tests.plugins.discovery.core_desk import CoreDesk
from tests.rig.backends import backend, backend_process, websocket_port

__all__ = ["backend", "backend_process", "websocket_port"]

PAULUS = CoreUser(id="a" * 32, name="Paülus S.", username="paulus", is_owner=True, is_active=True, local_only=False)


@mutable
class CoreWithUsers(CoreDesk):
    """A Core whose users may be asked for."""

    people: Sequence[CoreUser] = field(default=(PAULUS,))

    async def users(self) -> Sequence[CoreUser]:
        if not self.answers:
            raise CoreUnavailable("Core is away")
        return self.people


@pytest.fixture
def engine() -> FakeContainerEngine:
    """An engine whose containers are at our own loopback address, where the tests' servers listen."""
    engine = FakeContainerEngine()
    engine.address = "127.0.0.1"
    return engine


@pytest.fixture
def core() -> CoreWithUsers:
    return CoreWithUsers()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class IngressHouse:
    """The house, with what Core asks of it."""

    def __init__(self, home: House, core: Client) -> None:
        self.home, self.core = home, core
        self.system = home.system
        self.port = home.system.port
        self.pages = home.system.services.get(INGRESS).pages

    async def run(self, name: str, port: int, **config: Any) -> str:
        """Install and start an add-on whose page is on that port; the path of the page."""
        slug = await self.home.run(name, config={"ingress": True, "ingress_port": port, **config})
        return f"/ingress/{self.home.installed(slug).ingress_token}"

    async def open(self, user: str | None = PAULUS.id) -> str:
        """Open a session."""
        answer = await self.core.post("/ingress/session", json={} if user is None else {"user_id": user})
        return str(answer.data["session"])


@pytest.fixture
async def here(
    tmp_path: Path, engine: FakeContainerEngine, core: CoreWithUsers, clock: FakeClock
) -> AsyncIterator[IngressHouse]:
    async with house(tmp_path, engine, plugins=[core.plugin(), IngressPlugin], clock=clock) as home:
        token = await token_for(home.system, Principal("core", "homeassistant", Role.ADMIN))
        async with Client.over_tcp(home.system, token) as client:
            yield IngressHouse(home, client)
