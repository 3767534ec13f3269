"""What add-ons tell Core and each other."""

from __future__ import annotations

from collections.abc import Iterable

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.addons import AddonUninstalled
from rooftree.interfaces.core import CORE
from rooftree_addons import ADDONS
from rooftree_containers.damaged_state import state_is_damaged
from rooftree_discovery.messages import DISCOVERY_MESSAGES, DiscoveryMessages, StoredMessage
from rooftree_discovery.pushes import AGAIN_EVERY, DuePush, Pushes
from rooftree_discovery.routes import routes
from rooftree_discovery.services import ADDON_SERVICES, AddonServices, ProvidedService
from rooftree_store import ADDON_STORE


class DiscoveryPlugin(Plugin):
    """Discovery messages of add-ons for Core, and the services that add-ons provide to each other."""

    name = "discovery"
    provides = (DISCOVERY_MESSAGES, ADDON_SERVICES)
    requires = (ADDONS, ADDON_STORE)
    optional = (CORE,)

    async def setup(self, kernel: Kernel) -> None:
        """Know what was said, but by add-ons that were uninstalled while this did not run."""
        addons, stored = kernel.service(ADDONS), await kernel.collection(StoredMessage)
        self.pushes = Pushes(kernel, await kernel.collection(DuePush), stored.__contains__)
        self.messages = DiscoveryMessages(kernel, addons, kernel.service(ADDON_STORE), stored, self.pushes)
        self.services = AddonServices(kernel, addons, await kernel.collection(ProvidedService))
        kernel.on(AddonUninstalled, self.forget)
        if not state_is_damaged(kernel):  # then an add-on may be taken over later that is not known now
            for gone in {*self.messages.owners, *self.services.owners} - addons.installed.keys():
                await self.forget(AddonUninstalled(gone))
        kernel.provide(DISCOVERY_MESSAGES, self.messages)
        kernel.provide(ADDON_SERVICES, self.services)

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Tell Core."""
        yield Task("tell Core", self.pushes.telling.follow)
        yield Task("tell Core again", self.pushes.telling.again, every=AGAIN_EVERY)

    async def forget(self, uninstalled: AddonUninstalled) -> None:
        """Let go what is kept of an add-on that is gone."""
        await self.messages.forget(uninstalled.slug)
        await self.services.forget(uninstalled.slug)

    @hookimpl
    async def services_offered(self, slug: str) -> None:
        """Wait until the add-on has said how its services are reached."""
        await self.services.until_provided(slug)
