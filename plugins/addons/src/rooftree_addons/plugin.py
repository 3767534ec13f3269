"""Add-ons: installed, configured, run, updated and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from attrs import field, frozen
from attrs.validators import ge

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.access import TokenUsedElsewhere
from rooftree.interfaces.callers import ADDON, TOKEN_HEADERS
from rooftree.interfaces.containers import CONTAINER_ENGINE, ContainerChanged, EngineConnected, EngineLost
from rooftree.interfaces.hardware import HARDWARE, Device
from rooftree.interfaces.hooks import AvailableUpdate, EndingWork
from rooftree.interfaces.power import HostStays
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_addons.addons import ADDONS, Addons, AddonStateChanged
from rooftree_addons.apparmor import Profiles, host_parser
from rooftree_addons.auto_update import UPDATE_EVERY, AutoUpdate, SeenOffer
from rooftree_addons.boot import END_WITHIN_S, Stages
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.hotplug import Hotplug
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.leaked_passwords import LEAKED_PASSWORDS, USUAL_ADDRESS, LeakedPasswords
from rooftree_addons.models import AddonSummary
from rooftree_addons.own_folders import prepare
from rooftree_addons.probation import Probation
from rooftree_addons.probation_watch import ProbationWatch
from rooftree_addons.reconciliation import Reconciliation
from rooftree_addons.removals import DueRemoval, Removals
from rooftree_addons.routes import routes
from rooftree_addons.sandbox import SandboxSettings
from rooftree_addons.tidying import Tidying
from rooftree_addons.url_watchdog import LOOK_EVERY, UrlWatchdog
from rooftree_store import ADDON_STORE, ICON, StoreReloaded


@frozen
class AddonsSettings:
    """``[plugins.addons]`` in rooftree.toml."""

    probation_minutes: float = field(default=10.0, validator=ge(0))
    """How long the new version of an add-on has to run well before what it replaced is given up."""
    failed_data_days: float = field(default=7.0, validator=ge(0))
    """How long the data stays that a version left which was rolled back."""
    seccomp: bool = True
    """Whether add-ons run under the engine's seccomp profile, but for those that declare that they need more."""
    pids_limit: int = field(default=4096, validator=ge(0))
    """How many processes and threads an add-on may have; 0 for any number."""
    leak_lookup_url: str = USUAL_ADDRESS
    """Whom ``options/validate`` asks about passwords, five digits of a hash at a time; empty: nobody."""


class AddonsPlugin(Plugin):
    """Installs add-ons and keeps them as their user wants them."""

    name = "addons"
    provides = (ADDONS, LEAKED_PASSWORDS)
    requires = (ADDON_STORE, CONTAINER_ENGINE)
    settings = AddonsSettings
    optional = (HARDWARE, INSTALLATION_PREFERENCES)

    async def setup(self, kernel: Kernel) -> None:
        """Know what is installed; what runs is looked at as soon as the engine is there."""
        installed = await kernel.collection(InstalledAddon)
        probations = await kernel.collection(Probation)
        settings = kernel.settings(AddonsSettings)
        profiles = Profiles(kernel.data.path / "apparmor", await asyncio.to_thread(host_parser))
        self.addons = Addons(
            kernel,
            kernel.service(ADDON_STORE),
            installed,
            probations,
            profiles,
            Removals(kernel, await kernel.collection(DueRemoval)),
            await kernel.collection(BroughtImage),
            failed_data_stays=timedelta(days=settings.failed_data_days),
            sandboxes=SandboxSettings(settings.seccomp, settings.pids_limit),
        )
        self.probation = ProbationWatch(kernel, self.addons, lasts=timedelta(minutes=settings.probation_minutes))
        self.stages = Stages(kernel, self.addons)
        self.reconciliation = Reconciliation(kernel, self.addons, self.stages, self.probation)
        self.auto_update = AutoUpdate(kernel, self.addons, await kernel.collection(SeenOffer))
        self.hotplug = Hotplug(kernel, self.addons)
        self.url_watchdog = UrlWatchdog(kernel, self.addons)
        self.tidying = Tidying(kernel, self.addons)
        await self.tidying.note_what_is_installed()
        self.kernel = kernel
        await asyncio.to_thread(prepare, kernel.data.path)
        kernel.accept_tokens_in(*TOKEN_HEADERS)
        kernel.register_kind(ADDON, self.addons.principal, self.addons.whereabouts)
        kernel.provide(ADDONS, self.addons)
        address = kernel.settings(AddonsSettings).leak_lookup_url
        kernel.provide(LEAKED_PASSWORDS, LeakedPasswords(address, kernel.clock))
        kernel.on(EngineConnected, self.reconciliation.connected)
        kernel.on(EngineLost, self.reconciliation.lost)
        kernel.on(ContainerChanged, self.reconciliation.changed)
        kernel.on(ContainerChanged, self.tidying.changed)
        kernel.on(EngineConnected, self.tidying.connected)
        kernel.on(AddonStateChanged, self.probation.state_changed)
        kernel.on(TokenUsedElsewhere, self.addons.token_used_elsewhere)
        kernel.on(StoreReloaded, self.store_reloaded)
        kernel.on(HostStays, lambda _: self.reconciliation.connected())
        self.addons.tell_store()

    async def store_reloaded(self, _: StoreReloaded) -> None:
        """The store offers something else than before."""
        self.addons.tell_store()
        await self.auto_update.note_offers()
        await self.reconciliation.store_changed()

    def routes(self) -> Routes:
        """The add-ons' routes, and the verbs of the store's."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Look at everything once (the engine may have said that it is there before we listened), then by the clock."""
        yield Task("bring up", self.bring_up)
        yield Task("delete what was removed", self.addons.removals.follow)
        yield Task("delete what could not be deleted", self.addons.removals.retry, every=timedelta(days=1))
        yield Task("tidy", self.tidying.follow)
        yield Task("tidy again", self.tidying.tidy, every=timedelta(days=1))
        yield Task("delete failed data", self.probation.delete_failed_data, every=timedelta(days=1))
        yield Task("auto update", self.auto_update.run, every=UPDATE_EVERY)
        yield Task("watchdog", self.url_watchdog.look, every=LOOK_EVERY)

    async def bring_up(self) -> None:
        """Bring the add-ons up, if the engine is there; else its coming will."""
        if self.addons.engine.available:
            await self.reconciliation.connected()

    async def stop(self) -> None:
        """End what watches; the containers run on."""
        if hasattr(self, "reconciliation"):
            await self.url_watchdog.stop()
            await self.stages.stop()
            await self.reconciliation.stop()
            await self.probation.stop()

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
        stages = self.stages
        return [
            EndingWork(
                name="add-ons",
                order=10,
                run=stages.shut_down,
                within_s=END_WITHIN_S,
                ends=tuple(stages.would_end()),
            )
        ]

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
