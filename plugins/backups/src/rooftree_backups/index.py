"""What is in the archives of every folder, remembered: an archive is read once, and again only when it is another file.

A file that can't be read costs only itself: it is remembered with the reason, and shown as a problem.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, Problem, document
from rooftree.interfaces.backups import BackupDamaged, BackupHead
from rooftree.model import printable
from rooftree_archives import left_over
from rooftree_backups import archive_folder
from rooftree_backups.archive_folder import FileState
from rooftree_backups.archives import Archives
from rooftree_backups.mounted_folder import MountedFolders
from rooftree_backups.names import SUFFIX, BackupSlug
from rooftree_backups.places import ArchiveFolder
from rooftree_backups.unfinished import throw_away

log = structlog.get_logger(__name__)

PROBLEM: Final = "backup_unreadable"
READ_AT_ONCE: Final = 500
"""Archives that are read before what they say is kept; a place that hangs costs no more than these."""


@document("backups.file", version=1)
@frozen(kw_only=True)
class IndexedFile:
    """An archive, as it was when it was last read."""

    location: str
    filename: str
    state: FileState
    head: BackupHead | None
    """``None`` where it could not be read."""
    reason: str = ""
    """Why not."""

    @property
    def key(self) -> str:
        """Where it stands in the index."""
        return key_of(self.location, self.filename)


def _is_known(file: IndexedFile | None, state: FileState) -> bool:
    return file is not None and file.state == state and file.head is not None


def key_of(location: str, filename: str) -> str:
    """Where a file stands in the index; names of files may be longer than keys."""
    digest = hashlib.sha256(filename.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{location[:100]}/{digest}"


async def sound_heads(archives: Archives, path: Path, filenames: Sequence[str]) -> Sequence[BackupHead | BackupDamaged]:
    """What each file of a folder says of itself, or why it is no backup that can be kept here."""
    return [_sound(head) for head in await archives.heads(path, filenames)]


def _sound(head: BackupHead | BackupDamaged) -> BackupHead | BackupDamaged:
    if isinstance(head, BackupHead):
        try:
            BackupSlug.check(head.slug)
        except ValueError as error:
            return BackupDamaged(f"{error}, not {printable(head.slug)[:50]!r}")
    return head


class Index:
    """The archives of all folders."""

    def __init__(self, kernel: Kernel, files: Collection[IndexedFile], archives: Archives) -> None:
        self._kernel = kernel
        self._files = files
        self._archives = archives
        self._mounted = MountedFolders()
        self._turns: dict[str, asyncio.Lock] = {}
        self.revision = 0
        """Changes with what is in it."""
        self._report()

    def of(self, location: str) -> list[IndexedFile]:
        """The files of a place that can be read, by their names."""
        files = [file for file in self._files.values() if file.location == location and file.head is not None]
        return sorted(files, key=lambda file: file.filename)

    def file(self, location: str, filename: str) -> IndexedFile | None:
        """One of them, be it one that can be read or not."""
        return self._files.get(key_of(location, filename))

    async def reload(self, folder: ArchiveFolder) -> None:
        """Look at a folder, read what is new or another, and delete what a kill has left there unfinished. What could
        not be read before is tried again: it may have been the disk's fault. Raises ``OSError`` where it can't be
        looked at, and :class:`~rooftree_backups.mounted_folder.LocationHangs`."""
        location = folder.name
        async with self._turns.setdefault(location, asyncio.Lock()):
            # As it was before: who adds or drops a file while we look knows better than what was listed.
            known = {file.filename: file for file in self._files.values() if file.location == location}
            if folder.mounted:
                listing = await self._mounted.listing(location, folder.path)
            else:
                listing = await asyncio.to_thread(archive_folder.listing, folder.path)
            for name in left_over(listing.hidden, self._kernel.data.instance_id):
                if not await throw_away(folder, name):  # each would take as long, on a mount that hangs
                    break
            states = listing.archives
            missing = (file for name, file in known.items() if name not in states)
            await self._take_over([], [file for file in missing if self._files.get(file.key) == file])
            stale = [name for name, state in states.items() if not _is_known(known.get(name), state)]
            for names in batched(stale, READ_AT_ONCE, strict=False):
                reading = self._read(location, folder.path, {name: states[name] for name in names})
                await self._take_over(
                    await (self._mounted.within(location, reading) if folder.mounted else reading), ()
                )

    async def add(self, location: str, filename: str, state: FileState, head: BackupHead) -> None:
        """A file was written whose head is known."""
        await self._take_over([IndexedFile(location=location, filename=filename, state=state, head=head)], ())

    async def drop(self, location: str, filename: str) -> None:
        """A file is gone."""
        file = self._files.get(key_of(location, filename))
        await self._take_over([], [file] if file is not None else [])

    async def forget(self, locations: Iterable[str]) -> None:
        """Forget all but these places."""
        kept = set(locations)
        await self._take_over([], [file for file in self._files.values() if file.location not in kept])

    async def _read(self, location: str, path: Path, states: Mapping[str, FileState]) -> list[IndexedFile]:
        if not states:
            return []
        heads = await sound_heads(self._archives, path, list(states))
        files = []
        for (name, state), head in zip(states.items(), heads, strict=True):
            if isinstance(head, BackupHead):
                files.append(IndexedFile(location=location, filename=name, state=state, head=head))
            else:
                log.warning("backup_unreadable", location=location, file=name, reason=head.message)
                files.append(IndexedFile(location=location, filename=name, state=state, head=None, reason=head.message))
        return files

    async def _take_over(self, files: Iterable[IndexedFile], gone: Iterable[IndexedFile]) -> None:
        changes = [
            *(self._files.put(file.key, file) for file in files),
            *(self._files.delete(file.key) for file in gone),
        ]
        if changes:
            await self._kernel.commit(*changes)
            self.revision += 1
            self._report()

    def _report(self) -> None:
        """Say which files are no backups that can be read; one problem for each place."""
        broken: dict[str, list[IndexedFile]] = {}
        for file in self._files.values():
            if file.head is None:
                broken.setdefault(file.location, []).append(file)
        for problem in tuple(self._kernel.problems):
            if problem.type == PROBLEM and problem.reference not in broken:
                self._kernel.problems.clear(PROBLEM, "system", problem.reference)
        for location, files in broken.items():
            first = min(files, key=lambda file: file.filename)
            others = f", and {len(files) - 1} more" if len(files) > 1 else ""
            message = (
                f"{first.filename}{others} in {location} can't be read as a backup: {first.reason}. Delete what ends "
                f"with {SUFFIX} there and is none, or copy it there again"
            )
            self._kernel.problems.report(Problem(PROBLEM, "system", location, message))
