"""The folder in which one installation keeps everything, and the rules for touching files in it.

A lock makes sure that one process owns it; an instance id tells the containers of this installation from another's.
Files are replaced as a whole and survive a power cut at any moment. What turns out damaged is set aside, never
deleted, and every such loss is a value that reaches the operator.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import structlog
from attrs import field, frozen

from rooftree.clock import BOOT_ID
from rooftree.errors import Conflict, Failed, Unavailable
from rooftree.state.failpoints import reach_sync

log = structlog.get_logger(__name__)

LOCK_NAME: Final = "rooftree.lock"
_PID_BYTES: Final = 20
"""The lock's first line: who holds it. The second is the boot in which somebody does."""
_CLOSED: Final = b"-" * 36
INSTANCE_ID_NAME: Final = "instance-id"
FIRST_START_NAME: Final = "first-start"
DATABASE_NAME: Final = "rooftree.db"
COPIES_NAME: Final = "copies"
DAMAGED_NAME: Final = "damaged"

DAMAGED_KEPT: Final = 5
"""How many sets of damaged files are kept; the oldest goes first."""

_INSTANCE_ID = re.compile(r"[0-9a-f]{32}\n?")
_COPY = re.compile(r"rooftree-([1-9][0-9]*)\.db")
_SET_ASIDE = re.compile(r"[0-9]{8}T[0-9]{6}Z-([1-9][0-9]*)")
_FIRST_START_TEXT = b"Rooftree has not made its database here yet; it removes this file when it has.\n"

_NOT_DAMAGE: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}

_PROCESS = secrets.token_hex(4)
_temporary_numbers = count(1)


class DataFolderUnusable(Unavailable):
    """The data folder can't be made, read or written."""

    error_key = "data_folder_unusable_error"


@frozen
class Loss:
    """Something stored turned out damaged or missing: what was done about it, for the operator to know.

    :param kind: ``database``, ``database_log``, ``document`` or ``instance_id``
    :param message: what happened, what was used in its place, and where the damaged part lies now
    :param set_aside: the folder with the damaged files; ``None`` when there was no file to move
    :param restored_from: where what is used now came from; ``None`` when nothing good was left
    :param restored_as_of: how old that is, if known
    """

    kind: str
    message: str
    set_aside: Path | None = None
    restored_from: Path | None = None
    restored_as_of: datetime | None = None
    id: str = field(factory=lambda: uuid4().hex)


class DataFolder:
    """A data folder that this process owns until :meth:`close`. Every method blocks: call them in a thread.

    :ivar was_left: whether a process had it, in this boot of the machine, that ended without :meth:`close`
    :ivar instance_id: 32 hex digits, the same for the life of the installation
    :ivar losses: what was found damaged while opening; :class:`~rooftree.state.database.Database` takes them over
    """

    def __init__(self, path: Path, lock: int, was_left: bool) -> None:
        self.path = path
        self.was_left = was_left
        self.losses: tuple[Loss, ...] = ()
        self._lock: int | None = lock
        self.instance_id = self._find_instance_id()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Take the folder at ``path``, which is made when it is missing.

        Raises :class:`~rooftree.errors.Conflict` when another process owns it, :class:`DataFolderUnusable` when the
        disk refuses, :class:`~rooftree.errors.Failed` when the instance id is lost beyond recovery.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            lock, was_left = _take_lock(path / LOCK_NAME)
            try:
                _keep_out(path)
                _remove_leftovers(path)
                return cls(path, lock, was_left)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise DataFolderUnusable(
                f"The data folder {path} can't be used: {error.strerror or error}. "
                "Check that the disk is mounted, writable and has space, then start again"
            ) from error

    def close(self) -> None:
        """Let another process have the folder; safe to call twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                os.pwrite(lock, _CLOSED, _PID_BYTES)
            os.close(lock)

    @property
    def database_path(self) -> Path:
        """Where the database lies."""
        return self.path / DATABASE_NAME

    @property
    def first_start(self) -> bool:
        """Whether no database was ever made here: only then is a missing one no loss."""
        return (self.path / FIRST_START_NAME).exists()

    def end_first_start(self) -> None:
        """Note that the database exists from now on."""
        (self.path / FIRST_START_NAME).unlink(missing_ok=True)
        flush_to_disk(self.path)

    def is_read_only(self) -> bool:
        """Whether its disk takes no writes. Only trying tells: one that an error made read-only may not say so."""
        probe = self.path / f".probe.tmp{_PROCESS}"
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            probe.unlink()
        except OSError as error:
            return error.errno == errno.EROFS
        return False

    def copies(self) -> list[tuple[int, Path]]:
        """The copies of the database with their generation numbers, newest first."""
        with suppress(FileNotFoundError):
            names = ((_COPY.fullmatch(path.name), path) for path in (self.path / COPIES_NAME).iterdir())
            return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)
        return []

    def new_set_aside(self) -> Path:
        """Make an empty folder for damaged files, named after the time and a rising number."""
        root = self.path / DAMAGED_NAME
        root.mkdir(mode=0o700, exist_ok=True)
        number = max((number for number, _ in self._set_asides()), default=0) + 1
        folder = root / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{number}"
        folder.mkdir()
        flush_to_disk(root)
        flush_to_disk(self.path)
        return folder

    def set_aside(self, into: Path, *damaged: Path) -> None:
        """Move the files that exist into ``into``, in this order, durably; then keep the newest five such folders."""
        for path in damaged:
            with suppress(FileNotFoundError):
                path.rename(into / path.name)
                flush_to_disk(self.path)
                reach_sync("data_folder.set_aside")
        flush_to_disk(into)
        for _, folder in self._set_asides()[DAMAGED_KEPT:]:
            shutil.rmtree(folder)

    def replace_instance_id(self, instance_id: str, reason: str, source: Path | None) -> Loss:
        """Use ``instance_id`` from now on, because the file ``reason``; ``source`` has it, or nothing had one."""
        file = self.path / INSTANCE_ID_NAME
        into = self.new_set_aside() if os.path.lexists(file) else None
        if into is not None:
            self.set_aside(into, file)
        write_file_atomically(file, f"{instance_id}\n".encode(), 0o644)
        self.instance_id = instance_id
        log.warning("instance_id_replaced", reason=reason, source=source and str(source))
        outcome = (
            f"it was taken from {source.name}, nothing is lost"
            if source
            else "a new one was made: containers that carry the old one have to be adopted"
        )
        return Loss(
            "instance_id", f"The file {file.name}, which tells our containers, {reason}; {outcome}", into, source
        )

    def _set_asides(self) -> list[tuple[int, Path]]:
        names = ((_SET_ASIDE.fullmatch(path.name), path) for path in (self.path / DAMAGED_NAME).iterdir())
        return sorted(((int(match[1]), path) for match, path in names if match), reverse=True)

    def _find_instance_id(self) -> str:
        """What the file says; from the database where it is damaged; made here and now where nothing was before."""
        file = self.path / INSTANCE_ID_NAME
        try:
            with file.open("rb") as stream:
                text = stream.read(64).decode("ascii", "replace")
            if _INSTANCE_ID.fullmatch(text):
                return text.strip()
            reason = "was damaged"
        except FileNotFoundError:
            reason = "was missing"
        except IsADirectoryError:
            reason = "was a folder"
        databases = [self.database_path, *(path for _, path in self.copies())]
        for database in databases:
            instance_id = _instance_id_in(database)
            if instance_id is not None:
                self.losses = (self.replace_instance_id(instance_id, reason, database),)
                return instance_id
        if any(os.path.lexists(database) for database in databases):
            raise Failed(
                f"The file {file} {reason}, and no database here tells the instance id. Write it back (32 hex digits, "
                "the label of any container of this installation has it), or move rooftree.db and copies away to begin "
                "anew"
            )
        made = uuid4().hex
        if self.first_start or not (os.path.lexists(file) or (self.path / DAMAGED_NAME).exists()):
            write_file_atomically(self.path / FIRST_START_NAME, _FIRST_START_TEXT, 0o644)
            write_file_atomically(file, f"{made}\n".encode(), 0o644)
        else:
            self.losses = (self.replace_instance_id(made, reason, None),)
        return made


def write_file_atomically(path: Path, data: bytes, mode: int) -> None:
    """Replace the file at ``path`` by one with ``data`` and permission bits ``mode``; durable when this returns.

    A reader sees the old file or the new one, never a part. When it fails (``OSError``, such as ENOSPC) nothing is left
    behind and the old one is untouched (only a folder that refuses its fsync may show the new one already); what a
    killed process left is removed at the next write.
    """
    for leftover in path.parent.glob(f".{_literal(path.name)}.*.tmp"):
        if f".{_PROCESS}-" not in leftover.name:
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{_PROCESS}-{next(_temporary_numbers)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            os.fchmod(descriptor, mode)
            written = 0
            while written < len(data):
                reach_sync("data_folder.before_write")
                written += stream.write(data[written:])
            os.fsync(descriptor)
        reach_sync("data_folder.before_rename")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    reach_sync("data_folder.after_rename")
    flush_to_disk(path.parent)


def flush_to_disk(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut from now on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def close_to_others(path: Path, mode: int) -> None:
    """Take from a file or folder of ours all permission bits that are not in ``mode``; none is added.

    What can't be changed (another's, or on a disk that keeps no modes) is left and logged. A link is never followed:
    who put it there decides about what it leads to. Blocks.
    """
    try:
        status = path.lstat()
        allowed = stat.S_IMODE(status.st_mode) & mode
        if not stat.S_ISLNK(status.st_mode) and allowed != stat.S_IMODE(status.st_mode):
            path.chmod(allowed)
            log.info("closed_to_others", path=str(path), mode=f"{allowed:o}")
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("open_to_others", path=str(path), reason=error.strerror)


def _keep_out(folder: Path) -> None:
    """Keep other users of the host out of the data folder, and all but ourselves from what is the kernel's in it.

    The folder's group stays, and may look in: it is root's unless the operator has given it to somebody (chgrp), such
    as the group of those who work on ``share`` through the host's own file server. What is mounted into containers
    is reached all the same: a mount needs no way through the folders above it.
    """
    close_to_others(folder, 0o7750)
    for name in (COPIES_NAME, DAMAGED_NAME):
        close_to_others(folder / name, 0o700)
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm"):
        close_to_others(folder / name, 0o600)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite complains about what is in the file, rather than about a disk, lock or limit around it."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _NOT_DAMAGE


def _take_lock(path: Path) -> tuple[int, bool]:
    """The lock, and whether its last holder did not give it back, in this boot of the machine."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"The data folder {path.parent} is in use by process {holder}. Stop that Rooftree first, or give this one "
            "a folder of its own",
            pid=holder,
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    boot = BOOT_ID.read_bytes().strip()
    was_left = os.pread(descriptor, len(boot), _PID_BYTES) == boot
    try:
        os.pwrite(descriptor, f"{os.getpid():<{_PID_BYTES - 1}}\n".encode() + boot + b"\n", 0)
    except OSError as error:  # only for the message to the next one; a full disk must not keep us from starting
        if error.errno != errno.ENOSPC:
            os.close(descriptor)
            raise
        log.warning("lock_without_pid", path=str(path), reason=error.strerror)
    return descriptor, was_left


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob(".*.tmp*"):
        log.info("leftover_removed", path=str(leftover))
        leftover.unlink(missing_ok=True)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _instance_id_in(database: Path) -> str | None:
    """The id in a database, read without touching it or its log: it was there before the first log was written."""
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'instance_id'").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise DataFolderUnusable(f"The database {database} can't be read just now: {error}. Start again") from error
        log.warning("instance_id_not_readable", database=str(database), reason=str(error))
        return None
    return row[0] if row is not None and isinstance(row[0], str) and _INSTANCE_ID.fullmatch(row[0]) else None
