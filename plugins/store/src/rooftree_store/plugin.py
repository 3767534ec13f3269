"""The store: repositories cloned with git, and the add-ons that they offer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from attrs import field, frozen, validators

from rooftree import JobCall, Kernel, Plugin, Problem, RooftreeError, Routes, Task, hookimpl, structure
from rooftree.interfaces.hooks import RepositoriesChange
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree_store import repositories
from rooftree_store.git_process import Limits
from rooftree_store.logins import Login, RepositoryAddress
from rooftree_store.models import StoreRepository
from rooftree_store.routes import routes
from rooftree_store.sources import BUILT_IN, LOCAL, RepositorySource
from rooftree_store.store import ADDON_STORE, AddonStore, Fetching, Repository


@frozen
class StoreSettings:
    """``[plugins.store]`` in rooftree.toml."""

    repositories: list[RepositorySource] = field(factory=lambda: [RepositorySource(source) for source in BUILT_IN])
    """The repositories that are always there, beside ``local``."""
    reload_every_s: float = 3 * 60 * 60
    """How often they are fetched anew."""
    max_repository_mib: int = field(default=2048, validator=validators.ge(1))
    """What the files of one repository may have together, and what is fetched for it."""
    max_repository_files: int = field(default=100_000, validator=validators.ge(1))
    fetches_at_once: int = field(default=8, validator=validators.ge(1))
    """From as many servers is fetched at the same time."""
    answer_timeout_s: float = field(default=30, validator=validators.gt(0))
    """Seconds until a server must have answered whether there is anything new."""
    fetch_timeout_s: float = field(default=600, validator=validators.gt(0))
    """Seconds that fetching one repository may take."""
    machine: str | None = None
    """The machine that add-ons with a ``machine`` list are matched against; unless set, the one that is
    recognised, or the generic one of the CPU."""


class StorePlugin(Plugin):
    """The catalogue: repositories cloned with git, and the add-ons that they offer."""

    name = "store"
    provides = (ADDON_STORE,)
    optional = (RECOGNIZED_MACHINE,)
    settings = StoreSettings

    async def setup(self, kernel: Kernel) -> None:
        """Read what was cloned before; fetching is left to the tasks, so that a start needs no network."""
        self.kernel = kernel
        self.configured = kernel.settings(StoreSettings)
        built_in = [RepositorySource(LOCAL), *self.configured.repositories]
        added = await kernel.collection(Repository)
        self.store = AddonStore(
            kernel, added, await kernel.collection(Login), built_in, self.configured.machine, self._fetching()
        )
        kernel.defer(self.store.close)
        local = self.store.repository_folder(built_in[0].slug)
        await asyncio.to_thread(local.mkdir, parents=True, exist_ok=True)  # ours: add-ons get what is in it, not apps
        await self.store.sweep()
        await self.store.refresh(self.store.sources)
        kernel.provide(ADDON_STORE, self.store)

    def _fetching(self) -> Fetching:
        told = self.configured
        limits = Limits(
            max_bytes=told.max_repository_mib * 1024**2,
            max_files=told.max_repository_files,
            answer_s=told.answer_timeout_s,
            fetch_s=told.fetch_timeout_s,
        )
        return Fetching(limits, asyncio.Semaphore(told.fetches_at_once))

    def routes(self) -> Routes:
        return routes

    def tasks(self) -> Iterable[Task]:
        """Fetch what is missing at once, and what is new from time to time."""
        yield Task("fetch missing repositories", self.fetch_missing)
        yield Task("reload", self.reload, every=timedelta(seconds=self.configured.reload_every_s))

    async def fetch_missing(self) -> None:
        """Clone the repositories that were never fetched."""
        missing = tuple(slug for slug in self.store.sources if self.store.description(slug) is None)
        if missing:
            await self.kernel.jobs.run(repositories.reload(repositories=missing))

    async def reload(self) -> None:
        await self.kernel.jobs.run(repositories.reload(repositories=tuple(self.store.sources)))

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        """Fetch a repository again; all of them for what is no single one's."""
        if (problem.context, suggestion) != ("store", "execute_reload"):
            return None
        meant = [slug for slug in self.store.sources if slug == problem.reference]
        return repositories.reload(repositories=tuple(meant or self.store.sources))

    @hookimpl
    def info(self) -> Mapping[str, Any]:
        """What add-ons may run on here."""
        machine = self.store.machine
        return {"arch": machine.arch, "supported_arch": list(machine.supported_arch), "machine": machine.machine}

    @hookimpl
    def supervisor_info(self) -> Mapping[str, Any]:
        """The repositories, as the supervisor's info has them."""
        return {
            "arch": self.store.machine.arch,
            "addons_repositories": [
                {"name": StoreRepository.of(self.store, slug).name, "slug": slug} for slug in self.store.sources
            ],
        }

    @hookimpl
    def backup_facts(self) -> Mapping[str, Any]:
        """The repositories beside those that every installation has; their logins stay here."""
        sources = [self.store.source(slug) for slug in self.store.sources if slug not in {"local", "core"}]
        return {"repositories": tuple(map(str, sources))}

    @hookimpl
    def set_repositories(self, sources: list[str]) -> RepositoriesChange:
        """The job that makes these the added repositories."""
        try:
            given = structure(sources, list[RepositoryAddress])
        except RooftreeError as error:
            return RepositoriesChange(refusal=error)
        wanted = [self.store.known_as(address.source) for address in given]
        there = tuple(slug for slug in self.store.sources if not self.store.is_built_in(slug))
        touched = tuple(dict.fromkeys([*(source.slug for source in wanted), *there]))
        call = repositories.set_repositories(sources=tuple(wanted), touched=touched)
        return RepositoriesChange(call.during(self.store.offered_logins(given)))
