"""The backups there are: what the folders and the other places have, brought together.

One backup may be in several places: files of one slug are copies of each other where they say the same of themselves,
but for whether they are encrypted. A file that says otherwise is another backup under a slug that is taken; the one
that comes later in the order of the places is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from attrs import frozen

from rooftree import NotFound
from rooftree.interfaces.backups import BackupHead
from rooftree_backups.archive_folder import FileState
from rooftree_backups.failed_parts import OURS
from rooftree_backups.index import Index
from rooftree_backups.names import CLOUD
from rooftree_backups.places import ArchiveFolder, Places

log = structlog.get_logger(__name__)


class BackupNotFound(NotFound):
    """There is no backup of that slug."""


@frozen(kw_only=True)
class Copy:
    """A backup in one place."""

    location: str
    head: BackupHead
    size_bytes: int
    filename: str | None = None
    """Of its file; ``None`` where it is none."""
    state: FileState | None = None
    """By which it is told whether the file is another."""


@frozen
class Backup:
    """A backup, and where it is: the first place is its primary one."""

    copies: tuple[Copy, ...]

    @property
    def primary(self) -> Copy:
        """Where it is looked for first."""
        return self.copies[0]

    @property
    def head(self) -> BackupHead:
        """What it says of itself."""
        return self.primary.head

    def at(self, location: str) -> Copy | None:
        """The copy in one place."""
        return next((copy for copy in self.copies if copy.location == location), None)


def same_backup(head: BackupHead, other: BackupHead) -> bool:
    """Whether two heads are of the same backup: all is alike that does not depend on how it is stored there."""
    return _essence(head) == _essence(other)


def _essence(head: BackupHead) -> tuple[object, ...]:
    addons = tuple((addon.id.slug, addon.version) for addon in head.addons)
    theirs = {key: value for key, value in head.extra.items() if key != OURS}
    made = (head.slug, head.name, head.date, head.type, head.supervisor_version)
    return *made, head.core_version, head.exclude_database, head.folders, addons, head.repositories, theirs


class Catalogue:
    """All backups."""

    def __init__(self, places: Places, index: Index) -> None:
        self._places = places
        self._index = index
        self._known: tuple[int, tuple[str, ...], dict[str, tuple[Copy, ...]]] | None = None

    async def backups(self) -> list[Backup]:
        """All of them, the oldest first."""
        return sorted((await self._by_slug()).values(), key=lambda backup: (backup.head.date, backup.head.slug))

    async def get(self, slug: str) -> Backup:
        """One of them; raises :class:`BackupNotFound`."""
        backup = await self.find(slug)
        if backup is None:
            raise BackupNotFound(f"There is no backup {slug}")
        return backup

    async def find(self, slug: str) -> Backup | None:
        """One of them, or ``None``."""
        return (await self._by_slug()).get(slug)

    async def reload(self) -> None:
        """Look at all places anew. One that can't be looked at keeps what is known of it, and costs nobody else."""
        folders = self._places.folders()
        others = await self._places.others()
        work = [*(self._reload(folder) for folder in folders), *(location.reload() for location in others.values())]
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.warning("location_not_reloaded", reason=str(outcome))
        await self._index.forget(self._places.names())

    async def reload_location(self, location: str) -> None:
        """Look at one place anew."""
        place = await self._places.require(location)
        await (self._reload(place) if isinstance(place, ArchiveFolder) else place.reload())

    async def _reload(self, folder: ArchiveFolder) -> None:
        if folder.mounted:
            await self._places.require(folder.name)  # asks whether it answers, where that may take for ever
        await self._index.reload(folder)

    async def _by_slug(self) -> dict[str, Backup]:
        copies = {slug: list(there) for slug, there in self._in_folders().items()}
        for name, location in (await self._places.others()).items():
            for head, size_bytes in location.backups():
                _merge(copies, Copy(location=name, head=head, size_bytes=size_bytes))
        return {slug: Backup(tuple(_cloud_last(there))) for slug, there in copies.items()}

    def _in_folders(self) -> dict[str, tuple[Copy, ...]]:
        names = tuple(folder.name for folder in self._places.folders())
        if self._known is None or self._known[:2] != (self._index.revision, names):
            copies: dict[str, list[Copy]] = {}
            for name in names:
                for file in self._index.of(name):
                    assert file.head is not None
                    copy = Copy(
                        location=name,
                        head=file.head,
                        size_bytes=file.state.size_bytes,
                        filename=file.filename,
                        state=file.state,
                    )
                    _merge(copies, copy)
            self._known = (self._index.revision, names, {slug: tuple(there) for slug, there in copies.items()})
        return self._known[2]


def _merge(copies: dict[str, list[Copy]], copy: Copy) -> None:
    there = copies.setdefault(copy.head.slug, [])
    if any(other.location == copy.location for other in there):
        return  # the same file under another name, in one place
    if not there or same_backup(there[0].head, copy.head):
        there.append(copy)
    else:
        log.info("backup_slug_taken", slug=copy.head.slug, location=copy.location, file=copy.filename)


def _cloud_last(copies: Iterable[Copy]) -> list[Copy]:
    return sorted(copies, key=lambda copy: copy.location == CLOUD)
