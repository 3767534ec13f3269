"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

from rooftree import JobCall, Kernel, Plugin, Routes, Secret, Task
from rooftree.interfaces.backups import BACKUPS, BackupRequest
from rooftree.interfaces.mounts import MOUNTS, MountsChanged
from rooftree_backups import archive_folder
from rooftree_backups.archives import Archives, LibraryArchives
from rooftree_backups.catalogue import Catalogue
from rooftree_backups.folder_parts import FolderParts
from rooftree_backups.creation import creation, order_of
from rooftree_backups.index import Index, IndexedFile
from rooftree_backups.kept_backups import KEPT_BACKUPS, BackupOptions, KeptBackups
from rooftree_backups.parts import Parts
from rooftree_backups.places import FOLDERS, Places
from rooftree_backups.routes import routes
from rooftree_backups.settings_parts import SettingsParts
from rooftree_backups.workshop import Workshop

log = structlog.get_logger(__name__)

RELOAD_EVERY: Final = timedelta(hours=20)


@frozen
class OtherDomains:
    """Backups, for other domains."""

    _backups: KeptBackups

    def create(self, request: BackupRequest, password: Secret | None = None) -> JobCall[None]:
        """The job that makes one."""
        return creation(self._backups, order_of(self._backups, request, password), password)


class BackupsPlugin(Plugin):
    """Backups of the whole house: made, kept in several places, copied, thinned out, put back."""

    name = "backups"
    provides = (KEPT_BACKUPS, BACKUPS)
    optional = (MOUNTS,)
    archives: Callable[[Path], Archives] = LibraryArchives
    """What reads and writes archives, given the data folder."""

    async def setup(self, kernel: Kernel) -> None:
        """Know what was there when it was last looked at; what there is now is a task's to find out."""
        self.kernel = kernel
        archives = type(self).archives(kernel.data.path)
        places = Places(kernel, archives)
        index = Index(kernel, await kernel.collection(IndexedFile), archives)
        workshop = Workshop(kernel)
        kernel.defer(workshop.close)
        self.backups = KeptBackups(
            kernel=kernel,
            places=places,
            index=index,
            catalogue=Catalogue(places, index),
            parts=Parts(kernel, FolderParts(kernel), SettingsParts(kernel)),
            workshop=workshop,
            options=await kernel.collection(BackupOptions),
        )
        for below in FOLDERS.values():
            await asyncio.to_thread(archive_folder.make_folder, kernel.data.path, below)
        await self._sweep()
        kernel.on(MountsChanged, self.mounts_changed)
        kernel.provide(KEPT_BACKUPS, self.backups)
        kernel.provide(BACKUPS, OtherDomains(self.backups))

    async def _sweep(self) -> None:
        """Delete what a process that is gone has left unfinished."""
        for name in FOLDERS:
            path = self.backups.places.own(name).path
            if count := await asyncio.to_thread(archive_folder.sweep, path):
                log.info("unfinished_backups_deleted", location=name, count=count)
            await self.backups.places.archives.sweep(path)

    def routes(self) -> Routes:
        """``/backups/…``."""
        return routes

    def tasks(self) -> Iterable[Task]:
        """Find out what there is, at the start and from time to time."""
        yield Task("look at all places", self.backups.catalogue.reload)
        yield Task("look again", self.backups.catalogue.reload, every=RELOAD_EVERY)

    async def mounts_changed(self, event: MountsChanged) -> None:
        """What is on a mount that has come is listed."""
        for folder in self.backups.places.folders():
            if folder.name in event.names:
                await self.backups.catalogue.reload_location(folder.name)
