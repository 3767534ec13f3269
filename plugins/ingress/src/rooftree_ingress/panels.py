"""Panels in Core's sidebar: Core is told when one is wanted, and when it is not any more.

What Core has been told last is kept. Whenever that is not what is wanted (an option changed, an add-on is gone, Core
was away, we were ended in between), Core is told until it has taken it. Core lists all panels itself when it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, document
from rooftree.interfaces.addons import AddonUninstalled, IngressPanelChanged
from rooftree.interfaces.core import CORE, Core, CoreReached, CoreUnavailable
from rooftree_addons import Addons, InstalledAddon
from rooftree_workers import WokenWork

log = structlog.get_logger(__name__)

AGAIN_EVERY: Final = timedelta(minutes=5)
"""How often what Core did not take is tried again."""
WITHIN_S: Final = 30.0
"""Seconds that Core has to take one."""


@document("ingress.shown_panels", version=1)
@frozen
class ShownPanel:
    """Core has been told to show the panel of an add-on; the key is its slug."""


class Panels:
    """The panels of the installed add-ons, and what Core knows of them."""

    def __init__(self, kernel: Kernel, addons: Addons, shown: Collection[ShownPanel]) -> None:
        self._kernel = kernel
        self._addons = addons
        self._shown = shown
        self.telling = WokenWork(self._tell)
        """Tells Core what has changed, whenever something has and Core answers."""
        self._refused: set[str] = set()
        """The panels of which Core did not take what it was told last."""
        for kind in (IngressPanelChanged, AddonUninstalled, CoreReached):
            kernel.on(kind, self.telling.wake)

    def with_pages(self) -> Iterator[InstalledAddon]:
        """The installed add-ons that have a page."""
        return (addon for addon in self._addons.installed.values() if addon.config.ingress)

    async def _tell(self) -> None:
        core = self._kernel.find(CORE)
        if core is None:
            return
        wanted = {str(addon.slug) for addon in self.with_pages() if addon.ingress_panel}
        try:
            for slug in sorted(wanted - self._shown.keys()):
                if await self._push(core, "POST", slug):
                    await self._kernel.commit(self._shown.put(slug, ShownPanel()))
            for slug in sorted(self._shown.keys() - wanted):
                if await self._push(core, "DELETE", slug):
                    await self._kernel.commit(self._shown.delete(slug))
        except CoreUnavailable as error:
            log.info("core_not_told", of="panels", reason=error.message)

    async def _push(self, core: Core, method: str, slug: str) -> bool:
        """Tell Core of one panel; whether it took that."""
        answer = await core.request(method, f"api/hassio_push/panel/{slug}", within_s=WITHIN_S)
        if answer.ok:
            self._refused.discard(slug)
        elif slug not in self._refused:  # it is tried again for as long as it takes, and said once
            self._refused.add(slug)
            log.warning("core_refused_panel", addon=slug, method=method, status=answer.status)
        return answer.ok
