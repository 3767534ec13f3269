"""The backups of this installation, as the routes, the jobs and the schedules use them."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen, validators

from rooftree import Collection, Kernel, Service, document
from rooftree_backups.catalogue import Catalogue
from rooftree_backups.index import Index
from rooftree_backups.parts import Parts
from rooftree_backups.places import Places
from rooftree_backups.rates import Rates
from rooftree_backups.repositories_due import RepositoriesDue
from rooftree_backups.unfinished import Unfinished
from rooftree_backups.verifications import Verifications
from rooftree_backups.workshop import Workshop

OPTIONS_KEY: Final = "all"


@document("backups.options", version=1)
@frozen
class BackupOptions:
    """What the user has set for all backups."""

    days_until_stale: int = field(default=30, validator=validators.ge(1))


@frozen
class KeptBackups:
    """Where they are, what is known of them, and what is being made."""

    kernel: Kernel
    places: Places
    index: Index
    catalogue: Catalogue
    parts: Parts
    workshop: Workshop
    repositories: RepositoriesDue
    verifications: Verifications
    rates: Rates
    unfinished: Unfinished
    _options: Collection[BackupOptions]

    @property
    def options(self) -> BackupOptions:
        """What the user has set."""
        return self._options.get(OPTIONS_KEY, BackupOptions())

    async def reload(self) -> None:
        """Look at all places anew."""
        await self.catalogue.reload()
        await self.forget_gone()

    async def forget_gone(self) -> None:
        """Forget what was known of backups that are gone."""
        others = set(await self.places.others())
        seen = {folder.name for folder in self.places.folders()} | others
        await self.verifications.forget_gone(await self.catalogue.backups(), seen, self.places.names() | others)

    async def set_options(self, options: BackupOptions) -> None:
        """Keep what the user has set."""
        await self.kernel.commit(self._options.put(OPTIONS_KEY, options))


KEPT_BACKUPS = Service[KeptBackups]("kept_backups/1")
