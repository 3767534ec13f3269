"""The job that puts Core back from its part of a backup: its configuration, its version, and what was set of it. What
was there before is kept until all of it works, and comes back otherwise."""

from __future__ import annotations

from typing import Final

from rooftree import Conflict, Invalid, Steps
from rooftree.interfaces.backups import StagedPart
from rooftree_containers import Desired, ImageVersion
from rooftree_containers.container_steps import SetDesired, StopContainer
from rooftree_containers.folder_swap import FolderSwap, SwapFolder
from rooftree_containers.observation import runs
from rooftree_homeassistant import core_record
from rooftree_homeassistant.core_container import CONFIG, PLUGIN
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.core_jobs import core_job, refuse_unwanted
from rooftree_homeassistant.core_restore_steps import (
    CreateRestoredCore,
    PutRestoredCore,
    RestoreOptions,
    StartRestoredCore,
)
from rooftree_homeassistant.core_steps import ChangeCoreVersion, PullCoreImage
from rooftree_homeassistant.home_assistant import NAME, HomeAssistant
from rooftree_homeassistant.install import RESTORE, HandOverPort, learn_image, open_install

STAYS: Final = ("home-assistant_v?.db", "home-assistant_v?.db-wal", "home-assistant_v?.db-shm")
"""Of the configuration, what stays where a backup was made without Core's database."""
TREES: Final = ("data", "root")
"""What its configuration is called in a part; the second by very old backups, which have nothing else in it."""


class CoreVersionUnknown(Invalid):
    """A backup that is very old does not say which version Core had, and none is here."""


class CoreBeingInstalled(Conflict):
    """Core can't be restored while it is installed for the first time. ``extra_fields``: ``job_id``."""


@core_job(RESTORE, reference="slug")
async def restore(core: HomeAssistant, health: CoreHealth, slug: str, part: StagedPart) -> Steps:
    """Put Core back, installed or not. It runs afterwards in any case; one that ran before has to come up and to
    work."""
    del slug
    _, noted_version = core_record.read(part.documents)
    installed = core.installed
    if installed is None:
        await _refuse_uninstallable(core, noted_version or part.version)
    await health.refuse_migration()
    version = noted_version or part.version or (installed.version if installed is not None else "")
    is_same = installed is not None and installed.version == version
    wanted = ImageVersion(version, installed.image if installed is not None and is_same else core.image_of(version))
    is_running, folder = runs(await core.containers.observation.look(NAME)), part.folder.path
    stays = STAYS if part.exclude_database else ()
    swaps = [
        FolderSwap(CONFIG.path, f"{folder}/trees/{tree}", f"{folder}/replaced/{tree}")
        for tree in TREES
        if tree in part.trees
    ]
    return [
        PullCoreImage(wanted.image, version),
        *([PutRestoredCore(version, wanted.image)] if installed is None else []),
        *([StopContainer(NAME, PLUGIN)] if is_running else []),
        *(SwapFolder(NAME, PLUGIN, swap, stays) for swap in swaps),
        RestoreOptions(NAME, folder, version),
        *([ChangeCoreVersion(NAME, PLUGIN, wanted)] if installed is not None and not is_same else []),
        SetDesired(NAME, PLUGIN, Desired.STARTED),
        CreateRestoredCore(NAME, PLUGIN, new_version=not is_same),
        *([HandOverPort()] if installed is None else []),
        StartRestoredCore(NAME, PLUGIN, must_run=is_running and installed is not None),
    ]


async def _refuse_uninstallable(core: HomeAssistant, version: str | None) -> None:
    """Raise where Core can't be installed as it comes back; otherwise it is known what its image is called."""
    refuse_unwanted(core)
    if (job_id := open_install(core.kernel)) is not None:
        raise CoreBeingInstalled(
            "Home Assistant Core is just being installed: wait until it is there, or end that "
            f"(POST /kernel/v1/jobs/{job_id}/cancel), and restore it then",
            job_id=job_id,
        )
    if version is None:
        raise CoreVersionUnknown(
            "The backup does not say which version of Home Assistant Core it is of, and none is installed here: "
            "install one, and restore it then"
        )
    await learn_image(core)
