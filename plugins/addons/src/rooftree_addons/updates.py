"""Updates that can't hurt: what is replaced is kept until what replaces it has proved itself, and put back if it fails.

While the job runs, a failure takes its steps back, as with every job. Afterwards the add-on is on probation: the
:mod:`~rooftree_addons.probation_watch` ends that with one of the two last jobs here.
"""

from __future__ import annotations

import asyncio

from rooftree import Forbidden, Steps, job
from rooftree.interfaces.containers import ContainerStatus
from rooftree_addons import snapshot
from rooftree_addons.addons import Addons
from rooftree_addons.feasibility import refuse_infeasible
from rooftree_addons.growth import is_as_installed
from rooftree_addons.images import bring_image, is_needed_by_others
from rooftree_addons.installed import (
    AddonNotInStore,
    Desired,
    InstalledAddon,
    NoUpdateAvailable,
    RebuildImageBased,
    RebuildVersionChanged,
)
from rooftree_addons.probation import Keepsake, NothingToRollBack, Probation
from rooftree_addons.steps import (
    ChangeVersion,
    CreateContainer,
    InstallProfile,
    RemoveAddonContainer,
    StartContainer,
    StopContainer,
)
from rooftree_addons.update_steps import (
    BeginProbation,
    DropKeptData,
    EndProbation,
    KeepData,
    KeepFailedLog,
    PutBackData,
    PutBackVersion,
    letting_go,
)
from rooftree_addons.verbs import INSTALLING, addon_lock, with_repository
from rooftree_containers.steps import BringBackImage, KeepImage, RemoveImage, UseNewImage
from rooftree_store import APPARMOR, AddonSlug, AddonStore, Offer, read_text

UPDATING = tuple(condition for condition in INSTALLING if condition != "healthy")
"""An unhealthy system can't be kept from an update, which may be what cures it."""


@job("addon_manager_update", reference="slug", locks=with_repository, conditions=UPDATING)
async def update(addons: Addons, store: AddonStore, slug: AddonSlug) -> Steps:
    """Go to the version the store has, whichever it is; when that does not start, the one before comes back.

    That it is older keeps nobody from going there by hand: a release that is withdrawn may be what harms.
    """
    addon = addons.get(slug)
    offer = store.addons.get(slug)
    if offer is None:
        raise AddonNotInStore(_detached(slug), addon=str(slug))
    if offer.config.version == addon.version:
        raise NoUpdateAvailable(f"Add-on {slug} is at {addon.version}, and the store has no other", addon=str(slug))
    store.refuse_unavailable(offer)
    return await _replace(addons, store, addon, offer)


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
    slug = addon.slug
    container = await addons.look(slug)
    runs = container is not None and container.status is ContainerStatus.RUNNING
    await asyncio.to_thread(refuse_infeasible, addons.on_offer(slug), addons.kernel.data.path)
    await addons.refuse_what_is_no_folder(slug)
    kept = Keepsake.for_update(slug)
    live = [folder.live for folder in kept.folders]
    await asyncio.to_thread(snapshot.refuse_without_room, addons.kernel.data.path, live)
    profile = await asyncio.to_thread(addons.profiles.kept, slug)
    image, earlier = store.image(offer), addons.probations.get(slug)
    return [
        KeepImage(addon.image, kept.image),
        await bring_image(store, offer),
        *([StopContainer(slug)] if runs else []),
        *([UseNewImage(image, kept.image)] if image == addon.image else []),
        KeepData(slug, kept),
        InstallProfile(slug, await read_text(store, offer, APPARMOR)),
        ChangeVersion(slug, image, offer.config.normalised()),
        *([CreateContainer(slug, new_version=True)] if runs else []),
        BeginProbation(slug, offer.config.version, addon.what_it_is, kept, profile),
        *([StartContainer(slug, must_run=True)] if runs else []),
        *(letting_go(addons, slug, earlier) if earlier else []),
    ]


@job(
    "addon_manager_roll_back",
    reference="slug",
    locks=lambda slug, update, reason: [addon_lock(slug)],
    recovery="forward",
    makes_room=True,
)
async def roll_back(addons: Addons, slug: AddonSlug, update: str, reason: str) -> Steps:
    """Put the version before an update back, with the data it had."""
    addon = addons.get(slug)
    probation = probation_of(addons, slug, update)
    old, new, kept = probation.was.image, addon.image, probation.kept
    new_goes = new != old and not is_needed_by_others(addons, slug, new)
    return [
        KeepFailedLog(slug, kept),
        RemoveAddonContainer(slug, addon.config.timeout),
        BringBackImage(old, kept.image),
        PutBackData(slug, kept),
        InstallProfile(slug, probation.profile),
        PutBackVersion(slug, reason),
        RemoveImage(kept.image),
        *([RemoveImage(new)] if new_goes else []),
        DropKeptData(kept.folder),
        *([CreateContainer(slug), StartContainer(slug)] if addon.desired is Desired.STARTED else []),
    ]


@job("addon_manager_keep_update", reference="slug", locks=lambda slug, update: [addon_lock(slug)], recovery="forward",
     makes_room=True)  # fmt: skip
async def keep_update(addons: Addons, slug: AddonSlug, update: str) -> Steps:
    """Give up what an update replaced."""
    probation = probation_of(addons, slug, update)
    return [EndProbation(slug, probation.kept.folder), *letting_go(addons, slug, probation)]


def probation_of(addons: Addons, slug: AddonSlug, update: str | None = None) -> Probation:
    """What an add-on's version has to prove; raises :class:`NothingToRollBack`.

    :param update: the update that is meant, by the folder of its copies. Who decides about it may have to wait behind
        the next one, and that is another's affair
    """
    addons.get(slug)
    probation = addons.probations.get(slug)
    if probation is None or update not in {None, probation.kept.folder}:
        raise NothingToRollBack(
            f"Add-on {slug} has nothing to go back to: it was not updated, its version has proved itself, or it was "
            "updated again meanwhile",
            addon=str(slug),
        )
    return probation
