"""The table of contents of this domain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Final

from attrs import frozen

from rooftree import JobCall, Kernel, NotFound, Plugin, Problem, Routes, Secret, Task, hookimpl
from rooftree.interfaces.backups import BACKUPS, BackupReader, BackupRequest
from rooftree.interfaces.hooks import HealthCheck
from rooftree.interfaces.mounts import MOUNTS, MountsChanged
from rooftree.plugins import InstallationFolder
from rooftree_backups import archive_folder
from rooftree_backups.archives import Archives, LibraryArchives
from rooftree_backups.catalogue import Catalogue
from rooftree_backups.creation import creation, order_of
from rooftree_backups.folder_parts import FolderParts
from rooftree_backups.freezing import FREEZE, Freeze, FrozenParts
from rooftree_backups.index import Index, IndexedFile
from rooftree_backups.kept_backups import KEPT_BACKUPS, BackupOptions, KeptBackups
from rooftree_backups.own_routes import own_routes
from rooftree_backups.parts import Parts
from rooftree_backups.passing import empty_passing_folder
from rooftree_backups.places import FOLDERS, Places
from rooftree_backups.pruning import remove_old_cloud_backups
from rooftree_backups.rates import MeasuredRates, Rates
from rooftree_backups.repositories_due import DueRepositories, RepositoriesDue
from rooftree_backups.restore_routes import restore_routes
from rooftree_backups.restore_steps import NOT_PUT_BACK
from rooftree_backups.restoring import STAGING, sweep_restores
from rooftree_backups.routes import routes
from rooftree_backups.schedules import SCHEDULES, Schedule, Schedules
from rooftree_backups.settings_parts import SettingsParts
from rooftree_backups.staleness import CHECK, SUGGESTION, check_age
from rooftree_backups.unfinished import Unfinished
from rooftree_backups.verifications import KeptVerification, Verifications
from rooftree_backups.workshop import Workshop

RELOAD_EVERY: Final = timedelta(hours=20)
SWEEP_CLOUD_EVERY: Final = timedelta(seconds=86_200)


@frozen
class OtherDomains:
    """Backups, for other domains."""

    _backups: KeptBackups

    def create(self, request: BackupRequest, password: Secret | None = None) -> JobCall[None]:
        """The job that makes one."""
        return creation(self._backups, order_of(self._backups, request, password), password)

    async def reader(
        self, slug: str, location: str | None, password: Secret | None
    ) -> AbstractAsyncContextManager[BackupReader]:
        """Open one where it is kept."""
        backup = await self._backups.catalogue.get(slug)
        copy = backup.primary if location is None else backup.at(location)
        if copy is None:
            raise NotFound(f"The backup {slug} is not in {location}")
        return await self._backups.places.reader(copy.location, slug, copy.filename, password)


class BackupsPlugin(Plugin):
    """Backups of the whole house: made, kept in several places, copied, thinned out, put back."""

    name = "backups"
    provides = (KEPT_BACKUPS, FREEZE, SCHEDULES, BACKUPS)
    optional = (MOUNTS,)
    archives: Callable[[InstallationFolder], Archives] = LibraryArchives
    """What reads and writes archives, given the data folder."""

    async def setup(self, kernel: Kernel) -> None:
        """Know what was there when it was last looked at; what there is now is a task's to find out."""
        self.kernel = kernel
        archives = type(self).archives(kernel.data)
        places = Places(kernel, archives)
        index = Index(kernel, await kernel.collection(IndexedFile), archives)
        workshop = Workshop(kernel)
        kernel.defer(workshop.close)
        parts = Parts(kernel, FolderParts(kernel), SettingsParts(kernel))
        self.backups = KeptBackups(
            kernel=kernel,
            places=places,
            index=index,
            catalogue=Catalogue(places, index),
            parts=parts,
            workshop=workshop,
            repositories=RepositoriesDue(kernel, parts, await kernel.collection(DueRepositories)),
            verifications=Verifications(kernel, await kernel.collection(KeptVerification)),
            rates=Rates(kernel, await kernel.collection(MeasuredRates)),
            unfinished=Unfinished(kernel),
            options=await kernel.collection(BackupOptions),
        )
        for below in FOLDERS.values():
            await asyncio.to_thread(archive_folder.make_folder, kernel.data.path, below)
        await empty_passing_folder(kernel)
        kernel.on(MountsChanged, self.mounts_changed)
        self.freeze = Freeze(kernel, self.backups.parts, await kernel.collection(FrozenParts))
        kernel.provide(FREEZE, self.freeze)
        kernel.provide(KEPT_BACKUPS, self.backups)
        schedules = Schedules(kernel, self.backups, await kernel.collection(Schedule))
        kernel.provide(SCHEDULES, schedules)
        kernel.provide(BACKUPS, OtherDomains(self.backups))
        schedules.start()

    def routes(self) -> Routes:
        """``/backups/…``, and what is Rooftree's own."""
        routes_of_all = Routes()
        for part in (routes, restore_routes, own_routes):
            routes_of_all.include(part)
        return routes_of_all

    def tasks(self) -> Iterable[Task]:
        """Find out what there is, at the start and from time to time."""
        yield Task("look at all places", self.backups.reload)
        yield Task("let go of what was frozen before", self.freeze.let_go_of_before)
        yield Task("sweep after restores", self.sweep_restores)
        yield Task("throw away what was not finished", self.backups.unfinished.follow)
        yield Task("fetch repositories of restores", self.backups.repositories.follow)
        yield Task("look again", self.backups.reload, every=RELOAD_EVERY)
        yield Task("remove old cloud backups", partial(remove_old_cloud_backups, self.backups), every=SWEEP_CLOUD_EVERY)

    @hookimpl
    def health_checks(self) -> list[HealthCheck]:
        """Whether there is a backup that is young enough."""
        return [HealthCheck(slug=CHECK, run=partial(check_age, self.backups))]

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Make a full backup where none is young enough."""
        if (problem.context, suggestion) != ("system", SUGGESTION):
            return None
        request = BackupRequest(name="", type="full")
        return creation(self.backups, order_of(self.backups, request, None), None)

    async def sweep_restores(self) -> None:
        """Delete what restores have left; those that a kill has interrupted are over by then."""
        is_there = await asyncio.to_thread((self.kernel.data.path / STAGING).is_dir)  # ours: no add-on is shown it
        if is_there or any(problem.type == NOT_PUT_BACK for problem in self.kernel.problems):
            await self.kernel.jobs.run(sweep_restores())

    async def mounts_changed(self, event: MountsChanged) -> None:
        """What is on a mount that has come is listed."""
        for folder in self.backups.places.folders():
            if folder.name in event.names:
                await self.backups.catalogue.reload_location(folder.name)
