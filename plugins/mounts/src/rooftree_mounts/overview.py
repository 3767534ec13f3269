"""The mounts as a person wants to see them: with the room on each, what is wrong with it, and who would miss it."""

from __future__ import annotations

import attrs

from rooftree import Kernel, Problem, Service
from rooftree_mounts.host_mounts import FAILED, HostMounts
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.models import MountsOverview, WatchedMount
from rooftree_mounts.removal import MountRemoval


class Overview:
    """Puts together what is known; asks no server."""

    def __init__(self, kernel: Kernel, kept: KeptMounts, mounts: HostMounts, removal: MountRemoval) -> None:
        self._kernel = kernel
        self._kept = kept
        self._mounts = mounts
        self._removal = removal

    async def whole(self) -> MountsOverview:
        """All mounts by name, and where backups go."""
        names = sorted(self._kept.configs)
        return MountsOverview(
            mounts=[mount for name in names if (mount := await self._watched(name)) is not None],
            default_backup_mount=self._kept.default,
        )

    async def _watched(self, name: str) -> WatchedMount | None:
        if name not in self._kept.configs:  # it was removed while others were asked
            return None
        used_by = await self._removal.users(name)
        config = self._kept.configs.get(name)
        if config is None:
            return None
        room = self._mounts.room(name)
        key = Problem(FAILED, "mount", name).key
        wrong = (problem.message for problem in self._kernel.problems if problem.key == key)
        return WatchedMount(
            **attrs.asdict(self._mounts.listed(name, config), recurse=False),
            has_login=config.username is not None,
            total_bytes=None if room is None else room.total_bytes,
            used_bytes=None if room is None else room.used_bytes,
            used_by=used_by,
            why_failed=next(wrong, None),
        )


OVERVIEW = Service[Overview]("mounts.overview/1")
