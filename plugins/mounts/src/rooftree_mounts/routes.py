"""The routes of Mounts."""

from __future__ import annotations

from rooftree import Role, Routes, Unset, role
from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.models import MountsInfo, MountsOptions

routes = Routes()
MANAGER = role(Role.MANAGER)


@routes.get("/mounts", access=MANAGER)
def info(mounts: HostMounts) -> MountsInfo:
    """The mounts, and where backups go."""
    return mounts.listing()


@routes.post("/mounts/options", access=MANAGER)
async def set_options(kept: KeptMounts, body: MountsOptions) -> None:
    """Choose where backups go."""
    if not isinstance(body.default_backup_mount, Unset):
        await kept.choose_default(body.default_backup_mount)
