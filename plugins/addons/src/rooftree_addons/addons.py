"""Add-ons: what is installed, and what its user may set. The service that other plugins use."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import structlog
from attrs import evolve, frozen

from rooftree import Collection, Kernel, Principal, Role, Service
from rooftree.interfaces.addons import AddonUninstalled, IngressPanelChanged
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.containers import ContainerEngine
from rooftree_addons.apparmor import Profiles
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.choices import devices_to_choose, is_itself
from rooftree_addons.core_secrets import PROBLEM as SECRETS_PROBLEM
from rooftree_addons.core_secrets import CoreSecrets, core_secrets
from rooftree_addons.device_grants import REFUSED_PROBLEM, Grants, chosen_devices, grants, refusal_problem
from rooftree_addons.devices import HostDevices
from rooftree_addons.installed import AddonNotInstalled, AddonOptions, InstalledAddon, OptionsRefused
from rooftree_addons.options_change import OptionsChange
from rooftree_addons.ports import clear_past_conflict
from rooftree_addons.probation import Probation
from rooftree_addons.removals import Removals
from rooftree_addons.replaced import ReplacedAddon
from rooftree_addons.sandbox import SandboxSettings
from rooftree_containers import ContainerState, ManagedContainers
from rooftree_store import (
    AddonSlug,
    AddonStore,
    CheckedOptions,
    Installed,
    OptionsInvalid,
    effective_options,
    is_update,
    validate_options,
)

log = structlog.get_logger(__name__)

DEVICE_PROBLEM: Final = "device_access_missing"
ADOPTED: Final = "addon_taken_over"
_WAY_ON: Final = "Stop the add-on, update it, set its options, and start it again"
"""For the options of a version that is not installed yet: what the installed one does not know is not kept."""
"""The type of the problem that says that an add-on is known by its container only; cleared when its user sets it up."""
ADDON_PROBLEMS: Final = (DEVICE_PROBLEM, REFUSED_PROBLEM, ADOPTED)
"""The types of problems that an add-on can have as long as it is installed, besides those of its container."""

AddonState = ContainerState
"""What an add-on is doing, in the words of the API."""


@frozen(kw_only=True)
class Upkeep:
    """How add-ons are kept."""

    probation: timedelta
    """How long a new version has to run well before what it replaced is given up."""
    failed_data_stays: timedelta
    """For how long the data of versions that failed is kept."""
    sandboxes: SandboxSettings
    """How far add-ons are kept from the kernel."""


@frozen(kw_only=True)
class AddonDocuments:
    """What is kept of add-ons."""

    installed: Collection[InstalledAddon]
    probations: Collection[Probation]
    """The add-ons whose version has not proved itself yet, by slug."""
    images: Collection[BroughtImage]
    """The images that are on the engine because of add-ons, by name and tag."""
    replaced: Collection[ReplacedAddon]
    """What restores took the place of and may still come back, by slug."""


class Addons:
    """The installed add-ons.

    :param containers: makes of them the containers that are looked after
    """

    def __init__(
        self,
        kernel: Kernel,
        store: AddonStore,
        documents: AddonDocuments,
        profiles: Profiles,
        removals: Removals,
        upkeep: Upkeep,
        containers: Callable[[Addons], ManagedContainers],
    ) -> None:
        self.kernel = kernel
        self.store = store
        self.installed = documents.installed
        self.probations = documents.probations
        self.images = documents.images
        self.replaced = documents.replaced
        self.profiles = profiles
        self.removals = removals
        self.upkeep = upkeep
        self._choosing: defaultdict[AddonSlug, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.containers = containers(self)
        """Their containers, which are looked after."""

    # --- looking -----------------------------------------------------------------------------------------------------

    def get(self, slug: AddonSlug) -> InstalledAddon:
        """One installed add-on; raises :class:`AddonNotInstalled`."""
        try:
            return self.installed[slug]
        except KeyError:
            raise AddonNotInstalled(f"Add-on {slug} is not installed", addon=str(slug)) from None

    @property
    def revision(self) -> str:
        """Changes with what the listing shows: what is installed, what it is doing, and what the store offers."""
        return f"{self.store.revision}.{self.installed.revision}.{self.containers.observation.changes}"

    def on_offer(self, slug: AddonSlug) -> InstalledAddon:
        """An add-on that is not installed, as it would be; raises :class:`AddonNotInstalled` where none is on offer."""
        offer = self.store.addons.get(slug)
        if offer is None:
            return self.get(slug)
        return InstalledAddon.fresh(slug, self.store.image(offer), offer.config.normalised(), set())

    def state(self, slug: AddonSlug) -> ContainerState:
        return self.containers.observation.state(slug)

    def runs(self, slug: AddonSlug) -> bool:
        """Whether its container runs, well or not yet."""
        return self.containers.observation.runs(slug)

    def address(self, slug: AddonSlug) -> str | None:
        """Its address on the add-on network while it runs."""
        return self.containers.observation.address(slug)

    @property
    def engine(self) -> ContainerEngine:
        return self.containers.observation.engine

    def update_available(self, addon: InstalledAddon) -> bool:
        """Whether the store offers an update: another version, and none that is certainly older."""
        offer = self.store.addons.get(addon.slug)
        return offer is not None and is_update(offer.config.version, addon.version)

    def version_latest(self, addon: InstalledAddon) -> str:
        """The version the store offers; the installed one of an add-on that is detached."""
        offer = self.store.addons.get(addon.slug)
        return offer.config.version if offer else addon.version

    def principal(self, slug: str) -> Principal | None:
        """Whom an add-on's token stands for."""
        addon = self.installed.get(slug)
        if addon is None:
            return None
        config = addon.config
        grants = {name for name in ("auth_api", "homeassistant_api", "hassio_api") if getattr(config, name)}
        grants |= {f"service:{entry.service}:{entry.role}" for entry in config.services or ()}
        return Principal(ADDON.name, slug, Role(config.hassio_role) if config.hassio_api else None, frozenset(grants))

    # --- what changed ------------------------------------------------------------------------------------------------

    def tell_store(self) -> None:
        """Let the store's listings know what is installed."""
        self.store.note_installed(
            {
                addon.slug: Installed(addon.version, self.update_available(addon), addon.config)
                for addon in self.installed.values()
            }
        )

    def tell_what_it_is(self, addon: InstalledAddon) -> None:
        """Say what an installed add-on is now: another version, perhaps, that has a page or has none any more."""
        self.tell_store()
        self.kernel.publish(IngressPanelChanged(addon.slug, addon.ingress_panel))

    def forget(self, slug: AddonSlug) -> None:
        """Keep nothing in memory of an add-on that is not installed any more, and say so."""
        self.containers.forget(slug)
        self._choosing.pop(slug, None)
        for problem in ADDON_PROBLEMS:
            self.kernel.problems.clear(problem, "addon", slug)
        self.tell_store()
        self.kernel.publish(AddonUninstalled(slug))

    def restart_due(self, slug: AddonSlug, reason: str) -> None:
        """Say that a running add-on has something only from its next start on.

        :param reason: what that is, as a sentence
        """
        self.containers.observation.restart_due(slug, reason)

    # --- options -----------------------------------------------------------------------------------------------------

    async def set_options(self, slug: AddonSlug, change: OptionsChange, caller: Principal | None = None) -> None:
        """Change what a user may set, all of it or, when any of it is wrong, nothing.

        :param caller: who sets it: an add-on may choose less for itself than its user may for it
        """
        self.get(slug)
        async with self._choosing[slug]:  # what is as it was is not asked about: it must stay so until it is written
            addon = self.get(slug)
            changes = change.changes(addon)
            options, by_itself = changes.pop("options", None), is_itself(caller, slug)
            if options is not None and change.options is not None:  # null drops what was set: nothing is to be checked
                complete = effective_options(addon.config.options, options)
                await self.checked_choice(addon, options, complete, by_itself=by_itself)

            def changed(installed: InstalledAddon) -> InstalledAddon:
                chosen = installed if options is None else installed.with_options(options, by_itself=by_itself)
                return evolve(chosen, **changes)

            await self.change(slug, changed)
        if "ingress_panel" in changes:
            self.kernel.publish(IngressPanelChanged(slug, changes["ingress_panel"]))
        self.kernel.problems.clear(ADOPTED, "addon", slug)
        clear_past_conflict(self.kernel.problems, self.get(slug))

    async def change(self, slug: AddonSlug, fn: Callable[[InstalledAddon], InstalledAddon]) -> None:
        """Change what is kept of an installed add-on, as :meth:`~rooftree.Collection.update` does; raises
        :class:`AddonNotInstalled` where it was uninstalled meanwhile."""
        try:
            await self.kernel.commit(self.installed.update(slug, fn))
        except KeyError:
            self.get(slug)
            raise

    async def checked_options(self, addon: InstalledAddon) -> CheckedOptions:
        """The options as the add-on will see them; raises :class:`OptionsRefused` naming every wrong field."""
        return await self._checked(addon, addon.effective_options, addon.secret_references, HostDevices())

    async def checked_choice(
        self, addon: InstalledAddon, chosen: AddonOptions, complete: AddonOptions, *, by_itself: bool
    ) -> CheckedOptions:
        """The same for options that somebody chooses; refuses besides what he may not choose.

        :param chosen: what he sets
        :param complete: what the add-on would see of it, secrets aside
        :param by_itself: whether it is the add-on that chooses
        """
        others = [other for other in self.installed.values() if other.slug != addon.slug]
        devices = await asyncio.to_thread(devices_to_choose, addon, others, self.kernel.data.path, by_itself=by_itself)
        references = addon.with_options(chosen, by_itself=by_itself).secret_references
        return await self._checked(addon, complete, references, devices)

    async def _checked(
        self, addon: InstalledAddon, options: AddonOptions, references: Mapping[str, str], devices: HostDevices
    ) -> CheckedOptions:
        secrets = await asyncio.to_thread(core_secrets, self.kernel.data.path)
        self._tell_of_secrets(secrets)
        try:
            return await asyncio.to_thread(
                validate_options,
                addon.config.schema,
                options,
                secrets=secrets.lookup,
                devices=devices,
                granted_secrets=references,
            )
        except OptionsInvalid as error:
            known = self.installed.get(addon.slug)
            updates = known is not None and known.version != addon.version
            raise OptionsRefused(
                f"The options of {addon.config.name} ({addon.slug}) are not valid"
                + (f" for version {addon.version}: {error.message}. {_WAY_ON}" if updates else f": {error.message}"),
                app=str(addon.slug),
                validation_error=error.message,
            ) from None

    def _tell_of_secrets(self, secrets: CoreSecrets) -> None:
        if secrets.problem is None:
            self.kernel.problems.clear(SECRETS_PROBLEM, "core", None)
        else:
            self.kernel.problems.report(secrets.problem)

    # --- hardware ----------------------------------------------------------------------------------------------------

    async def hardware(self, addon: InstalledAddon, checked: CheckedOptions) -> Grants:
        """The devices that an add-on gets with these options."""
        paths = [device.path for device in checked.devices]
        return await asyncio.to_thread(grants, addon, paths, self.kernel.data.path)

    async def hardware_now(self, addon: InstalledAddon) -> Grants:
        """The devices that it would get if it were started now; its options need not be complete yet."""
        chosen = chosen_devices(addon.config, addon.effective_options)
        return await asyncio.to_thread(grants, addon, chosen, self.kernel.data.path)

    def tell_refused(self, slug: AddonSlug, hardware: Grants) -> None:
        """Say which devices an add-on does not get that it asks for, until it asks for none such."""
        if hardware.refused:
            log.warning("devices_refused", addon=slug, devices=[str(device) for device in hardware.refused][:20])
            self.kernel.problems.report(refusal_problem(slug, hardware.refused))
        else:
            self.kernel.problems.clear(REFUSED_PROBLEM, "addon", slug)


ADDONS = Service[Addons]("addons/1")

__all__ = ["ADDONS", "AddonDocuments", "AddonState", "Addons", "Upkeep"]
