"""What can be done with an add-on: the plans of its jobs; those of updates are in :mod:`rooftree_addons.updates`."""

from __future__ import annotations

from rooftree import Lock, Steps, job
from rooftree_addons.addons import Addons
from rooftree_addons.images import bring_image, is_needed_by_others
from rooftree_addons.installed import AddonAlreadyInstalled
from rooftree_addons.preparation import refuse_impossible
from rooftree_addons.steps import (
    CreateDataFolder,
    DeleteRemoved,
    InstallProfile,
    RegisterAddon,
    RemoveAddonContainer,
    RemoveData,
    SetDesired,
    UnregisterAddon,
)
from rooftree_addons.update_steps import EndProbation
from rooftree_containers import Desired, plans
from rooftree_containers.container_jobs import WATCHDOG_RATE
from rooftree_containers.plans import letting_go
from rooftree_containers.steps import RemoveImage
from rooftree_store import APPARMOR, AddonSlug, AddonStore, read_text, repository_lock

INSTALLING = ("healthy", "free_space", "internet_host", "plugins_updated", "supervisor_updated")


def addon_lock(slug: AddonSlug) -> Lock:
    """What every job holds that changes an add-on."""
    return Lock("addon", slug)


def with_repository(slug: AddonSlug) -> list[Lock]:
    """The same for those that read its folder in the store."""
    return [addon_lock(slug), repository_lock(slug.repository, shared=True)]


@job("app_manager_install", reference="slug", locks=with_repository, conditions=INSTALLING)
async def install(addons: Addons, store: AddonStore, slug: AddonSlug) -> Steps:
    """Fetch or build the image, and enter the add-on."""
    if slug in addons.installed:
        raise AddonAlreadyInstalled(f"Add-on {slug} is already installed", addon=str(slug))
    offer = store.addon(slug)
    store.refuse_unavailable(offer)
    await refuse_impossible(addons, addons.on_offer(slug))
    profile = await read_text(store, offer, APPARMOR)
    await addons.profiles.refuse_wrong(slug, profile)
    return [
        await bring_image(store, offer),
        CreateDataFolder(slug),
        InstallProfile(slug, profile),
        RegisterAddon(slug, store.image(offer), offer.config.normalised()),
    ]


@job(
    "app_manager_uninstall",
    reference="slug",
    locks=lambda slug, remove_config: [addon_lock(slug)],
    recovery="forward",
    makes_room=True,
)
async def uninstall(addons: Addons, slug: AddonSlug, remove_config: bool) -> Steps:
    """Take everything away that the add-on brought."""
    addon = addons.get(slug)
    probation = addons.probations.get(slug)
    return [
        SetDesired(slug, Desired.STOPPED),
        RemoveAddonContainer(slug, addon.config.timeout),
        *([] if is_needed_by_others(addons, slug, addon.image) else [RemoveImage(addon.image)]),
        *(letting_go(addons.containers, slug, probation) if probation else []),
        RemoveData(slug, remove_config),
        UnregisterAddon(slug),
        *([EndProbation(slug, probation.kept.folder)] if probation else []),
        DeleteRemoved(slug),
    ]


@job("app_start", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def start(addons: Addons, slug: AddonSlug) -> Steps:
    """Run an add-on with its options as they are now; nothing to do while it runs."""
    return await plans.start(addons.containers, slug)


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def stop(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on."""
    return await plans.stop(addons.containers, slug)


@job("app_restart", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def restart(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on and run it again."""
    return await plans.restart(addons.containers, slug)


# What the library runs by itself (see ContainerJobs):


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def end_with_system(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on because the system ends; it is to run again with it."""
    return await plans.end(addons.containers, slug)


@job("app_start", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def start_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """Run an add-on, unless it is to be stopped by now."""
    return await plans.start_if_desired(addons.containers, slug)


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def stop_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on, unless it is to run by now."""
    return await plans.stop_if_desired(addons.containers, slug)


@job(
    "app_restart",
    reference="slug",
    locks=lambda slug: [addon_lock(slug)],
    recovery="forward",
    at_most=WATCHDOG_RATE,
)
async def restart_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on and run it again, unless it is to be stopped by now."""
    return await plans.restart_if_desired(addons.containers, slug)
