"""The places where backups are kept: folders of the data folder, of backup mounts, and what other domains have."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Forbidden, Invalid, Kernel, Principal, Secret
from rooftree.interfaces.backups import BackupLocation, BackupReader
from rooftree.interfaces.callers import CORE
from rooftree.interfaces.hooks import backup_locations
from rooftree.interfaces.mounts import MOUNTS, MountNotFound
from rooftree_backups.archive_folder import make_folder
from rooftree_backups.archives import Archives
from rooftree_backups.names import CLOUD, LOCAL

FOLDERS: Final = {LOCAL: "backup", CLOUD: "core/backup"}
"""The data folder's own places, below it."""


class NoBackupMount(Invalid):
    """A mount is for something else than backups. ``extra_fields``: ``mount``."""

    error_key = "mount_usage_not_backup_error"


@frozen(kw_only=True)
class ArchiveFolder:
    """A folder of archives."""

    name: str
    path: Path
    mounted: bool = False


class Places:
    """Where backups may be."""

    def __init__(self, kernel: Kernel, archives: Archives) -> None:
        self._kernel = kernel
        self.archives = archives

    def own(self, name: str) -> ArchiveFolder:
        """One of the data folder's own."""
        return ArchiveFolder(name=name, path=self._kernel.data.path / FOLDERS[name])

    def folders(self) -> list[ArchiveFolder]:
        """The folders that can be looked into now: the data folder's own around those of the backup mounts."""
        mounts = self._kernel.find(MOUNTS)
        on_mounts = [
            ArchiveFolder(name=mount.name, path=mount.path, mounted=True)
            for mount in (mounts.mounts() if mounts is not None else ())
            if mount.usage == "backup" and mount.state == "active"
        ]
        return [self.own(LOCAL), *on_mounts, self.own(CLOUD)]

    def names(self) -> set[str]:
        """The names of all folders, also of those that can't be looked into now."""
        mounts = self._kernel.find(MOUNTS)
        return {*FOLDERS, *(mount.name for mount in (mounts.mounts() if mounts is not None else ()))}

    async def others(self) -> dict[str, BackupLocation]:
        """The places that other domains have, by their names."""
        answers = await self._kernel.call(backup_locations)
        return {location.name: location for locations in answers for location in locations}

    def default(self) -> str:
        """Where backups go unless told otherwise."""
        mounts = self._kernel.find(MOUNTS)
        return (mounts.default_backup_mount() if mounts is not None else None) or LOCAL

    async def require(self, name: str) -> ArchiveFolder | BackupLocation:
        """A place that can be used now.

        :raises MountNotFound: where nothing is called so
        :raises Invalid: for a mount that is not for backups, or (``MountDown``) does not answer
        """
        if name in FOLDERS:
            folder = self.own(name)
            await asyncio.to_thread(make_folder, self._kernel.data.path, FOLDERS[name])
            return folder
        others = await self.others()
        if name in others:
            return others[name]
        mounts = self._kernel.find(MOUNTS)
        if mounts is None:
            raise _no_such(name, {LOCAL, *others})
        try:
            mount = mounts.mount(name)
        except MountNotFound:
            for_backups = {mount.name for mount in mounts.mounts() if mount.usage == "backup"}
            raise _no_such(name, {LOCAL, *others, *for_backups}) from None
        if mount.usage != "backup":
            raise NoBackupMount(
                f"{name} is mounted for {mount.usage}; backups go to mounts for backups only", mount=name
            )
        mount = await mounts.look(name)
        return ArchiveFolder(name=name, path=mount.path, mounted=True)

    async def folder(self, name: str) -> ArchiveFolder | None:
        """The folder of that name that can be used now; ``None`` for another domain's place. Raises as
        :meth:`require`."""
        place = await self.require(name)
        return place if isinstance(place, ArchiveFolder) else None

    async def reader(
        self, location: str, slug: str, filename: str | None, password: Secret | None
    ) -> AbstractAsyncContextManager[BackupReader]:
        """Open a backup where it is kept; raises as :meth:`require`, and at its entrance as the reader does.

        :param filename: of its file, where it is one
        """
        place = await self.require(location)
        if isinstance(place, ArchiveFolder):
            assert filename is not None, "what is in a folder is a file"
            return self.archives.reader(place.path, filename, password)
        return place.reader(slug, password)


def _no_such(name: str, known: set[str]) -> MountNotFound:
    return MountNotFound(f"There is no place {name} for backups; there are: {', '.join(sorted(known))}")


def refuse_strangers(caller: Principal, *locations: str) -> None:
    """What Core is about to send away is Core's alone; raises ``Forbidden``."""
    if CLOUD in locations and caller.kind != CORE.name:
        raise Forbidden(f"{CLOUD} is for Home Assistant Core alone")
