"""Writing a backup of a vault as an ordinary archive, which the existing supervisor and Core can read."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import uuid4

from rooftree.interfaces.backups import BackupReader, Progress
from rooftree_archives import archive_writer, carry

EXPORTS: Final = "tmp/vault-exports"


async def export(reader: BackupReader, archive: Path, data: Path, progress: Progress) -> None:
    """Write a backup as an archive.

    :param data: the data folder
    """
    async with archive_writer(archive, data_folder=data, password=None) as writer:
        await carry(reader, writer, data, f"{EXPORTS}/{uuid4().hex}", progress)
