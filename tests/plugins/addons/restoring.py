"""Backing add-ons up and restoring them in a house, without an archive in between."""

from __future__ import annotations

from pathlib import Path

from rooftree.interfaces.backups import BackupSource, StagedPart
from rooftree.interfaces.hooks import backup_source
from tests.plugins.addons.house import HELLO, House
from tests.rig.staged_parts import staged, taken

FOLDER = "restore/1"


async def source_of(home: House) -> BackupSource:
    """The add-ons, as the owner of parts."""
    (source,) = await home.addons.kernel.call(backup_source)
    return source


async def back_up(home: House, kept: Path, slug: str = HELLO) -> None:
    """Take an add-on's part into a folder."""
    await taken(await source_of(home), slug, home.data, kept)


async def unpack(home: House, kept: Path, slug: str = HELLO, folder: str = FOLDER) -> StagedPart:
    """Lay it out for a restore."""
    return await staged(await source_of(home), slug, home.data, kept, folder)


async def restore(home: House, kept: Path, slug: str = HELLO, folder: str = FOLDER) -> None:
    """Put it back, by the job of its source."""
    part = await unpack(home, kept, slug, folder)
    await home.system.jobs.run((await source_of(home)).restore(part))
    await home.quiet()
