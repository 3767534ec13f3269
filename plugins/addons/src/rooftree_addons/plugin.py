"""Add-ons: installed, configured, run, updated and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from attrs import field, frozen

from rooftree import JobCall, Kernel, Plugin, Problem, Routes, Task, hookimpl
from rooftree.interfaces.backups import BACKUPS, BackupSource
from rooftree.interfaces.callers import ADDON, TOKEN_HEADERS
from rooftree.interfaces.containers import CONTAINER_ENGINE, OWN_ADDRESS, ContainerChanged, EngineConnected
from rooftree.interfaces.core import CORE
from rooftree.interfaces.hardware import HARDWARE, Device
from rooftree.interfaces.hooks import AvailableUpdate, EndingWork
from rooftree.interfaces.mounts import Mount, MountUse
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree.settings import between
from rooftree_addons.addon_containers import AddonContainers, LastBoot
from rooftree_addons.addons import ADDONS, AddonDocuments, Addons, Upkeep
from rooftree_addons.apparmor import Profiles, host_parser
from rooftree_addons.auto_update import UPDATE_EVERY, AutoUpdate, SeenOffer
from rooftree_addons.backup_source import AddonBackups
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.container import map_targets
from rooftree_addons.hotplug import Hotplug
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.leaked_passwords import LEAKED_PASSWORDS, USUAL_ADDRESS, LeakedPasswords
from rooftree_addons.models import AddonSummary
from rooftree_addons.own_folders import prepare
from rooftree_addons.probation import Probation
from rooftree_addons.remedies import remedy_of
from rooftree_addons.removals import DueRemoval, Removals
from rooftree_addons.replaced import ReplacedAddon
from rooftree_addons.routes import routes
from rooftree_addons.sandbox import SandboxSettings
from rooftree_addons.steps import PLUGIN
from rooftree_addons.tidying import Tidying
from rooftree_addons.update_steps import STEPS
from rooftree_addons.updates import JOBS
from rooftree_containers import ManagedContainers, managed_containers
from rooftree_store import ADDON_STORE, ICON, MapType, StoreReloaded

ADDON_CONTAINERS = managed_containers(PLUGIN)
_SEEN_THROUGH: dict[MountUse, MapType] = {"media": MapType.MEDIA, "share": MapType.SHARE}
"""What an add-on maps to see mounts of a usage."""


@frozen
class AddonsSettings:
    """``[plugins.addons]`` in rooftree.toml."""

    probation_minutes: float = field(default=10.0, validator=between(0, 525_600))
    """How long the new version of an add-on has to run well before what it replaced is given up."""
    failed_data_days: float = field(default=7.0, validator=between(0, 3650))
    """How long the data stays that a version left which was rolled back."""
    seccomp: bool = True
    """Whether add-ons run under the engine's seccomp profile, but for those that declare that they need more."""
    pids_limit: int = field(default=4096, validator=between(0, 4_194_304))
    """How many processes and threads an add-on may have; 0 for any number."""
    leak_lookup_url: str = USUAL_ADDRESS
    """Whom ``options/validate`` asks about passwords, five digits of a hash at a time; empty: nobody."""


class AddonsPlugin(Plugin):
    """Installs add-ons and keeps them as their user wants them."""

    name = "addons"
    provides = (ADDONS, ADDON_CONTAINERS, LEAKED_PASSWORDS)
    requires = (ADDON_STORE, CONTAINER_ENGINE)
    settings = AddonsSettings
    optional = (HARDWARE, INSTALLATION_PREFERENCES, CORE, OWN_ADDRESS, BACKUPS)

    async def setup(self, kernel: Kernel) -> None:
        """Know what is installed; what runs is looked at as soon as the engine is there."""
        settings = kernel.settings(AddonsSettings)
        documents = AddonDocuments(
            installed=await kernel.collection(InstalledAddon),
            probations=await kernel.collection(Probation),
            images=await kernel.collection(BroughtImage),
            replaced=await kernel.collection(ReplacedAddon),
        )
        upkeep = Upkeep(
            probation=timedelta(minutes=settings.probation_minutes),
            failed_data_stays=timedelta(days=settings.failed_data_days),
            sandboxes=SandboxSettings(settings.seccomp, settings.pids_limit),
        )
        profiles = Profiles(kernel.data.path / "apparmor", await asyncio.to_thread(host_parser))
        removals = Removals(kernel, await kernel.collection(DueRemoval))
        boots, seen_offers = await kernel.collection(LastBoot), await kernel.collection(SeenOffer)
        await asyncio.to_thread(prepare, kernel.data.path)
        self.addons = Addons(
            kernel,
            kernel.service(ADDON_STORE),
            documents,
            profiles,
            removals,
            upkeep,
            lambda addons: ManagedContainers(kernel, AddonContainers(addons, boots), JOBS, STEPS),
        )
        self.containers = self.addons.containers
        self.auto_update = AutoUpdate(kernel, self.addons, seen_offers)
        self.hotplug = Hotplug(kernel, self.addons)
        self.tidying = Tidying(kernel, self.addons)
        self.backups = AddonBackups(self.addons, await kernel.folder())
        await self.backups.clones.sweep()
        await self.tidying.note_what_is_installed()
        kernel.accept_tokens_in(*TOKEN_HEADERS)
        kernel.register_kind(ADDON, self.addons.principal, self.containers.observation.whereabouts)
        kernel.provide(ADDON_CONTAINERS, self.containers)
        kernel.provide(ADDONS, self.addons)
        kernel.provide(LEAKED_PASSWORDS, LeakedPasswords(settings.leak_lookup_url, kernel.clock))
        kernel.on(ContainerChanged, self.hotplug.container_changed)
        kernel.on(ContainerChanged, self.tidying.changed)
        kernel.on(EngineConnected, self.tidying.connected)
        kernel.on(StoreReloaded, self.store_reloaded)
        self.addons.tell_store()

    async def store_reloaded(self, _: StoreReloaded) -> None:
        """The store offers something else than before: perhaps the add-on of a container that nobody knew."""
        self.addons.tell_store()
        await self.auto_update.note_offers()
        await self.containers.reconciliation.look_again_at_unknown()

    def routes(self) -> Routes:
        """The add-ons' routes, and the verbs of the store's."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """What is looked after, at the start and by the clock."""
        yield from self.containers.tasks()
        yield Task("delete what was removed", self.addons.removals.follow)
        yield Task("delete what could not be deleted", self.addons.removals.retry, every=timedelta(days=1))
        yield Task("tidy", self.tidying.follow)
        yield Task("tidy again", self.tidying.tidy, every=timedelta(days=1))
        yield Task("auto update", self.auto_update.run, every=UPDATE_EVERY)

    @hookimpl
    async def hardware_added(self, device: Device) -> None:
        """Let the add-ons have it that asked for it."""
        await self.hotplug.added(device)

    @hookimpl
    def hardware_removed(self, device: Device) -> None:
        """Nobody waits for it any more."""
        self.hotplug.removed(device)

    @hookimpl
    def before_host_ends(self) -> list[EndingWork]:
        """End the add-ons, stage by stage."""
        return self.containers.stages.ending_work("add-ons", order=10)

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Start or restart an add-on, or let it do without a port or its start with the host."""
        return remedy_of(self.addons, problem, suggestion)

    @hookimpl
    def mount_users(self, mount: Mount) -> list[str]:
        """The add-ons that are shown what is mounted among the media, or in the shared folder."""
        kind = _SEEN_THROUGH.get(mount.usage)
        if kind is None:
            return []
        targets = {addon.config.name: map_targets(addon.config).get(kind) for addon in self.addons.installed.values()}
        return [f"The add-on {name} sees it at {target}/{mount.name}" for name, target in targets.items() if target]

    @hookimpl
    def backup_source(self) -> BackupSource:
        """The add-ons' parts of backups."""
        return self.backups

    @hookimpl
    def available_updates(self) -> list[AvailableUpdate]:
        """Add-ons with a newer version in the store."""
        return [
            AvailableUpdate(
                update_type="addon",
                version_latest=self.addons.version_latest(addon),
                panel_path=f"/update-available/{addon.slug}",
                name=addon.config.name,
                icon=f"/addons/{addon.slug}/icon" if self._has_icon(addon) else None,
            )
            for addon in self.addons.installed.values()
            if self.addons.update_available(addon)
        ]

    def _has_icon(self, addon: InstalledAddon) -> bool:
        offer = self.addons.store.addons.get(addon.slug)
        return offer is not None and ICON in offer.files

    @hookimpl
    def supervisor_info(self) -> Mapping[str, Any]:
        """The installed add-ons, as the supervisor's info has them."""
        shown = ("name", "slug", "version", "version_latest", "update_available", "state", "repository", "icon")
        summaries = [AddonSummary.of(self.addons, addon) for addon in self.addons.installed.values()]
        return {"addons": [{name: getattr(summary, name) for name in shown} for summary in summaries]}
