"""What can be done with an add-on: the plans of its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rooftree import Failed, Lock, Rate, RooftreeError, Step, Steps, job
from rooftree.interfaces.containers import ContainerStatus, ImageNotFound
from rooftree_addons.addons import Addons
from rooftree_addons.feasibility import refuse_infeasible
from rooftree_addons.installed import (
    AddonAlreadyInstalled,
    AddonNotInStore,
    Desired,
    DockerfileMissing,
    InstalledAddon,
    NoUpdateAvailable,
    RebuildImageBased,
    RebuildVersionChanged,
)
from rooftree_addons.ports import refuse_taken_ports
from rooftree_addons.steps import (
    ChangeVersion,
    CreateContainer,
    CreateDataFolder,
    InstallProfile,
    RegisterAddon,
    RemoveAddonContainer,
    RemoveData,
    SetDesired,
    StartContainer,
    StopContainer,
    UnregisterAddon,
)
from rooftree_containers.steps import BuildImage, PullImage, RemoveImage
from rooftree_store import (
    AddonSlug,
    AddonStore,
    BuildFile,
    Offer,
    parse_build_file,
    pick_arch,
    read_document,
    repository_lock,
)

INSTALLING = ("healthy", "free_space", "internet_host", "plugins_updated", "supervisor_updated")
UPDATING = tuple(condition for condition in INSTALLING if condition != "healthy")
"""An unhealthy system can't be kept from an update, which may be what cures it."""
BUILD_FILES = ("build.yaml", "build.yml", "build.json")


def addon_lock(slug: AddonSlug) -> Lock:
    """What every job holds that changes an add-on."""
    return Lock("addon", slug)


def _with_repository(slug: AddonSlug) -> list[Lock]:
    return [addon_lock(slug), repository_lock(slug.repository)]


@job("app_manager_install", reference="slug", locks=_with_repository, conditions=INSTALLING)
async def install(addons: Addons, store: AddonStore, slug: AddonSlug) -> Steps:
    """Fetch or build the image, and enter the add-on."""
    if slug in addons.installed:
        raise AddonAlreadyInstalled(f"Add-on {slug} is already installed", addon=str(slug))
    offer = store.addon(slug)
    store.refuse_unavailable(offer)
    return [
        await bring_image(store, offer),
        CreateDataFolder(slug),
        InstallProfile(slug),
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
    shared = any(other.image == addon.image for other in addons.installed.values() if other.slug != slug)
    return [
        SetDesired(slug, Desired.STOPPED),
        RemoveAddonContainer(slug, addon.config.timeout),
        *([] if shared else [RemoveImage(addon.image)]),
        RemoveData(slug, remove_config),
        UnregisterAddon(slug),
    ]


@job("addon_manager_update", reference="slug", locks=_with_repository, conditions=UPDATING)
async def update(addons: Addons, store: AddonStore, slug: AddonSlug) -> Steps:
    """Go to the version the store offers; when that does not start, the old one comes back."""
    addon = addons.get(slug)
    offer = store.addons.get(slug)
    if offer is None:
        raise AddonNotInStore(_detached(slug), addon=str(slug))
    if not addons.update_available(addon):
        raise NoUpdateAvailable(f"Add-on {slug} is at {addon.version}, the newest version", addon=str(slug))
    store.refuse_unavailable(offer)
    return await _replace(addons, store, addon, offer)


@job(
    "app_manager_rebuild",
    reference="slug",
    locks=lambda slug, force: _with_repository(slug),
    conditions=("free_space", "internet_host"),
)
async def rebuild(addons: Addons, store: AddonStore, slug: AddonSlug, force: bool) -> Steps:
    """Build a local add-on again from its folder as it is now."""
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
    return await _replace(addons, store, addon, offer)


def _detached(slug: AddonSlug) -> str:
    return (
        f"No repository offers add-on {slug} any more, or its configuration there is broken: `rooftree problems` tells "
        "which"
    )


async def _replace(addons: Addons, store: AddonStore, addon: InstalledAddon, offer: Offer) -> Steps:
    """Put what is offered in the place of what is installed; it runs afterwards if it ran before."""
    slug = addon.slug
    container = await addons.look(slug)
    runs = container is not None and container.status is ContainerStatus.RUNNING
    image = store.image(offer)
    shared = any(other.image == addon.image for other in addons.installed.values() if other.slug != slug)
    return [
        await bring_image(store, offer),
        *([StopContainer(slug)] if runs else []),
        InstallProfile(slug),
        ChangeVersion(slug, image, offer.config.normalised()),
        *([CreateContainer(slug), StartContainer(slug, must_run=True)] if runs else []),
        *([] if shared or image == addon.image else [RemoveImage(addon.image)]),
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
    await asyncio.to_thread(refuse_infeasible, addon)
    await addons.checked_options(addon)
    ready = [SetDesired(addon.slug, Desired.STARTED), CreateContainer(addon.slug), StartContainer(addon.slug)]
    return [*await _missing_image(addons, addon), *first, *ready]


async def _missing_image(addons: Addons, addon: InstalledAddon) -> Sequence[Step]:
    """What brings back an image that somebody took away. One that was built is never asked of a registry: whatever
    has its name there is a stranger's."""
    if await addons.engine.image(addon.image) is not None:
        return []
    if addon.config.image is not None:
        return [PullImage(addon.image)]
    offer = addons.store.addons.get(addon.slug)
    if offer is None or offer.config.version != addon.version:
        raise ImageNotFound(
            f"The image of {addon.slug} is gone, and the store has no version {addon.version} to build it from; update "
            "the add-on, or install it again",
            image=addon.image,
        )
    return [await bring_image(addons.store, offer)]


async def bring_image(store: AddonStore, offer: Offer) -> Step:
    """The step that makes an offer's image be there: a pull, or a build where its config names no image."""
    image = store.image(offer)
    if offer.config.image is not None:
        return PullImage(image)
    arch = pick_arch(offer.config, store.machine.supported_arch)
    root = store.repository_folder(offer.repository)
    return await asyncio.to_thread(_build, store.path(offer), root, offer, image, arch)


def _build(folder: Path, root: Path, offer: Offer, image: str, arch: str) -> BuildImage:
    dockerfile = next((name for name in (f"Dockerfile.{arch}", "Dockerfile") if (folder / name).is_file()), None)
    if dockerfile is None:
        raise DockerfileMissing(
            f"Add-on {offer.slug} names no image and has no Dockerfile to build one from", addon=str(offer.slug)
        )
    present = next((folder / name for name in BUILD_FILES if (folder / name).is_file()), None)
    if present is not None and not present.resolve().is_relative_to(root.resolve()):
        raise Failed(f"The build file of {offer.slug} is a link that leads out of its repository")
    try:
        build = parse_build_file(read_document(present).content) if present else BuildFile()
    except RooftreeError as error:
        raise Failed(f"The build file of {offer.slug} cannot be read: {error.message}") from None
    config = offer.config
    labels = {
        "io.hass.version": config.version,
        "io.hass.arch": arch,
        "io.hass.type": "addon",
        "io.hass.name": config.name.replace("'", ""),
        "io.hass.description": config.description.replace("'", ""),
        **({"io.hass.url": config.url} if config.url else {}),
        **build.labels,
    }
    arguments = {"BUILD_VERSION": config.version, "BUILD_ARCH": arch, **build.args}
    if present is not None:
        arguments["BUILD_FROM"] = build.base_image(arch)
    return BuildImage(image, offer.folder, dockerfile, arguments, labels)
