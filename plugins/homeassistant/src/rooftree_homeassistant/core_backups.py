"""Core as the owner of its part of backups: what it holds, and how Core keeps still meanwhile.

Core goes on running. It is told when its part is begun, whereupon it writes nothing into its history until it is told
that all was read. Where it can't be told, because its API does not answer, or it would not, the history is copied as it
was at one moment; and so are the other databases in its configuration, of whose owners nobody knows. A Core that does
not run keeps still by itself.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

from rooftree import Invalid, JobCall
from rooftree.interfaces.backups import (
    BackupPart,
    PartContents,
    PartId,
    PartKind,
    PartLeftOut,
    PartTree,
    PartWishes,
    StagedPart,
)
from rooftree.interfaces.core import Core, CoreRefused, CoreUnavailable
from rooftree_containers.long_work import in_thread
from rooftree_containers.observation import runs
from rooftree_homeassistant import core_record
from rooftree_homeassistant.core_container import CONFIG
from rooftree_homeassistant.core_restore import restore
from rooftree_homeassistant.database_copies import Database, DatabaseUnreadable, copy_database, databases
from rooftree_homeassistant.home_assistant import NAME, HomeAssistant

log = structlog.get_logger(__name__)

TITLE: Final = "Home Assistant Core"
TREE: Final = "data"
START_WITHIN_S: Final = 120.0
"""Seconds that Core may take to write its history out and to keep still."""
END_WITHIN_S: Final = 30.0
EXCLUDED: Final = (
    "**/__pycache__/*",
    "**/.DS_Store",
    "*.db-shm",
    "*.corrupt.*",
    "*.log.*",
    "*.log",
    ".storage/*.corrupt.*",
    "OZW_Log.txt",
    "backups/*.tar",
    "tmp_backups/*.tar",
    "tts/*",
    ".cache/*",
)
HISTORY: Final = "home-assistant_v?.db"
"""Core's database; beside it lies what was not written into it yet (``-wal``)."""
COPIES: Final = "copied-databases"
"""In the plugin's own folder: where databases lie while they are backed up."""
MARGIN_BYTES: Final = 64 * 1024 * 1024
"""What must stay free besides them."""


@frozen
class _Seen:
    """The run of Core that its part was begun in."""

    container_id: str | None
    started_at: datetime | None
    runs: bool


class CoreBackups:
    """The :class:`~rooftree.interfaces.backups.BackupSource` of Core.

    :param folder: the plugin's own
    """

    kind = PartKind.CORE

    def __init__(self, core: HomeAssistant, core_client: Core, folder: Path) -> None:
        self._core = core
        self._core_client = core_client
        self._copies = folder / COPIES

    def parts(self) -> Sequence[BackupPart]:
        """Core, where it is installed."""
        installed = self._core.installed
        if installed is None:
            return []
        return [BackupPart(id=PartId(kind=PartKind.CORE, slug=NAME), name=TITLE, version=installed.version)]

    @asynccontextmanager
    async def hold(self, slug: str, wishes: PartWishes) -> AsyncIterator[PartContents]:
        """Keep Core still, and say what its part holds."""
        del slug  # there is one
        installed, options = self._core.installed, self._core.options
        if installed is None:
            raise PartLeftOut("Home Assistant Core is not installed")
        seen = await self._look()
        exclude = options.backups_exclude_database if wishes.exclude_database is None else wishes.exclude_database
        async with self._still(seen) as is_still, self._copied(seen, is_still, exclude) as copies:
            excluded = (
                *EXCLUDED,
                *((HISTORY, f"{HISTORY}-wal") if exclude else ()),
                *(f"{name}-{rest}" for name in copies for rest in ("wal", "journal")),
            )
            yield PartContents(
                documents={core_record.CORE_FILE: core_record.written(options, installed)},
                trees=(PartTree(source=CONFIG, name=TREE, excluded=excluded, matching="whole"),),
                files={f"{TREE}/{name}": file for name, file in copies.items()},
                exclude_database=exclude,
            )
            if await self._look() != seen:
                raise PartLeftOut(f"{TITLE} was started or ended while it was backed up")

    async def release(self, slug: str) -> None:
        """Tell Core that its backup is over, and delete what was copied for it."""
        del slug
        await asyncio.to_thread(shutil.rmtree, self._copies, ignore_errors=True)  # ours: the plugin's own
        await self._tell_over()

    def restore(self, part: StagedPart) -> JobCall[None]:
        """The job that puts Core back."""
        return restore(slug=part.id.slug, part=part)

    def remove(self, slug: str) -> JobCall[None]:
        """Core is never taken out of the house; without its part a backup leaves it as it is."""
        raise Invalid("Home Assistant Core can't be removed")

    # --- still -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _still(self, seen: _Seen) -> AsyncIterator[bool]:
        """Whether nobody writes into Core's history in the block."""
        if not seen.runs:
            yield True
            return
        try:
            await self._core_client.command("backup/start", within_s=START_WITHIN_S)
        except (CoreUnavailable, CoreRefused) as error:
            log.warning("core_not_still", reason=error.message)
            yield False
            return
        try:
            yield True
        finally:
            await self._tell_over()

    async def _tell_over(self) -> None:
        try:
            await self._core_client.command("backup/end", within_s=END_WITHIN_S)
        except (CoreUnavailable, CoreRefused) as error:  # its history goes on by itself after a while
            log.warning("core_not_told", reason=error.message)

    async def _look(self) -> _Seen:
        shown = await self._core.containers.observation.look(NAME)
        if shown is None or not runs(shown):
            return _Seen(None, None, runs=False)
        return _Seen(shown.id, shown.started_at, runs=True)

    # --- databases ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _copied(self, seen: _Seen, is_still: bool, exclude: bool) -> AsyncIterator[Mapping[str, Path]]:
        """Copies of the databases that somebody may be writing in, by their names."""
        if not seen.runs:
            yield {}
            return
        data = self._core.kernel.data.path
        all_there = await asyncio.to_thread(databases, data, CONFIG)
        wanted = [database for database in all_there if not (is_history(database.name) and (exclude or is_still))]
        place = self._copies / secrets.token_hex(8)
        try:
            await asyncio.to_thread(_make_room, place, wanted)
            yield {
                database.name: file for database in wanted if (file := await self._copy(database, place)) is not None
            }
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)  # ours: the plugin's own

    async def _copy(self, database: Database, place: Path) -> Path | None:
        """A copy, or ``None`` for what can't be read as a database: that goes along as it is."""
        data, file = self._core.kernel.data.path, place / database.name
        try:
            await in_thread(lambda stop: copy_database(data, CONFIG, database.name, file, stop))
        except DatabaseUnreadable as error:
            log.warning("database_not_copied", name=database.name, reason=error.message)
            return None
        return file


def is_history(name: str) -> bool:
    """Whether a file of that name is Core's database."""
    return fnmatchcase(name, HISTORY)


def _make_room(place: Path, wanted: Sequence[Database]) -> None:
    place.mkdir(mode=0o700, parents=True)  # ours: the plugin's own
    needed, free = sum(database.size_bytes for database in wanted), shutil.disk_usage(place).free
    if needed and free < needed + MARGIN_BYTES:
        raise PartLeftOut(
            f"{TITLE} is running and can't keep its databases still, and to copy them takes {needed / 1e6:,.0f} MB; "
            f"{free / 1e6:,.0f} MB are free. Make room, or leave its database out"
        )
