"""The job that puts an add-on back from its part of a backup: its version and image, what its user decided, its
AppArmor profile and its folders. What was there before is kept until all of it works, and comes back otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from rooftree import Step, Steps, job
from rooftree.interfaces.backups import StagedPart
from rooftree_addons import growth
from rooftree_addons.addons import Addons
from rooftree_addons.backup_record import offer_of, profile_of, read
from rooftree_addons.container import config_folder, data_folder
from rooftree_addons.images import bring_image
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.ports import page_ports_of_others
from rooftree_addons.preparation import refuse_impossible
from rooftree_addons.restore_steps import (
    BuildMissingImage,
    CheckRestored,
    ImportImage,
    RestoreRecord,
    RunRestored,
    StartRestored,
    SwapAddonFolder,
)
from rooftree_addons.steps import CreateContainer, InstallProfile, StopContainer
from rooftree_addons.verbs import with_repository
from rooftree_containers import Desired
from rooftree_containers.folder_swap import FolderSwap
from rooftree_containers.observation import runs
from rooftree_containers.steps import BuildImage, PullImage
from rooftree_store import AddonSlug, AddonStore

IMAGE_FILE = "image.tar"


@job("backup_app_restore", reference="slug", locks=lambda slug, part: with_repository(slug))
async def restore(addons: Addons, store: AddonStore, slug: AddonSlug, part: StagedPart) -> Steps:
    """Put an add-on back, installed or not. One that runs now is stopped as late as can be, and has to run again; one
    that does not, and ran when it was backed up, is started, and left as it is where that fails."""
    addon = read(slug, part.documents, store, page_ports_of_others(addons.installed, slug))
    store.refuse_unavailable(offer_of(slug, evolve(addon.config, homeassistant=None)))  # Core may be restored, too
    await refuse_impossible(addons, addon)
    profile = profile_of(part.documents)
    await addons.profiles.refuse_wrong(slug, profile)
    is_running = slug in addons.installed and runs(await addons.containers.observation.look(slug))
    before = addons.installed.get(slug)
    declared = growth.sentences(addon, before.config if before is not None else None)
    is_to_run, folder = addon.desired is Desired.STARTED, part.folder.path
    return [
        *await _bringing_image(addons, store, addon, part),
        *([CheckRestored(slug, folder)] if is_running and is_to_run else []),
        *([StopContainer(slug)] if is_running else []),
        *_swaps(slug, part),
        InstallProfile(slug, profile),
        RestoreRecord(slug, folder, tuple(declared), addon.version),
        *([CreateContainer(slug, True), StartRestored(slug)] if is_running and is_to_run else []),
        *([RunRestored(slug)] if is_to_run and not is_running else []),
    ]


def _swaps(slug: AddonSlug, part: StagedPart) -> list[Step]:
    live = {"data": data_folder(slug), "config": config_folder(slug)}
    folder = part.folder.path
    return [
        SwapAddonFolder(slug, FolderSwap(live[name], f"{folder}/trees/{name}", f"{folder}/replaced/{name}"))
        for name in part.trees
        if name in live
    ]


async def _bringing_image(addons: Addons, store: AddonStore, addon: InstalledAddon, part: StagedPart) -> Sequence[Step]:
    """The step that brings its image, unless it is there: the one in the backup, else from where every image comes.
    What was built here is never asked of a registry: whatever has its name there is a stranger's."""
    if await addons.engine.image(addon.image) is not None:
        return []
    if addon.config.image is not None:
        return [PullImage(addon.image)]
    offer = store.addons.get(addon.slug)
    can_be_built = offer is not None and offer.config.version == addon.version
    imported = ImportImage(addon.slug, addon.image, f"{part.folder.path}/{IMAGE_FILE}", must_be_there=not can_be_built)
    if offer is None or not can_be_built:
        return [imported]
    build = await bring_image(store, offer)
    return [imported, BuildMissingImage.like(build)] if isinstance(build, BuildImage) else [imported, build]
