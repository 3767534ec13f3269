"""Backing Core up and restoring it in a house, without an archive in between."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from rooftree.interfaces.backups import BackupSource, PartWishes, StagedPart
from rooftree.interfaces.hooks import backup_source
from rooftree_homeassistant.home_assistant import NAME
from tests.plugins.homeassistant.house import CoreHouse
from tests.rig.staged_parts import USUAL, staged, taken

FOLDER = "restore/1"


async def source_of(home: CoreHouse) -> BackupSource:
    """Core, as the owner of its part."""
    (source,) = await home.hook(backup_source)
    return source


async def back_up(home: CoreHouse, kept: Path, wishes: PartWishes = USUAL) -> None:
    """Take Core's part into a folder."""
    await taken(await source_of(home), NAME, home.system.data.path, kept, wishes)


async def unpack(home: CoreHouse, kept: Path, *, exclude_database: bool = False) -> StagedPart:
    """Lay it out for a restore."""
    part = await staged(await source_of(home), NAME, home.system.data.path, kept, FOLDER)
    return evolve(part, exclude_database=exclude_database)


async def restore(home: CoreHouse, part: StagedPart) -> None:
    """Put it back, by the job of its source."""
    await home.system.jobs.run((await source_of(home)).restore(part))
    await home.system.bus.drained()
