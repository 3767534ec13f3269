"""What is done before an add-on's container is made: its folders, its options on the disk, its hardware and profile;
and all that the engine is told then."""

from __future__ import annotations

import asyncio

import orjson

from rooftree.interfaces.containers import ContainerSpec
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_addons.addons import Addons
from rooftree_addons.container import (
    MAPPED_FOLDERS,
    config_folder,
    container_spec,
    data_folder,
    wants_config_folder,
    writes_all_configs,
)
from rooftree_addons.feasibility import refuse_infeasible
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.own_folders import (
    config_folders,
    drop_kept_options,
    has_folder,
    keep_options,
    make_shared_folders,
    put_back_options,
    refuse_what_is_no_folder,
    write_options,
)
from rooftree_addons.own_folders import make_folders as make_folders_there
from rooftree_addons.sandbox import sandbox
from rooftree_containers.cid_file import cid_file, write_cid
from rooftree_containers.timezone import host_timezone
from rooftree_store import AddonSlug


async def refuse_impossible(addons: Addons, addon: InstalledAddon) -> None:
    """Raise where no engine can run an add-on, or something is in the way of its folders: before anything is fetched
    or stopped for it.

    That is a :class:`~rooftree_addons.own_folders.FolderRefused` for a link or a file in the place of a folder.
    """
    data = addons.kernel.data.path
    await asyncio.to_thread(refuse_infeasible, addon, data)
    folders = (data_folder(addon.slug), config_folder(addon.slug))
    await asyncio.to_thread(refuse_what_is_no_folder, data, folders)


async def make_folders(addons: Addons, slug: AddonSlug, *, config_folder_too: bool) -> None:
    data = addons.kernel.data.path
    folders = (data_folder(slug), *((config_folder(slug),) if config_folder_too else ()))
    for folder in folders:
        await addons.removals.reclaim(folder)
    is_new = config_folder_too and not await asyncio.to_thread(has_folder, data, config_folder(slug))
    await asyncio.to_thread(make_folders_there, data, folders)
    if is_new:
        _tell_who_may_not_write(addons, slug)


def _tell_who_may_not_write(addons: Addons, slug: AddonSlug) -> None:
    """Those that may write all configurations have each folder mounted that was there when they were started."""
    for other in addons.installed.values():
        if other.slug != slug and writes_all_configs(other.config):
            addons.restart_due(other.slug, f"It may write all configurations, and that of add-on {slug} is new.")


async def prepare(addons: Addons, addon: InstalledAddon) -> None:
    """Put everything in its place for an add-on whose container is made now."""
    data = addons.kernel.data.path
    checked = await addons.checked_options(addon)
    await make_folders(addons, addon.slug, config_folder_too=wants_config_folder(addon.config))
    await asyncio.to_thread(make_shared_folders, data)
    options = orjson.dumps(checked.options, option=orjson.OPT_INDENT_2)
    await asyncio.to_thread(write_options, data, addon.slug, options)
    await asyncio.to_thread(write_cid, data, addon.container, "")
    addons.tell_refused(addon.slug, await addons.hardware(addon, checked))
    if addon.config.apparmor:
        await addons.profiles.ensure_loaded(addon.slug)


async def specification(addons: Addons, addon: InstalledAddon, token: str) -> ContainerSpec:
    """All that the engine is told of an add-on."""
    kernel = addons.kernel
    data = kernel.data.path
    await asyncio.to_thread(refuse_infeasible, addon, data)
    checked = await addons.checked_options(addon)
    preferences = kernel.find(INSTALLATION_PREFERENCES)
    return await asyncio.to_thread(
        container_spec,
        addon,
        await addons.engine.network(),
        token,
        timezone=await asyncio.to_thread(host_timezone),
        hardware=await addons.hardware(addon, checked),
        sandbox=sandbox(addon, addons.upkeep.sandboxes),
        own_profile=addon.config.apparmor and await asyncio.to_thread(addons.profiles.is_custom, addon.slug),
        drop_net_raw=preferences is None or preferences.drop_net_raw,
        config_folders=await asyncio.to_thread(config_folders, data) if writes_all_configs(addon.config) else (),
    )


def made_by_us(addon: InstalledAddon) -> frozenset[str]:
    """What :func:`prepare` makes of what an add-on is shown, relative to the data folder."""
    return frozenset({data_folder(addon.slug), config_folder(addon.slug), cid_file(addon.container), *MAPPED_FOLDERS})


async def note_container_id(addons: Addons, addon: InstalledAddon, container_id: str) -> None:
    """Let the container know its own id."""
    await asyncio.to_thread(write_cid, addons.kernel.data.path, addon.container, container_id)


async def set_aside(addons: Addons, addon: InstalledAddon) -> None:
    """Keep what a container was given that makes room for another."""
    await asyncio.to_thread(keep_options, addons.kernel.data.path, addon.slug, addon.container)


async def put_back(addons: Addons, addon: InstalledAddon, container_id: str) -> None:
    """Give a container what was kept of it; it has its place again."""
    data = addons.kernel.data.path
    await asyncio.to_thread(put_back_options, data, addon.slug, addon.container)
    await asyncio.to_thread(write_cid, data, addon.container, container_id)


async def drop_aside(addons: Addons, addon: InstalledAddon) -> None:
    """What was kept is of no use any more."""
    await asyncio.to_thread(drop_kept_options, addons.kernel.data.path, addon.container)
