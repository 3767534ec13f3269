"""The job that puts Core back from its part of a backup: its configuration, its version, and what was set of it. What
was there before is kept until all of it works, and comes back otherwise."""

from __future__ import annotations

from typing import Final

from rooftree import Steps
from rooftree.interfaces.backups import StagedPart
from rooftree_containers import Desired, ImageVersion
from rooftree_containers.container_steps import SetDesired, StopContainer
from rooftree_containers.folder_swap import FolderSwap, SwapFolder
from rooftree_containers.observation import runs
from rooftree_homeassistant import core_record
from rooftree_homeassistant.core_container import CONFIG, PLUGIN
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.core_jobs import core_job, refuse_not_installed
from rooftree_homeassistant.core_restore_steps import CreateRestoredCore, RestoreOptions, StartRestoredCore
from rooftree_homeassistant.core_steps import ChangeCoreVersion, PullCoreImage
from rooftree_homeassistant.home_assistant import NAME, HomeAssistant

STAYS: Final = ("home-assistant_v?.db", "home-assistant_v?.db-wal", "home-assistant_v?.db-shm")
"""Of the configuration, what stays where a backup was made without Core's database."""
TREES: Final = ("data", "root")
"""What its configuration is called in a part; the second by very old backups, which have nothing else in it."""


@core_job("backup_restore_homeassistant", reference="slug")
async def restore(core: HomeAssistant, health: CoreHealth, slug: str, part: StagedPart) -> Steps:
    """Put Core back. It runs afterwards in any case; one that ran before has to come up and to work."""
    del slug
    installed = refuse_not_installed(core)
    _, noted_version = core_record.read(part.documents)
    version = noted_version or part.version or installed.version
    await health.refuse_migration()
    wanted = ImageVersion(version, core.image_of(version) if version != installed.version else installed.image)
    is_running, folder = runs(await core.containers.observation.look(NAME)), part.folder.path
    stays = STAYS if part.exclude_database else ()
    swaps = [
        FolderSwap(CONFIG.path, f"{folder}/trees/{tree}", f"{folder}/replaced/{tree}")
        for tree in TREES
        if tree in part.trees
    ]
    return [
        PullCoreImage(wanted.image, version),
        *([StopContainer(NAME, PLUGIN)] if is_running else []),
        *(SwapFolder(NAME, PLUGIN, swap, stays) for swap in swaps),
        RestoreOptions(NAME, folder),
        *([ChangeCoreVersion(NAME, PLUGIN, wanted)] if version != installed.version else []),
        SetDesired(NAME, PLUGIN, Desired.STARTED),
        CreateRestoredCore(NAME, PLUGIN, new_version=version != installed.version),
        StartRestoredCore(NAME, PLUGIN, must_run=is_running),
    ]
