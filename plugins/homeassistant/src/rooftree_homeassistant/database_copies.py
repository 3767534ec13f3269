"""Copies of SQLite databases in Core's configuration, taken while somebody writes in them: each as it was at one
moment, so that it opens.

Add-ons may write in that folder. What has a database's name there and is no regular file is not opened; and what was
opened is looked at again afterwards, so that nothing else was put in its place meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from attrs import frozen

from rooftree import Failed
from rooftree.interfaces.containers import DataPath
from rooftree_files import Folder, PathRefused

SUFFIX: Final = ".db"
_MAGIC: Final = b"SQLite format 3\0"
_AT_A_TIME: Final = 4096
"""Pages between two looks at whether to go on."""
BUSY_S: Final = 30.0
"""Seconds that a database may be locked by who writes in it."""


class DatabaseUnreadable(Failed):
    """What has a database's name can't be read as one."""


class DatabaseReplaced(Failed):
    """Somebody has put another file in a database's place while it was copied."""


@frozen
class Database:
    """A database in a folder."""

    name: str
    size_bytes: int


def databases(data: Path, folder: DataPath) -> Sequence[Database]:
    """The databases in a folder itself. Blocks."""
    with Folder.open(data) as root:
        try:
            place = root.folder(folder.path)
        except FileNotFoundError:
            return []
        with place:
            names = sorted(name for name in place.names() if name.endswith(SUFFIX))
            return [database for name in names if (database := _database(place, name)) is not None]


def _database(place: Folder, name: str) -> Database | None:
    try:
        content = place.content(name, len(_MAGIC))
    except (PathRefused, FileNotFoundError):
        return None
    return Database(name, content.status.st_size) if content.data == _MAGIC else None


def copy_database(data: Path, folder: DataPath, name: str, copy: Path, stop: Callable[[], bool]) -> None:
    """Copy a database into a file that is made by this. Blocks. Raises
    :class:`DatabaseUnreadable` and :class:`DatabaseReplaced`.

    :param stop: asked again and again; when it says so, the copy ends unfinished
    """
    with Folder.open(data) as root, root.folder(folder.path) as place:
        before = place.content(name, len(_MAGIC)).status
        beneath = quote(f"/proc/self/fd/{place.descriptor}/{name}")
        try:
            with (
                closing(sqlite3.connect(f"file:{beneath}?mode=ro", uri=True, timeout=BUSY_S)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                target.execute("PRAGMA synchronous = OFF")  # who reads it does so at once, or never

                def go_on(_: int, __: int, ___: int) -> None:
                    if stop():
                        raise _Stopped

                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it is as it is now
                source.backup(target, pages=_AT_A_TIME, progress=go_on)
        except _Stopped:
            return
        except sqlite3.Error as error:
            raise DatabaseUnreadable(f"The database {name} in {folder.path} can't be read: {error}") from None
        after = place.content(name, len(_MAGIC)).status
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino):
        raise DatabaseReplaced(f"The database {name} in {folder.path} was replaced while it was copied")


class _Stopped(Exception):
    """Nobody waits for the copy any more."""
