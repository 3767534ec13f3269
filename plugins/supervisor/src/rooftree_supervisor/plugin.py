"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from rooftree import Event, Kernel, Plugin, RooftreeError, Routes, Task, hookimpl
from rooftree.interfaces.callers import TOKEN_HEADERS
from rooftree.interfaces.containers import ContainerSpec
from rooftree.interfaces.hooks import ContainerAdditions, ContainerOwner
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.interfaces.network import InternetChanged
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES, PreferencesChanged
from rooftree.interfaces.versions import VERSION_FEED
from rooftree.process import RECENT_LOGS, SETTINGS
from rooftree_supervisor.event_stream import EVENTS, EventStream
from rooftree_supervisor.host import read_host
from rooftree_supervisor.metrics import SCRAPE, Scrape
from rooftree_supervisor.named_tokens import NAMED_TOKENS, NamedTokens
from rooftree_supervisor.overview import OVERVIEW, Overview
from rooftree_supervisor.own_log import OWN_LOG, OwnLog
from rooftree_supervisor.own_use import OWN_USE, OwnUse
from rooftree_supervisor.preferences import PREFERENCES, Preferences, SupervisorSettings
from rooftree_supervisor.routes import routes
from rooftree_supervisor.version import COMPATIBILITY_LEVEL
from rooftree_supervisor.version_feed import OwnVersionFeed, ReadVersions


class SupervisorPlugin(Plugin):
    """Supervisor, Root and Jobs of the API, and the kernel's own ``/kernel/v1``."""

    name = "supervisor"
    optional = (RECOGNIZED_MACHINE,)
    provides = (
        EVENTS, PREFERENCES, INSTALLATION_PREFERENCES, OVERVIEW, NAMED_TOKENS, SCRAPE, OWN_LOG, OWN_USE, VERSION_FEED,
    )  # fmt: skip
    settings = SupervisorSettings

    async def setup(self, kernel: Kernel) -> None:
        """Read the options and what this machine is."""
        kernel.accept_tokens_in(*TOKEN_HEADERS)
        stream = EventStream()
        kernel.defer(stream.close)
        kernel.on(Event, stream.take)
        kernel.provide(EVENTS, stream)
        self.preferences = preferences = await Preferences.load(kernel, kernel.service(SETTINGS))
        kernel.provide(PREFERENCES, preferences)
        kernel.provide(INSTALLATION_PREFERENCES, preferences)
        self.feed = OwnVersionFeed(
            kernel,
            await kernel.collection(ReadVersions),
            kernel.settings(SupervisorSettings).version_file,
            lambda: preferences.channel,
        )
        kernel.on(PreferencesChanged, self.feed.note_preferences)
        kernel.on(InternetChanged, self.feed.note_internet)
        kernel.provide(VERSION_FEED, self.feed)
        kernel.provide(OWN_USE, OwnUse())
        kernel.provide(OVERVIEW, Overview(kernel, preferences, await asyncio.to_thread(read_host)))
        kernel.provide(NAMED_TOKENS, NamedTokens(kernel))
        kernel.provide(SCRAPE, Scrape(kernel))
        kernel.provide(OWN_LOG, await OwnLog.load(kernel, kernel.service(RECENT_LOGS)))

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Keep the versions fresh, unless the operator wants none to be read."""
        if not self.feed.is_off:
            yield Task("version feed", self.feed.run)

    @hookimpl
    async def reload_updates(self) -> RooftreeError | None:
        """Read the version feed, where a domain goes by it."""
        return await self.feed.reload()

    @hookimpl
    def backup_facts(self) -> Mapping[str, Any]:
        """The version that a backup says it was made by."""
        return {"supervisor_version": COMPATIBILITY_LEVEL}

    @hookimpl
    def container_spec(self, owner: ContainerOwner, draft: ContainerSpec) -> ContainerAdditions | None:
        """The time zone, where the options name one; every container has the host's otherwise."""
        timezone = self.preferences.now.timezone
        return ContainerAdditions(environment={"TZ": timezone}) if timezone else None
