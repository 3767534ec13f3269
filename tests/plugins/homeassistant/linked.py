"""A connection to a stand-in for Core, without the container that Core is in otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve

from rooftree import Event, Kernel, Plugin, Routes, Secret, Task
from rooftree.clock import MACHINE, Clock
from rooftree.interfaces.core import CoreReached
from rooftree.process import System
from rooftree.testing import Failing, running_system
from rooftree_homeassistant.auth_routes import routes
from rooftree_homeassistant.conversation import PROVIDED, Conversation
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.whereabouts import CoreAddress
from tests.rig.core_process import CoreProcess


class Place:
    """Where Core is; the test says so."""

    def __init__(self) -> None:
        self.now: CoreAddress | None = None

    def address(self) -> CoreAddress | None:
        return self.now


@define
class Linked:
    """A system with a connection, and what it told."""

    system: System
    place: Place
    core_client: CoreClient
    events: list[Event]
    _news: asyncio.Event

    def move(self, address: CoreAddress | None) -> None:
        """Core is there from now on."""
        self.place.now = address
        self.core_client.look_again()

    def over_socket(self, core: CoreProcess, **facts: Any) -> None:
        """Core is behind its socket."""
        address = CoreAddress(
            container_id="one", version="2026.11.0", socket=core.socket, url=core.url, refresh_token=None
        )
        self.move(evolve(address, **facts))

    def over_tcp(self, core: CoreProcess, **facts: Any) -> None:
        """Core is where it listens, and has given a refresh token."""
        address = CoreAddress(
            container_id="one", version="2026.3.1", socket=None, url=core.url, refresh_token=Secret(core.refresh_token)
        )
        self.move(evolve(address, **facts))

    async def is_told[E: Event](self, kind: type[E], count: int = 1) -> E:
        """The last of so many events of that type."""
        async with asyncio.timeout(15):
            while len(told := [event for event in self.events if isinstance(event, kind)]) < count:
                await self._news.wait()
                self._news.clear()
        return told[count - 1]

    async def reached(self, count: int = 1) -> str:
        """The version of the Core that was reached, that many times."""
        return (await self.is_told(CoreReached, count)).version


@asynccontextmanager
async def linked(
    folder: Path,
    *,
    plugins: Iterable[type[Plugin]] = (),
    clock: Clock = MACHINE,
    settings: Mapping[str, object] | None = None,
    allow: Collection[Failing] = (),
) -> AsyncIterator[Linked]:
    """A system whose only plugin, but for others given, keeps a connection to wherever the test says that Core is."""
    place = Place()
    events: list[Event] = []
    news = asyncio.Event()
    conversations: list[Conversation] = []

    def note(event: Event) -> None:
        events.append(event)
        news.set()

    class LinkPlugin(Plugin):
        name = "link"
        provides = PROVIDED

        async def setup(self, kernel: Kernel) -> None:
            kernel.on(Event, note)
            self.conversation = await Conversation.begin(kernel, place)
            conversations.append(self.conversation)

        def routes(self) -> Routes:
            return routes

        def tasks(self) -> Iterable[Task]:
            yield from self.conversation.tasks()

    async with running_system(
        folder, plugins=[LinkPlugin, *plugins], clock=clock, settings=settings or {}, allow=allow
    ) as system:
        yield Linked(system, place, conversations[0].core_client, events, news)
