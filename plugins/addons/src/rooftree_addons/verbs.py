"""What can be done with an add-on: the plans of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from rooftree import Lock, Rate, Step, Steps, job
from rooftree.interfaces.containers import ContainerStatus
from rooftree_addons.addons import Addons
from rooftree_addons.feasibility import refuse_infeasible
from rooftree_addons.images import bring_image, is_needed_by_others, missing_image
from rooftree_addons.installed import AddonAlreadyInstalled, Desired, InstalledAddon
from rooftree_addons.ports import refuse_taken_ports
from rooftree_addons.steps import (
    CreateContainer,
    CreateDataFolder,
    DeleteRemoved,
    InstallProfile,
    RegisterAddon,
    RemoveAddonContainer,
    RemoveData,
    SetDesired,
    StartContainer,
    StopContainer,
    UnregisterAddon,
)
from rooftree_addons.update_steps import EndProbation, letting_go
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
    await asyncio.to_thread(refuse_infeasible, addons.on_offer(slug), addons.kernel.data.path)
    await addons.refuse_what_is_no_folder(slug)
    return [
        await bring_image(store, offer),
        CreateDataFolder(slug),
        InstallProfile(slug, await read_text(store, offer, APPARMOR)),
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
        *(letting_go(addons, slug, probation) if probation else []),
        RemoveData(slug, remove_config),
        UnregisterAddon(slug),
        *([EndProbation(slug, probation.kept.folder)] if probation else []),
        DeleteRemoved(slug),
    ]


@job("app_start", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def start(addons: Addons, slug: AddonSlug) -> Steps:
    """Run an add-on with its options as they are now; nothing to do while it runs."""
    addon = addons.get(slug)
    container = await addons.look(slug)
    if container is not None and container.status is ContainerStatus.RUNNING:
        return [SetDesired(slug, Desired.STARTED)] if addon.desired is not Desired.STARTED else []
    await refuse_taken_ports(addons, addon)
    return await _run(addons, addon)


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def stop(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on."""
    addons.get(slug)
    return [SetDesired(slug, Desired.STOPPED), StopContainer(slug)]


@job("app_restart", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def restart(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on and run it again."""
    return await _run(addons, addons.get(slug), StopContainer(slug))


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def end_with_system(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on because the system ends; it is to run again with it."""
    addons.get(slug)
    return [StopContainer(slug)]


# What nobody asked for just now may have to wait behind what somebody did: whether it is still wanted is asked when its
# turn has come.


@job("app_start", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward")
async def start_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """Run an add-on, unless it is to be stopped by now."""
    return await start.plan(addons, slug) if addons.get(slug).desired is Desired.STARTED else []


@job("app_stop", reference="slug", locks=lambda slug: [addon_lock(slug)], recovery="forward", makes_room=True)
async def stop_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on, unless it is to run by now."""
    return await stop.plan(addons, slug) if addons.get(slug).desired is Desired.STOPPED else []


@job(
    "app_restart",
    reference="slug",
    locks=lambda slug: [addon_lock(slug)],
    recovery="forward",
    at_most=Rate(10, timedelta(minutes=30)),
)
async def restart_if_desired(addons: Addons, slug: AddonSlug) -> Steps:
    """End an add-on and run it again, unless it is to be stopped by now. For the watchdogs, which must not go on like
    that for ever with one that runs for a moment each time."""
    return await restart.plan(addons, slug) if addons.get(slug).desired is Desired.STARTED else []


async def _run(addons: Addons, addon: InstalledAddon, *first: Step) -> Sequence[Step]:
    """The way to running, by ``first`` where something has to come before; the image, if it is gone, before that."""
    await asyncio.to_thread(refuse_infeasible, addon, addons.kernel.data.path)
    await addons.refuse_what_is_no_folder(addon.slug)
    await addons.checked_options(addon)
    ready = [SetDesired(addon.slug, Desired.STARTED), CreateContainer(addon.slug), StartContainer(addon.slug)]
    return [*await missing_image(addons, addon), *first, *ready]
