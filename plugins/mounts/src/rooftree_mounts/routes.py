"""The routes of Mounts."""

from __future__ import annotations

from rooftree import Role, Routes, role
from rooftree_mounts.models import MountsInfo

routes = Routes()


@routes.get("/mounts", access=role(Role.MANAGER))
def info() -> MountsInfo:
    """The mounts: none, for there is no way yet to make one. Backups go to the data folder."""
    return MountsInfo()
