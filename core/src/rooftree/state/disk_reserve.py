"""Room on the disk that is kept for the moment when there is no more: a file of that size.

Stopping and uninstalling are how room is made, and both are written down before they are done; on a full disk they
would be refused. So when the database is refused something that makes room, or that ends what has begun, this file
goes, and its room becomes part of the database's log in the same moment, before whatever filled the disk can take it.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

RESERVE_NAME: Final = "disk-reserve"
MARGIN_BYTES: Final = 1024 * 1024
"""What must be free for others; with less, the disk counts as full, and no reserve is taken from it."""
_LOG_HEADER_BYTES: Final = 32
_BLOCK_BYTES: Final = 4096
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of SQLite or of the system says that there is no room."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class DiskReserve:
    """The reserve of one data folder. It belongs to the database's thread; every method blocks.

    :param folder: the data folder
    :param size_bytes: how much is kept; 0 keeps nothing
    :param database_log: the database's log, which is lent the room
    :ivar lent: whether the room is the log's just now; until it is kept again, only what makes room is saved
    """

    def __init__(self, folder: Path, size_bytes: int, database_log: Path) -> None:
        self.lent = False
        self._path = folder / RESERVE_NAME
        self._size_bytes = size_bytes
        self._database_log = database_log

    def keep(self) -> bool:
        """Have the reserve in its place if the disk has the room, and some for others; whether it has."""
        held = self._held_bytes()
        if held < self._size_bytes:
            if self._free_bytes() + held < self._size_bytes + MARGIN_BYTES or not self._make(self._size_bytes):
                return False
            log.info("disk_reserve_kept", bytes=self._size_bytes)
        self.lent = False
        return self._free_bytes() >= MARGIN_BYTES

    def lend(self) -> bool:
        """Give the room to the log; whether there was any to give."""
        if not self._held_bytes():
            return False
        with suppress(OSError):
            self._path.unlink()
            self.lent = True
            log.warning("disk_reserve_lent")
            self.secure()
        return self.lent

    def take_back(self) -> None:
        """Hold again what was lent, or as much of it as is left, for the next start; the log must be gone."""
        free_bytes = min(self._size_bytes, self._free_bytes()) // _BLOCK_BYTES * _BLOCK_BYTES
        if self.lent and free_bytes:
            self.lent = not self._make(free_bytes)

    def secure(self) -> None:
        """Make sure of the room that was lent. The log must have begun: one without a header is taken for damaged."""
        with suppress(OSError):  # something took it meanwhile; then there is as much as there is
            if self.lent and _LOG_HEADER_BYTES <= self._database_log.stat().st_size < self._size_bytes:
                _allocate(self._database_log, self._size_bytes, os.O_RDWR)

    def _make(self, size_bytes: int) -> bool:
        try:
            self._path.unlink(missing_ok=True)
            _allocate(self._path, size_bytes, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        except OSError as error:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            log.warning("disk_reserve_not_kept", reason=error.strerror)
            return False
        return True

    def _held_bytes(self) -> int:
        """The room that the file takes; one that was copied may look large and have no blocks."""
        with suppress(OSError):
            return self._path.lstat().st_blocks * 512
        return 0

    def _free_bytes(self) -> int:
        with suppress(OSError):
            return shutil.disk_usage(self._path.parent).free
        return 0


def _allocate(path: Path, size_bytes: int, flags: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    finally:
        os.close(descriptor)
