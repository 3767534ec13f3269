"""Updates that can't hurt: what is replaced is kept until what replaces it has proved itself, and put back if it fails.

How that goes is the library's (``rooftree_containers.plans``); an add-on's part are its image, its
configuration and its profile.
"""

from __future__ import annotations

import asyncio
from typing import Final

from rooftree import Forbidden, JobCall, Steps, Unavailable, job
from rooftree.interfaces.backups import BACKUPS, BackupRequest
from rooftree_addons import verbs
from rooftree_addons.addons import Addons
from rooftree_addons.growth import is_as_installed
from rooftree_addons.images import bring_image
from rooftree_addons.installed import (
    AddonNotInStore,
    InstalledAddon,
    NoUpdateAvailable,
    RebuildImageBased,
    RebuildVersionChanged,
)
from rooftree_addons.preparation import refuse_impossible
from rooftree_addons.steps import ChangeVersion, InstallProfile
from rooftree_addons.update_steps import BeginProbation
from rooftree_addons.verbs import INSTALLING, addon_lock, with_repository
from rooftree_containers import ContainerJobs, plans
from rooftree_store import APPARMOR, AddonSlug, AddonStore, Offer, read_text

UPDATING = tuple(condition for condition in INSTALLING if condition != "healthy")
"""An unhealthy system can't be kept from an update, which may be what cures it."""

OF_UPDATE: Final = "supervisor.addon_update"
"""In a backup's extra data, by which Core knows those that were made before updates of an add-on."""


@job(
    "addon_manager_update",
    reference="slug",
    locks=lambda slug, backup=False: with_repository(slug),
    conditions=UPDATING,
)
async def update(addons: Addons, store: AddonStore, slug: AddonSlug, backup: bool = False) -> Steps:
    """Go to the version the store has, whichever it is; when that does not start, the one before comes back.

    That it is older keeps nobody from going there by hand: a release that is withdrawn may be what harms.

    :param backup: whether the add-on is backed up before; without a backup there is no update then
    """
    addon = addons.get(slug)
    offer = store.addons.get(slug)
    if offer is None:
        raise AddonNotInStore(_detached(slug), addon=str(slug))
    if offer.config.version == addon.version:
        raise NoUpdateAvailable(f"Add-on {slug} is at {addon.version}, and the store has no other", addon=str(slug))
    store.refuse_unavailable(offer)
    first = [_backup(addons, addon)] if backup else []
    return [*first, *await _replace(addons, store, addon, offer)]


def _backup(addons: Addons, addon: InstalledAddon) -> JobCall[None]:
    backups = addons.kernel.find(BACKUPS)
    if backups is None:
        raise Unavailable("No enabled plugin makes backups; update without backup, or enable one")
    name, slug = f"addon_{addon.slug}_{addon.version}", str(addon.slug)
    return backups.create(BackupRequest(name=name, addons=(slug,), extra={OF_UPDATE: slug}))


@job(
    "app_manager_rebuild",
    reference="slug",
    locks=lambda slug, force, by_itself: with_repository(slug),
    conditions=("free_space", "internet_host"),
)
async def rebuild(addons: Addons, store: AddonStore, slug: AddonSlug, force: bool, by_itself: bool) -> Steps:
    """Build a local add-on again from its folder as it is now.

    :param by_itself: whether the add-on asks for it. Then it stays declared as it is: what its author, or whoever may
        write to its folder, declares anew is for somebody else to accept
    """
    addon = addons.get(slug)
    offer = store.addons.get(slug)
    if offer is None:
        raise AddonNotInStore(_detached(slug), addon=str(slug))
    if offer.config.version != addon.version:
        raise RebuildVersionChanged(
            f"The store offers {slug} in version {offer.config.version}, {addon.version} is installed; update it",
            addon=str(slug),
        )
    if offer.config.image is not None and not force:
        raise RebuildImageBased(f"Add-on {slug} comes as an image; there is nothing to build", addon=str(slug))
    if by_itself:
        profile = await asyncio.to_thread(addons.profiles.kept, slug)
        if not is_as_installed(addon, profile, offer.config, await read_text(store, offer, APPARMOR)):
            raise Forbidden(
                f"The configuration or the AppArmor profile of {slug} is not as it was installed, and an add-on can't "
                "accept that by itself; who looks after it can rebuild it"
            )
    return await _replace(addons, store, addon, offer)


def _detached(slug: AddonSlug) -> str:
    return (
        f"No repository offers add-on {slug} any more, or its configuration there is broken: `rooftree problems` tells "
        "which"
    )


async def _replace(addons: Addons, store: AddonStore, addon: InstalledAddon, offer: Offer) -> Steps:
    """Put what is offered in the place of what is installed; it runs afterwards if it ran before."""
    slug, image, config = addon.slug, store.image(offer), offer.config.normalised()
    await refuse_impossible(addons, addons.on_offer(slug))
    profile = await asyncio.to_thread(addons.profiles.kept, slug)
    fresh_profile = await read_text(store, offer, APPARMOR)
    await addons.profiles.refuse_wrong(slug, fresh_profile)
    return await plans.replace(
        addons.containers,
        slug,
        addon.with_version(image, None, config).what_it_is,
        await bring_image(store, offer),
        [InstallProfile(slug, fresh_profile), ChangeVersion(slug, image, config)],
        lambda kept: BeginProbation(slug, offer.config.version, addon.what_it_is, kept, profile),
    )


@job(
    "addon_manager_roll_back",
    reference="slug",
    locks=lambda slug, update, reason: [addon_lock(slug)],
    recovery="forward",
    makes_room=True,
)
async def roll_back(addons: Addons, slug: AddonSlug, update: str, reason: str) -> Steps:
    """Put the version before an update back, with the data it had."""
    addons.get(slug)
    probation = addons.probations.get(slug)
    put_back = [InstallProfile(slug, probation.profile)] if probation is not None else []
    return await plans.roll_back(addons.containers, slug, update, reason, put_back)


@job("addon_manager_keep_update", reference="slug", locks=lambda slug, update: [addon_lock(slug)], recovery="forward",
     makes_room=True)  # fmt: skip
async def keep_update(addons: Addons, slug: AddonSlug, update: str) -> Steps:
    """Give up what an update replaced."""
    return await plans.keep_update(addons.containers, slug, update)


JOBS = ContainerJobs(
    start=lambda name: verbs.start_if_desired(slug=AddonSlug(name)),
    stop=lambda name: verbs.stop_if_desired(slug=AddonSlug(name)),
    restart=lambda name: verbs.restart_if_desired(slug=AddonSlug(name)),
    end=lambda name: verbs.end_with_system(slug=AddonSlug(name)),
    roll_back=lambda name, update, reason: roll_back(slug=AddonSlug(name), update=update, reason=reason),
    keep_update=lambda name, update: keep_update(slug=AddonSlug(name), update=update),
)
"""The add-ons' jobs that the library runs by itself."""
