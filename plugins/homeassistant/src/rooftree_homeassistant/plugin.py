"""The table of contents of this domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from attrs import field, frozen

from rooftree import JobCall, Kernel, Plugin, Principal, Problem, Role, Routes, Task, hookimpl
from rooftree.interfaces.backups import BACKUPS, BackupRestored, BackupSource
from rooftree.interfaces.callers import CORE, HOME_ASSISTANT_HEADER, TOKEN_HEADERS
from rooftree.interfaces.containers import CONTAINER_ENGINE, OWN_ADDRESS
from rooftree.interfaces.core import CoreLost, CoreReached, CoreUnavailable
from rooftree.interfaces.hooks import AvailableUpdate, EndingWork
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.interfaces.mounts import Mount
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree.interfaces.versions import VERSION_FEED
from rooftree.settings import between
from rooftree_containers import managed_containers
from rooftree_containers.standing import ManagedStateChanged, look_after
from rooftree_homeassistant.api_proxy import API_PROXY, ApiProxy
from rooftree_homeassistant.conversation import PROVIDED, Conversation
from rooftree_homeassistant.core_backups import CoreBackups
from rooftree_homeassistant.core_container import NAMES, PLUGIN, TITLES, described
from rooftree_homeassistant.core_domain import CoreDomain
from rooftree_homeassistant.core_health import CORE_HEALTH, CoreHealth
from rooftree_homeassistant.core_jobs import OWN
from rooftree_homeassistant.core_options import CoreOptions
from rooftree_homeassistant.core_remedies import remedy_of
from rooftree_homeassistant.core_restore_steps import tidy
from rooftree_homeassistant.home_assistant import (
    CONTAINER,
    HOME_ASSISTANT,
    NAME,
    ContainerSettings,
    CoreContainer,
    HomeAssistant,
)
from rooftree_homeassistant.install import FirstInstall
from rooftree_homeassistant.installation import INSTALLATION
from rooftree_homeassistant.landing_page import LANDING_PAGE
from rooftree_homeassistant.replaced_core import ReplacedCore
from rooftree_homeassistant.routes import routes
from rooftree_workers import WokenWork


@frozen
class HomeAssistantSettings:
    """``[plugins.homeassistant]`` in rooftree.toml."""

    probation_minutes: float = field(default=10.0, validator=between(0, 525_600))
    """How long a new version of Core has to run well before what it replaced is given up."""
    failed_data_days: float = field(default=7.0, validator=between(0, 3650))
    """How long the configuration stays that a version left which was rolled back."""
    update_keeps_history: bool = False
    """Whether an update of Core also copies its database, and puts it back with the version before if that comes back.
    Without, the history stays as it is; a version may not be able to read what a later one has made of it."""
    install: bool = True
    """Whether Core is installed by itself where it is not, with a page on its port meanwhile."""
    privileged: bool = True
    """Whether Core's container has every capability and device of the host, as Core expects, and is spared when memory
    runs short. An engine that runs in a container itself may not be able to give that; then switch it off."""


class HomeAssistantPlugin(Plugin):
    """Home Assistant Core: installed, run, watched, updated; and its API for everybody else."""

    name = PLUGIN
    provides = (
        HOME_ASSISTANT,
        CORE_HEALTH,
        INSTALLATION,
        LANDING_PAGE,
        API_PROXY,
        managed_containers(PLUGIN),
        *PROVIDED,
    )
    requires = (CONTAINER_ENGINE,)
    optional = (VERSION_FEED, RECOGNIZED_MACHINE, INSTALLATION_PREFERENCES, BACKUPS, OWN_ADDRESS)
    settings = HomeAssistantSettings

    async def setup(self, kernel: Kernel) -> None:
        """Know what is installed and set; what runs is looked at as soon as the engine is there."""
        settings = kernel.settings(HomeAssistantSettings)
        options, installed = await kernel.collection(CoreOptions), await kernel.collection(CoreContainer)
        if NAME not in options:
            await kernel.commit(options.put(NAME, CoreOptions()))
        decided = ContainerSettings(
            install=settings.install,
            privileged=settings.privileged,
            probation=timedelta(minutes=settings.probation_minutes),
            keep_history=settings.update_keeps_history,
        )
        replaced = await kernel.collection(ReplacedCore)
        self.core = HomeAssistant(kernel, options, installed, replaced, decided)
        self.conversation = await Conversation.begin(kernel, self.core)
        self.backups = CoreBackups(self.core, self.conversation.core_client, await kernel.folder())
        self.health = CoreHealth(self.core, self.conversation.core_client)
        domain = CoreDomain(
            kernel,
            NAMES,
            installed,
            titles=TITLES,
            containers={NAME: CONTAINER},
            describe=partial(described, self.core, self.health),
            failed_data_stays=timedelta(days=settings.failed_data_days),
        )
        self.containers = self.core.containers = look_after(kernel, domain, OWN)
        self.kernel, self.tidying = kernel, WokenWork(self._tidy_restores)
        kernel.on(BackupRestored, self.tidying.wake)
        kernel.on(CoreReached, self.core_reached)
        kernel.on(CoreLost, lambda _: self.core.note_recovery_mode(False))
        kernel.on(ManagedStateChanged, self.container_changed)
        kernel.accept_tokens_in(*TOKEN_HEADERS, HOME_ASSISTANT_HEADER)
        kernel.register_kind(
            CORE,
            lambda name: Principal(CORE.name, name, Role.ADMIN),
            self.containers.observation.whereabouts,
        )
        kernel.provide(HOME_ASSISTANT, self.core)
        kernel.provide(CORE_HEALTH, self.health)
        self.first_install = FirstInstall(kernel, self.core, is_wanted=settings.install)
        proxy = ApiProxy(self.conversation.core_client)
        kernel.defer(proxy.close)
        kernel.provide(API_PROXY, proxy)

    async def core_reached(self, _: CoreReached) -> None:
        """Core may have changed where its page is, or can't use what it was changed to."""
        core_client = self.conversation.core_client
        with suppress(CoreUnavailable):  # it went again: its return brings us here again
            await self.core.note_http(await core_client.http_config())
            self.core.note_recovery_mode((await core_client.config()).get("recovery_mode") is True)

    def container_changed(self, event: ManagedStateChanged) -> None:
        """Perhaps Core runs now as what it is to be."""
        if event.plugin == PLUGIN:
            self.core.note_rebuilt()

    async def _tidy_restores(self) -> None:
        """Give up what a restore took the place of: at the start, and when one has ended."""
        if self.core.replaced:
            await self.kernel.jobs.run(tidy())

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """What is looked after, at the start and by the clock."""
        yield Task("host's address", self.core.learn_gateway)
        yield from self.first_install.tasks()
        yield from self.containers.tasks()
        yield from self.conversation.tasks()
        yield Task("tidy after restores", self.tidying.follow)

    @hookimpl
    def info(self) -> Mapping[str, Any]:
        """Core's version, in ``/info``."""
        return {"homeassistant": self.core.installed.version if self.core.installed else None}

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Start, restart or rebuild Core, or let it start with the host no longer."""
        return remedy_of(problem, suggestion)

    @hookimpl
    def mount_users(self, mount: Mount) -> list[str]:
        """Core sees what is mounted among the media, or in the shared folder."""
        if self.core.installed is None or mount.usage not in {"media", "share"}:
            return []
        return [f"Home Assistant sees it at /{mount.data_path.path}"]

    @hookimpl
    def backup_source(self) -> BackupSource:
        """Core's part of backups."""
        return self.backups

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        """A newer version of Core."""
        version = self.core.update
        if version is None:
            return []
        return [AvailableUpdate(update_type="core", version_latest=version, panel_path="/update-available/core")]

    @hookimpl
    async def objections_to_host_end(self) -> str | None:
        """That Core changes its database."""
        if await self.health.migrates():
            return "Home Assistant Core changes its database, which can cost its history if it is stopped now"
        return None

    @hookimpl
    def before_host_ends(self) -> list[EndingWork]:
        """End Core, after the add-ons that talk to it."""
        return self.containers.stages.ending_work("Home Assistant Core", order=20)
