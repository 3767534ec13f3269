"""Ingress: add-ons' pages in Home Assistant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from rooftree import Kernel, Plugin, Routes, Task, hookimpl
from rooftree.interfaces.containers import OWN_ADDRESS
from rooftree.interfaces.core import CORE
from rooftree_addons import ADDONS
from rooftree_ingress.ingress import INGRESS, Ingress
from rooftree_ingress.pages import Pages
from rooftree_ingress.panels import AGAIN_EVERY, Panels, ShownPanel
from rooftree_ingress.routes import routes
from rooftree_ingress.sessions import KIND, Sessions, StoredSession


class IngressPlugin(Plugin):
    """Add-ons' pages in Home Assistant: sessions, entries in the sidebar, and the proxy in front of the pages."""

    name = "ingress"
    provides = (INGRESS,)
    requires = (ADDONS,)
    optional = (CORE, OWN_ADDRESS)

    async def setup(self, kernel: Kernel) -> None:
        """Know the sessions that are open, and what Core has been told."""
        addons = kernel.service(ADDONS)
        self.sessions = Sessions(kernel, await kernel.collection(StoredSession))
        kernel.defer(self.sessions.write)
        self.panels = Panels(kernel, addons, await kernel.collection(ShownPanel))
        kernel.register_sessions(KIND, self.sessions.holder)
        self.pages = Pages(kernel, addons)
        kernel.provide(INGRESS, Ingress(self.sessions, self.panels, self.pages))

    @hookimpl
    def addon_facts(self, slug: str) -> Mapping[str, str] | None:
        """Where an add-on's page is: nowhere without us."""
        return self.pages.facts(slug)

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Tell Core, and forget what is over."""
        yield Task("tell Core", self.panels.telling.follow)
        yield Task("tell Core again", self.panels.telling.again, every=AGAIN_EVERY)
        yield Task("tidy sessions", self.sessions.tidy, every=timedelta(minutes=1))
