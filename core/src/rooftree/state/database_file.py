"""The database's file: what makes it good, copies of it, and what takes the place of a damaged one.

A damaged file, or a damaged log of it, is set aside; the newest good copy takes its place, and the loss is written into
that copy before it is used, so that not even a kill makes a reset silent. Every function here blocks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
import structlog
from attrs import frozen

from rooftree.errors import Unavailable
from rooftree.model import structure, unstructure
from rooftree.state.failpoints import reach_sync
from rooftree.state.folder import COPIES_NAME, DataFolder, Loss, flush_to_disk, is_damage

log = structlog.get_logger(__name__)

SCHEMA_VERSION: Final = 1
COPIES_KEPT: Final = 3
BUSY_TIMEOUT_MS: Final = 5_000
LOOKS: Final = 3
"""How often a file must look damaged to be."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE loss (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE document (
    collection TEXT NOT NULL, key TEXT NOT NULL, version INT NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (collection, key)
) WITHOUT ROWID;
CREATE TABLE damaged_document (
    id TEXT PRIMARY KEY, at TEXT NOT NULL, reason TEXT NOT NULL, collection BLOB, key BLOB, version, body, sum
) WITHOUT ROWID;
"""
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "wal_autocheckpoint = 256",  # pages of 4 KiB in the log, then its content goes to the file and it begins anew
    "journal_size_limit = 4194304",  # bytes that the log's file shrinks to after one transaction made it longer
    "synchronous = FULL",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "mmap_size = 0",
)
_TABLES: Final = {"meta", "loss", "document", "damaged_document"}
_FILE_MAGIC: Final = b"SQLite format 3\x00"
_LOG_HEADER: Final = struct.Struct(">8I")
_LOG_FRAME: Final = struct.Struct(">6I")
_LOG_MAGIC: Final = 0x377F0682
_LOG_VERSION: Final = 3007000


class StateUnwritable(Unavailable):
    """The disk refused: nothing of the batch was saved, and what was saved before is intact."""

    error_key = "state_unwritable_error"


class StateDamaged(Unavailable):
    """The database was damaged while it was in use; the next start restores it from a copy."""

    error_key = "state_damaged_error"


class NewerState(Unavailable):
    """What is stored was written by a newer Rooftree, or a newer plugin; it is left untouched."""

    error_key = "newer_state_error"


class _Damaged(Exception):
    """A database file is not what it should be; the text continues a sentence that begins with its name."""


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite found the file itself damaged, not merely a statement wrong."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def state_error(error: sqlite3.Error | OSError, what: str) -> Exception:
    """What a refusal of SQLite or the system means to a caller, with what to do; a statement's own error stays."""
    if isinstance(error, sqlite3.Error):
        if is_corrupt(error):
            return StateDamaged(f"{what}: it is damaged ({error}). Restart Rooftree: it restores the newest good copy")
        if is_damage(error):
            return error
    return StateUnwritable(f"{what}: {error}. Free space on that disk, or see what is wrong with it, and try again")


@frozen
class StoredDocument:
    """One row of the table of documents, as bytes, because damage does not respect UTF-8."""

    collection: bytes
    key: bytes
    version: int
    body: bytes
    sum: bytes

    @property
    def is_intact(self) -> bool:
        """Whether nothing of the row has changed since it was written."""
        with suppress(TypeError):  # a damaged row may have a text where bytes belong
            expected = document_sum(self.collection, self.key, self.version, self.body)
            return type(self.version) is int and self.sum == expected
        return False


def document_sum(collection: bytes, key: bytes, version: int, body: bytes) -> bytes:
    """Eight bytes that tell whether any part of a document's row has flipped."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (collection, key, b"%d" % version, body):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def stored_documents(
    connection: sqlite3.Connection, collection: bytes | None = None, key: bytes | None = None
) -> list[StoredDocument]:
    """The documents as they lie there, damaged ones included: all, those of one collection, or just one."""
    rows = connection.execute(
        "SELECT CAST(collection AS BLOB), CAST(key AS BLOB), version, body, sum FROM document "
        "WHERE (?1 IS NULL OR CAST(collection AS BLOB) = ?1) AND (?2 IS NULL OR CAST(key AS BLOB) = ?2)",
        (collection, key),
    )
    return [StoredDocument(*row) for row in rows]


def document_in_copies(
    folder: DataFolder, collection: bytes, key: bytes, acceptable: Callable[[StoredDocument], bool]
) -> tuple[StoredDocument, Path, datetime | None] | None:
    """The newest intact and acceptable version of one document in the copies, with the copy and when it was made."""
    for path, meta in _good_copies(folder):
        with _connect_to_look(path) as connection:
            for row in stored_documents(connection, collection, key):
                if row.is_intact and acceptable(row):
                    return row, path, _copied_at(meta)
    return None


def stored_losses(connection: sqlite3.Connection) -> list[Loss]:
    """The losses nobody was told of yet."""
    return [structure(orjson.loads(body), Loss) for (body,) in connection.execute("SELECT body FROM loss")]


def insert_loss(connection: sqlite3.Connection, loss: Loss) -> None:
    """Note a loss; it may be there already."""
    connection.execute("INSERT OR REPLACE INTO loss VALUES (?, ?)", (loss.id, orjson.dumps(unstructure(loss))))


def prepare_file(folder: DataFolder) -> list[Loss]:
    """Leave a good database at its place, whatever was there; returns what was lost on the way."""
    path = folder.database_path
    for leftover in (folder.path / COPIES_NAME).glob(".rooftree*.tmp*"):  # of a copy that was killed
        leftover.unlink(missing_ok=True)
    if folder.first_start:
        if not os.path.lexists(path):
            with _replacement(path) as temporary:
                _create(temporary, folder.instance_id)
        folder.end_first_start()
    log = _read_log(path)
    losses = list(folder.losses)
    try:
        meta = _inspect(path, with_log=log.readable)
    except _Damaged as damage:
        return [*losses, _restore(folder, str(damage))]
    if log.damage or (not log.readable and meta.get("running") == "1"):
        losses.append(_set_log_aside(folder, log))
    stored_id = meta.get("instance_id")
    if stored_id and stored_id != folder.instance_id:
        losses.append(folder.replace_instance_id(stored_id, "differed from the database", path))
    return losses


def connect(path: Path) -> sqlite3.Connection:
    """The connection to read and write the database with; there must be no other."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    _own(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def make_copy(connection: sqlite3.Connection, folder: DataFolder) -> Path:
    """Make a consistent copy, verified and durable, and keep the newest three; errors as of ``Database.copy``."""
    root = folder.path / COPIES_NAME
    try:
        copies = folder.copies()
        path = root / f"rooftree-{copies[0][0] + 1 if copies else 1}.db"
        if not root.exists():
            root.mkdir(mode=0o700)
            flush_to_disk(folder.path)
        with _replacement(path) as temporary:
            with _unjournaled(temporary) as copy:
                connection.backup(copy)
                reach_sync("database.copying")
                copy.execute("PRAGMA journal_mode = MEMORY")  # the original's mode came with its pages
                copy.execute("UPDATE meta SET value = '0' WHERE key = 'running'")
                copy.execute("INSERT OR REPLACE INTO meta VALUES ('copied_at', ?)", (datetime.now(UTC).isoformat(),))
            _inspect(temporary)
            with _connect_to_look(temporary) as copy:
                if damaged := sum(not row.is_intact for row in stored_documents(copy)):
                    raise _Damaged(f"has {damaged} damaged documents")
        for _, older in copies[COPIES_KEPT - 1 :]:
            older.unlink()
    except _Damaged as damage:
        raise StateDamaged(
            f"{folder.database_path} {damage}; no copy was made of it, the older ones are kept. "
            "Restart Rooftree: it restores what is damaged"
        ) from damage
    except (sqlite3.Error, OSError) as error:
        raise state_error(error, "The database was not copied; the older copies are kept") from error
    return path


def _own(connection: sqlite3.Connection) -> None:
    """Settings for the only connection that a file has.

    Exclusive locking does without shared memory, a file that a full disk would refuse, and keeps other programs from
    removing the log. We remove it only when the file says that it was closed: a missing log is otherwise a loss.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


@contextmanager
def _connect_to_look(path: Path, *, with_log: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to look at ``path`` as it lies there, or as it is with its log; either way nothing is written."""
    query = "mode=rw" if with_log else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None)) as connection:
        if with_log:
            _own(connection)
            connection.execute("PRAGMA query_only = ON")
        yield connection


@contextmanager
def _unjournaled(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that nobody uses yet, and that is flushed as a whole before it is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        yield connection


@contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """A file to fill in; it is at ``path``, durably, when the block ends, and gone without trace when it fails."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        reach_sync("database.before_replace")
        flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        for leftover in path.parent.glob(f"{temporary.name}*"):
            leftover.unlink(missing_ok=True)
    reach_sync("database.after_replace")
    flush_to_disk(path.parent)


def _create(path: Path, instance_id: str) -> None:
    """Make an empty database; it is in the mode it is used in, so that opening it on a full disk writes nothing."""
    with _unjournaled(path) as connection:
        connection.executescript(_SCHEMA)
        meta = {"schema": str(SCHEMA_VERSION), "instance_id": instance_id, "running": "0"}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("PRAGMA journal_mode = WAL")


def _inspect(path: Path, *, with_log: bool = False) -> Mapping[str, str]:
    """What the table ``meta`` says, once everything was found in order.

    Raises :class:`_Damaged`, :class:`NewerState`, and ``sqlite3.Error`` or ``OSError`` when looking itself fails.
    """
    try:
        if not path.is_file():
            raise _Damaged("is not a file" if os.path.lexists(path) else "is missing")
        with path.open("rb") as stream:
            start = stream.read(len(_FILE_MAGIC))
        if start != _FILE_MAGIC:
            raise _Damaged("is not a database" if start else "is empty")
        with _connect_to_look(path, with_log=with_log) as connection:
            verdict = _quick_check(connection)
            if verdict != "ok":
                raise _Damaged(f"is damaged ({verdict})")
            meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise _Damaged(f"is damaged ({error})") from error
        raise
    version = meta.get("schema", "")
    if not (version.isdecimal() and int(version)):
        raise _Damaged("does not say which version it has")
    if int(version) > SCHEMA_VERSION:
        raise NewerState(
            f"The database {path} has version {version}, this Rooftree knows {SCHEMA_VERSION}: it was written by a "
            "newer one. Install that again; nothing was changed"
        )
    if missing := _TABLES - tables:
        raise _Damaged(f"lacks the tables {', '.join(sorted(missing))}")
    return meta


def _quick_check(connection: sqlite3.Connection) -> str:
    """SQLite's verdict on the file. A page that the disk does not give is part of it, not an error, so a bad one is
    looked into again before it is believed: what follows is the loss of the latest changes."""
    verdict = ""
    for _ in range(LOOKS):
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict == "ok":
            break
        log.warning("database_looks_damaged", reason=verdict)
    return verdict


def _good_copies(folder: DataFolder) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The copies that can be used, newest first; raises :class:`NewerState` when only newer Rooftrees could."""
    newer, good = None, 0
    for _, path in folder.copies():
        try:
            meta = _inspect(path)
        except _Damaged as damage:
            log.warning("copy_not_usable", path=str(path), reason=str(damage))
        except NewerState as error:
            newer = error
        else:
            good += 1
            yield path, meta
    if newer is not None and not good:
        raise newer


def _copied_at(meta: Mapping[str, str]) -> datetime | None:
    with suppress(KeyError, ValueError):
        return datetime.fromisoformat(meta["copied_at"])
    return None


def _restore(folder: DataFolder, damage: str) -> Loss:
    """Put the newest good copy, or an empty database, in place of the damaged one, which is kept."""
    path = folder.database_path
    # Itself first: without it, its log is never taken for another's.
    damaged = [path, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal"))]
    copy, meta = next(_good_copies(folder), (None, {}))
    into = folder.new_set_aside() if any(map(os.path.lexists, damaged)) else None
    as_of = _copied_at(meta)
    outcome = (
        f"the copy {copy.name}{_shown(as_of)} is used, later changes are lost"
        if copy
        else "there was no good copy: Rooftree begins with an empty one; restore a backup"
    )
    loss = Loss("database", f"The database {path.name} {damage}; {_kept(into)}; {outcome}", into, copy, as_of)
    try:
        with _replacement(path) as temporary:
            if copy is None:
                _create(temporary, folder.instance_id)
            else:
                shutil.copyfile(copy, temporary)
            with _unjournaled(temporary) as connection:
                insert_loss(connection, loss)
                connection.execute("PRAGMA journal_mode = WAL")
            if into is not None:
                folder.set_aside(into, *damaged)
            reach_sync("database.restore")
    except BaseException:
        if into is not None:
            with suppress(OSError):  # not empty: the damaged files are in it already
                into.rmdir()
        raise
    return loss


def _set_log_aside(folder: DataFolder, log: _Log) -> Loss:
    """Keep a damaged log for later looks. One that can be read in part stays at its place as well."""
    path = folder.database_path
    log_path = Path(f"{path}-wal")
    into = folder.new_set_aside() if os.path.lexists(log_path) else None
    if into is not None and log.readable:
        shutil.copyfile(log_path, into / log_path.name)
        flush_to_disk(into / log_path.name)
        folder.set_aside(into)
    elif into is not None:
        folder.set_aside(into, log_path)
    as_of = None if log.readable else datetime.fromtimestamp(path.stat().st_mtime, UTC)
    outcome = f"the database{_shown(as_of)} is used, later changes" if as_of else "the changes behind the damage"
    message = f"The log {log_path.name} of the database {log.damage or 'is missing'}; {outcome} are lost; {_kept(into)}"
    return Loss("database_log", message, into, path, as_of)


def _kept(into: Path | None) -> str:
    return f"what was there is kept in {into}" if into else "nothing of it was left"


def _shown(moment: datetime | None) -> str:
    return f" of {moment:%Y-%m-%d %H:%M} UTC" if moment else ""


@frozen
class _Log:
    """Whether SQLite will read frames from it, and what is wrong."""

    readable: bool
    damage: str | None = None


def _read_log(path: Path) -> _Log:
    """What SQLite will make of the log of the database at ``path``, and what it would pass over without a word.

    It takes a log with a broken header for an empty one. The header is on the disk before the first frame is written,
    so a broken one before frames is damage, not a power cut. It stops reading at a frame whose checksum is wrong.
    Rightly there may be one transaction behind it that never was complete; a frame behind a further frame that ends a
    transaction was written when that one was on the disk already: it is lost to damage.
    """
    log_path = Path(f"{path}-wal")
    if not log_path.is_file():
        return _Log(readable=False, damage="is not a file" if os.path.lexists(log_path) else None)
    with log_path.open("rb") as stream:
        header = stream.read(_LOG_HEADER.size)
        if len(header) < _LOG_HEADER.size or not stream.read(1):
            return _Log(readable=False)
        magic, version, page_size, _, *salts, first, second = _LOG_HEADER.unpack(header)
        if magic & ~1 != _LOG_MAGIC or version != _LOG_VERSION:
            return _Log(readable=False, damage="is not a log")
        order = ">" if magic & 1 else "<"
        sums = _log_sums(order, header[:24], (0, 0))
        if sums != (first, second):
            return _Log(readable=False, damage="has a damaged header")
        stream.seek(_LOG_HEADER.size)
        intact, ended = True, False
        while len(frame := stream.read(_LOG_FRAME.size + page_size)) == _LOG_FRAME.size + page_size:
            _, size_after_commit, *rest = _LOG_FRAME.unpack_from(frame)
            if rest[:2] != salts:  # of an earlier turn of the log
                intact = False
                continue
            if intact:
                sums = _log_sums(order, frame[_LOG_FRAME.size :], _log_sums(order, frame[:8], sums))
                intact = sums == tuple(rest[2:])
            if not intact:
                if ended:
                    return _Log(readable=True, damage="is damaged in the middle")
                ended = size_after_commit != 0
    return _Log(readable=True)


def _log_sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """The running checksum of SQLite's log format."""
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    first, second = sums
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
