"""The archives themselves, as far as this domain uses the library ``rooftree_archives``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from rooftree import Failed, Secret
from rooftree.interfaces.backups import BackupDamaged, BackupHead, BackupReader, BackupWriter


class ArchiveUnwritable(Failed):
    """The disk does not take any more of an archive, or it broke."""

    status = 400


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
