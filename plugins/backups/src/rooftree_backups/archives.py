"""The archives themselves, as far as this domain uses the library ``rooftree_archives``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from attrs import frozen

from rooftree import Secret
from rooftree.interfaces.backups import BackupDamaged, BackupHead, BackupReader, BackupWriter
from rooftree.plugins import InstallationFolder
from rooftree_archives import ArchiveIndex, archive_reader, archive_writer, read_indexes

SECURETAR_3_SINCE = (2026, 3)
"""The year and month of the Core beside which the existing supervisor writes the third format of encryption."""


class Archives(Protocol):
    """Reads and writes archives, in processes of their own."""

    async def heads(self, folder: Path, filenames: Sequence[str]) -> Sequence[BackupHead | BackupDamaged]:
        """What each of the files says of itself, or why it is no backup; in the order of the names."""
        ...

    def writer(
        self, folder: Path, filename: str, *, password: Secret | None, core_version: str | None, compressed: bool
    ) -> AbstractAsyncContextManager[BackupWriter]:
        """Write an archive, which has its name once it is published; gone at the block's end unless it was.

        :param core_version: the format is what the existing supervisor would write beside that version of Core
        """
        ...

    def reader(self, folder: Path, filename: str, password: Secret | None) -> AbstractAsyncContextManager[BackupReader]:
        """Open an archive. Raises ``WrongPassword``, ``BackupDamaged``, ``NotFound``."""
        ...


@frozen
class LibraryArchives:
    """Those of the library.

    :param installation: the data folder, which the paths of parts begin from, and whose unfinished files are its own
    """

    installation: InstallationFolder

    async def heads(self, folder: Path, filenames: Sequence[str]) -> Sequence[BackupHead | BackupDamaged]:
        indexes = await read_indexes([folder / name for name in filenames])
        return [index.head if isinstance(index, ArchiveIndex) else index for index in indexes]

    def writer(
        self, folder: Path, filename: str, *, password: Secret | None, core_version: str | None, compressed: bool
    ) -> AbstractAsyncContextManager[BackupWriter]:
        return archive_writer(
            folder / filename,
            data_folder=self.installation.path,
            password=password,
            version=securetar_version(core_version),
            compressed=compressed,
            owner=self.installation.instance_id,
        )

    def reader(self, folder: Path, filename: str, password: Secret | None) -> AbstractAsyncContextManager[BackupReader]:
        return archive_reader(folder / filename, password)


def securetar_version(core_version: str | None) -> Literal[2, 3]:
    """The format of encryption beside a version of Core; what can't be read as one counts as old."""
    year, _, rest = (core_version or "").partition(".")
    month = rest.partition(".")[0]
    if not (year.isdecimal() and month.isdecimal()):
        return 2
    return 3 if (int(year), int(month)) >= SECURETAR_3_SINCE else 2
