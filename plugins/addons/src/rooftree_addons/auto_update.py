"""Updates by themselves, for the add-ons whose user wants that: a day after a version was first seen, never to one
that is not certainly newer, never over a breaking one, never into options that the new version would refuse, never to
what asks for more than is installed, never again to one that was rolled back. What is held back says in the log why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, RooftreeError, Stopping, document
from rooftree.interfaces.core import CORE, CoreRefused
from rooftree_addons import updates
from rooftree_addons.addons import Addons
from rooftree_addons.growth import asks_for_more
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonSlug, Offer, Order, order

log = structlog.get_logger(__name__)

UPDATE_EVERY: Final = timedelta(seconds=57_600)
UPDATE_COMMAND: Final = "hassio/update/addon"
CORE_WITHIN_S: Final = 7_200.0
"""Seconds that Core may take to make a backup, wherever its user wants that, and to have the add-on updated."""
SEASONED_AFTER: Final = timedelta(hours=24)
"""How long a version is left to others first: what is broken is withdrawn within a day."""


@document("addons.seen_offer", version=1)
@frozen
class SeenOffer:
    """The version of an installed add-on that the store offers, and since when, as we saw it. The age of its file
    would not do: a repository that is cloned again is as young as the clone."""

    version: str
    since: datetime


class AutoUpdate:
    """Updates add-ons by themselves."""

    def __init__(self, kernel: Kernel, addons: Addons, seen_offers: Collection[SeenOffer]) -> None:
        self._kernel = kernel
        self._addons = addons
        self._seen = seen_offers

    async def note_offers(self) -> None:
        """Take down which updates are on offer since now."""
        offered = {slug: offer.config.version for slug, offer in self._offers()}
        changes = [
            self._seen.put(slug, SeenOffer(version, self._kernel.clock.now()))
            for slug, version in offered.items()
            if slug not in self._seen or self._seen[slug].version != version
        ]
        changes += [self._seen.delete(slug) for slug in self._seen if slug not in offered]
        if changes:
            await self._kernel.commit(*changes)

    async def run(self) -> None:
        """Update what can be updated, one add-on after another."""
        await self.note_offers()
        for slug, offer in self._offers():
            addon = self._addons.installed.get(slug)
            if addon is None or not addon.auto_update:
                continue
            version = offer.config.version
            if (reason := await self._against(addon, offer)) is not None:
                log.info("auto_update_held_back", addon=slug, version=version, reason=reason)
                continue
            log.info("auto_update", addon=slug, version=version)
            try:
                if not await self._updated_by_core(slug, version):
                    await self._kernel.jobs.run(updates.update(slug=slug))
            except Stopping:
                raise
            except RooftreeError as error:
                log.warning("auto_update_failed", addon=slug, version=version, reason=error.message)

    async def _updated_by_core(self, slug: AddonSlug, version: str) -> bool:
        """Have Core update an add-on: it makes a backup first, where its user wants that. ``False`` where it is not
        there, or could not begin.

        Raises :class:`CoreRefused` where the update failed, and ``CoreUnavailable`` where nobody knows.
        """
        core = self._kernel.find(CORE)
        if core is None or not core.answers:
            return False
        try:
            await core.command(UPDATE_COMMAND, within_s=CORE_WITHIN_S, addon=str(slug), backup=True)
        except CoreRefused as error:
            addon = self._addons.installed.get(slug)
            if addon is None or version in {addon.version, addon.failed_version}:
                raise
            log.warning("auto_update_without_core", addon=slug, version=version, reason=error.message)
            return False
        return True

    def _offers(self) -> list[tuple[AddonSlug, Offer]]:
        """What the store offers as updates."""
        return [
            (addon.slug, self._addons.store.addons[addon.slug])
            for addon in self._addons.installed.values()
            if self._addons.update_available(addon)
        ]

    async def _against(self, addon: InstalledAddon, offer: Offer) -> str | None:
        """What speaks against the update, or ``None``."""
        new = offer.config.version
        if order(new, addon.version) is not Order.NEWER:
            return f"it is not certain that it is newer than {addon.version}; update by hand if it is"
        if (breaking := first_breaking(offer.config.breaking_versions, addon.version, new)) is not None:
            return f"version {breaking} breaks with what was before; update by hand once its changelog is read"
        if more := asks_for_more(addon.config, offer.config):
            return f"it asks for more than version {addon.version} ({', '.join(more)}); update by hand to accept that"
        if new == addon.failed_version:
            return "it was tried, and did not work here"
        seen_offer = self._seen.get(addon.slug)
        if seen_offer is None:  # it was withdrawn while another add-on was updated
            return "it is no longer on offer"
        seasoned = seen_offer.since + SEASONED_AFTER
        if self._kernel.clock.now() < seasoned:
            return f"it is on offer for less than {SEASONED_AFTER}; not before {seasoned.isoformat(timespec='seconds')}"
        try:
            self._addons.store.refuse_unavailable(offer)
            await self._addons.checked_options(addon.with_version(addon.image, addon.digest, offer.config.normalised()))
        except RooftreeError as error:
            return error.message
        return None


def first_breaking(breaking: Iterable[str], installed: str, new: str) -> str | None:
    """The first breaking version that lies before us, if one does.

    The new version counts only where a breaking one cannot be compared with the installed one: then the way is clear
    when the new one is still before it.
    """
    for version in breaking:
        ahead = _is_before(installed, version)
        if ahead if ahead is not None else not _is_before(new, version):
            return version
    return None


def _is_before(version: str, other: str) -> bool | None:
    """Whether a version comes before another; ``None`` where they cannot be compared."""
    known = order(version, other)
    return None if known is Order.UNKNOWN else known is Order.OLDER
