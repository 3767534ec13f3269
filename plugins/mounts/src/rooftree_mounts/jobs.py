"""The jobs of this domain: a mount is tried before it is kept, and kept until another one works in its place."""

from __future__ import annotations

import asyncio
from typing import Final

from rooftree import Invalid, JobCall, Lock, Problem, Steps, job
from rooftree_mounts import places
from rooftree_mounts.disks import MountableDisks
from rooftree_mounts.host_mounts import MOVE, RELOAD, REMOVE, HostMounts
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.places import Places
from rooftree_mounts.steps import (
    ClearFolders,
    KeepDraft,
    MountDraft,
    MoveLocalData,
    PrepareFolders,
    Reload,
    Replace,
    Save,
    SetAside,
    TakeDown,
    TryBeside,
)

AVAILABLE: Final = "mount_available"
"""The condition that anything can be mounted here."""


def _lock(name: str) -> list[Lock]:
    return [Lock("mount", name)]


@job("mount_manager_create_mount", reference="name", locks=_lock, conditions=(AVAILABLE,))
async def create_mount(kept: KeptMounts, mounts: HostMounts, disks: MountableDisks, name: str) -> Steps:
    """Mount something, and keep it when it answers."""
    if name in kept.configs:
        raise Invalid(f"name: must be new, and there is a mount {name} already; PUT /mounts/{name} replaces it")
    if await mounts.is_backup_place(name):
        raise Invalid(f"name: must be new, and there is a vault, or another place for backups, called {name} already")
    usage = (await disks.resolved(kept.wanted(name))).usage
    await asyncio.to_thread(places.refuse_occupied, mounts.data, Places.of(name, usage))
    return [KeepDraft(name), PrepareFolders(name, usage), MountDraft(name, usage), Save(name)]


@job("mount_manager_update_mount", reference="name", locks=_lock, conditions=(AVAILABLE,))
async def update_mount(kept: KeptMounts, mounts: HostMounts, disks: MountableDisks, name: str) -> Steps:
    """Mount something in place of what a mount was, when it answers."""
    known = kept.config(name)
    wanted = await disks.resolved(kept.wanted(name))
    where = Places.of(name, wanted.usage)
    await asyncio.to_thread(places.refuse_occupied, mounts.data, where)
    same_disk = known.type == wanted.type == "disk" and known.uuid == wanted.uuid  # the kernel mounts it but one way
    return [
        KeepDraft(name),
        PrepareFolders(name, wanted.usage),
        *([] if same_disk else [TryBeside(name)]),
        Replace(name, known.usage, wanted.usage),
        Save(name),
        *([ClearFolders(name, known.usage)] if known.usage != wanted.usage else []),
    ]


@job("mount_manager_remove_mount", reference="name", locks=_lock, recovery="forward")
async def remove_mount(kept: KeptMounts, name: str) -> Steps:
    """Unmount something, and forget it."""
    usage = kept.config(name).usage
    return [SetAside(name), TakeDown(name, usage), ClearFolders(name, usage)]


@job("mount_manager_reload_mount", reference="name", locks=_lock, recovery="forward", conditions=(AVAILABLE,))
async def reload_mount(kept: KeptMounts, name: str) -> Steps:
    """Have a mount answer, or mount it anew."""
    kept.config(name)
    return [Reload(name)]


@job("mount_manager_relocate_local_data", reference="name", locks=_lock, recovery="forward", conditions=(AVAILABLE,))
async def move_local_data(kept: KeptMounts, name: str) -> Steps:
    """Move what lies in the way of a mount, and mount it."""
    return [MoveLocalData(name, kept.config(name).usage), Reload(name)]


def remedy_of(problem: Problem, suggestion: str) -> JobCall[None] | None:
    """The job that does what is suggested against a mount that does not work."""
    if problem.context != "mount" or problem.reference is None:
        return None
    kinds = {RELOAD: reload_mount, REMOVE: remove_mount, MOVE: move_local_data}
    kind = kinds.get(suggestion)
    return None if kind is None else kind(name=problem.reference)
