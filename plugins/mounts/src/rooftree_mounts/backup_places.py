"""The places in which other domains keep backups, such as vaults, as clients see them.

Home Assistant offers for its backups what is listed among the mounts, and nothing else; and of a disk it shows what
kind of file system is on it, which is where people read what such a place is.
"""

from __future__ import annotations

from rooftree import Kernel
from rooftree.interfaces.backups import BackupLocation
from rooftree.interfaces.hooks import backup_locations
from rooftree.interfaces.mounts import MountUsage
from rooftree_mounts.models import ListedMount

KIND = "vault"
"""What is shown in the place of a file system."""


class BackupPlaces:
    """The places of other domains, asked anew each time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def listed(self) -> list[ListedMount]:
        """All of them, by name."""
        return [
            ListedMount(
                name=name, type="disk", usage="backup", read_only=False, state="active", user_path=None,
                uuid="", filesystem=KIND,
            )
            for name in sorted(await self._places())
        ]  # fmt: skip

    async def names(self) -> frozenset[str]:
        """What they are called."""
        return frozenset(await self._places())

    async def usage(self, name: str) -> MountUsage | None:
        """What the backups there take; ``None`` where no such place is called so."""
        place = (await self._places()).get(name)
        if place is None:
            return None
        return MountUsage(id="root", label=name, used_bytes=sum(size for _, size in place.backups()))

    async def _places(self) -> dict[str, BackupLocation]:
        answers = await self._kernel.call(backup_locations)
        return {place.name: place for places in answers for place in places}
