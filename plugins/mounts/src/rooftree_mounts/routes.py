"""The routes of Mounts."""

from __future__ import annotations

from rooftree import Invalid, JobCall, Role, Routes, Unset, role
from rooftree.interfaces.mounts import MountNotFound
from rooftree_mounts.configuration import MountConfig
from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.jobs import create_mount, reload_mount, remove_mount, update_mount
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.models import MountName, MountRequest, MountsInfo, MountsOptions, MountsOverview
from rooftree_mounts.overview import Overview

routes = Routes()
MANAGER = role(Role.MANAGER)


@routes.get("/mounts", access=MANAGER)
async def info(mounts: HostMounts) -> MountsInfo:
    """The mounts, and where backups go; vaults among them, as disks for backups."""
    return await mounts.listing()


@routes.get("/kernel/v1/mounts", access=MANAGER)
async def overview(overview: Overview) -> MountsOverview:
    """The mounts with the room on each, who uses it, and what is wrong with it; ours. Waits for no server."""
    return await overview.whole()


@routes.post("/mounts/options", access=MANAGER, refuses=(MountNotFound,))
async def set_options(kept: KeptMounts, body: MountsOptions) -> None:
    """Choose where backups go."""
    if not isinstance(body.default_backup_mount, Unset):
        await kept.choose_default(body.default_backup_mount)


@routes.post("/mounts", access=MANAGER)
def create(kept: KeptMounts, body: MountRequest) -> JobCall[None]:
    """Mount something, and keep it when it answers."""
    if isinstance(body.name, Unset):
        raise Invalid("name: is missing")
    return create_mount(name=body.name).during(kept.offered(body.name, MountConfig.of(body)))


@routes.route("PUT", "/mounts/{name}", access=MANAGER)
def update(kept: KeptMounts, name: MountName, body: MountRequest) -> JobCall[None]:
    """Replace a mount's whole configuration; the one before stays until the new one answers."""
    kept.config(name)
    if not isinstance(body.name, Unset) and body.name != name:
        raise Invalid(f"name: can't be changed; it must be {name}, or absent")
    return update_mount(name=name).during(kept.offered(name, MountConfig.of(body)))


@routes.delete("/mounts/{name}", access=MANAGER)
def remove(name: MountName) -> JobCall[None]:
    """Unmount something, and forget it."""
    return remove_mount(name=name)


@routes.post("/mounts/{name}/reload", access=MANAGER)
def reload(name: MountName) -> JobCall[None]:
    """Have a mount answer, or mount it anew."""
    return reload_mount(name=name)
