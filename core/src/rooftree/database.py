"""One SQLite file, one thread that writes it, and what happens when the file turns out damaged.

Batches of changes that arrive together share one transaction and one fsync (group commit), yet each is atomic on its
own. Consistent copies are taken beside the database; a damaged one is set aside, the newest good copy takes its place,
and the loss is written into that copy before it is used, so that not even a kill makes a reset silent.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Protocol, Self, cast

import orjson
import structlog
from attrs import define, field, frozen

from rooftree.conversion import structure, unstructure
from rooftree.data_folder import COPIES_NAME, DataFolder, Loss, flush_to_disk, is_damage
from rooftree.errors import NotReady, Unavailable
from rooftree.failpoints import reach_sync

log = structlog.get_logger(__name__)

SCHEMA_VERSION: Final = 1
COPIES_KEPT: Final = 3
GROUP_LIMIT: Final = 256
"""Batches that share one transaction at most, so that the first of them doesn't wait for long."""

BUSY_TIMEOUT_MS: Final = 5_000
LOG_PAGES_LIMIT: Final = 256
"""Pages of 4 KiB in the log after which its content goes to the file and it begins anew."""

LOG_SIZE_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""What the log's file shrinks to after one transaction made it longer."""


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
_TABLES: Final = {"meta", "loss", "document", "damaged_document"}
_ALL_LOSSES: Final = "SELECT body FROM loss"
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


class Mirror(Protocol):
    """Something that keeps a part of the database in memory."""

    def swap(self, changes: Mapping[str, Any]) -> None:
        """Take over what has become durable: new values by key, ``None`` for what is gone. Called on the loop."""


class View:
    """What one batch changes, for the mirrors: they are told once it is durable, and never of a batch that failed."""

    def __init__(self) -> None:
        self.changes: dict[Mirror, dict[str, Any]] = {}

    def changed(self, mirror: Mirror, key: str, value: object | None) -> None:
        """Note that ``key`` of ``mirror`` has become ``value``, or is gone (``None``)."""
        self.changes.setdefault(mirror, {})[key] = value


class Change(Protocol):
    """One change to the database, as a value."""

    def apply(self, connection: sqlite3.Connection, view: View) -> Any:
        """Make the change, in the writer thread, within a transaction that is not ended here; the answer is returned
        by :meth:`Database.commit`. It sees all that was committed or queued before. Whatever it raises undoes its
        batch and reaches the caller. Be quick, and touch nothing but ``connection`` and ``view``.
        """


type _Outcome = tuple[asyncio.Future[Any], Any, Exception | None]


@define
class _Batch:
    changes: tuple[Change, ...]
    future: asyncio.Future[list[Any]]
    view: View = field(factory=View)


@define
class _Call:
    work: Callable[[], Any]
    future: asyncio.Future[Any]
    last: bool = False


@define(eq=False)
class _Losses:
    """The losses nobody has settled yet."""

    by_id: dict[str, Loss]

    def swap(self, changes: Mapping[str, Loss | None]) -> None:
        self.by_id = {key: loss for key, loss in {**self.by_id, **changes}.items() if loss is not None}


@frozen
class _RecordLoss:
    losses: _Losses
    loss: Loss

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        _insert_loss(connection, self.loss)
        view.changed(self.losses, self.loss.id, self.loss)


@frozen
class _SettleLoss:
    losses: _Losses
    loss: Loss

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        connection.execute("DELETE FROM loss WHERE id = ?", (self.loss.id,))
        view.changed(self.losses, self.loss.id, None)


class Database:
    """The open database. Made by :meth:`open`; every method belongs to the loop that opened it."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self._queue: SimpleQueue[_Batch | _Call] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._losses = _Losses({})
        self._closing: asyncio.Future[None] | None = None
        self._changed = True
        self._opened = False
        self._marked_running = False
        self._connection: sqlite3.Connection

    @classmethod
    async def open(cls, folder: DataFolder) -> Self:
        """Open the database of ``folder``; a damaged or missing one is restored first (see :attr:`losses`).

        Raises :class:`NewerState`, or :class:`StateUnwritable` when the disk refuses; both leave the files as they
        were.
        """
        database = cls(folder)
        opened = database._loop.create_future()
        database._queue.put(_Call(database._open, opened))
        await asyncio.to_thread(Thread(target=database._run, name="database", daemon=True).start)
        try:
            await asyncio.shield(opened)
        except BaseException:
            await database._stop(database._abandon)
            raise
        return database

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What was found damaged, now or at an earlier start, and was not settled yet (see :meth:`settle`)."""
        return tuple(self._losses.by_id.values())

    def record(self, loss: Loss) -> Change:
        """The change that notes a loss, to be committed with the repair that it tells of."""
        return _RecordLoss(self._losses, loss)

    def settle(self, loss: Loss) -> Change:
        """The change that forgets a loss: commit it together with the problem that tells the operator."""
        return _SettleLoss(self._losses, loss)

    async def commit(self, *changes: Change) -> list[Any]:
        """Make all ``changes`` durable in one transaction, or none; returns what each one's ``apply`` returned.

        Raises what a change raised, :class:`StateUnwritable` when the disk refuses, :class:`StateDamaged`. Once
        called, the batch takes place even when the caller is cancelled while it waits.
        """
        self._refuse_when_closing()
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._queue.put(_Batch(changes, future))
        return await future

    async def read[T](self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``fn`` in the writer's thread, after all that was committed before; it can't write."""
        return await self._ask(partial(self._read, fn))

    async def copy(self) -> Path:
        """Make a consistent copy, verified and durable, and keep the newest three; returns it.

        When nothing changed since the newest one, that is the copy. Raises :class:`StateUnwritable` or
        :class:`StateDamaged`; then the older copies are as they were.
        """
        return await self._ask(self._copy)

    async def close(self) -> None:
        """Do what is queued, copy, close the file; safe to call twice. A copy that fails is logged, not raised."""
        await self._stop(self._close)

    async def _ask[T](self, work: Callable[[], T]) -> T:
        self._refuse_when_closing()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Call(work, future))
        return await future

    async def _stop(self, work: Callable[[], None]) -> None:
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._queue.put(_Call(work, self._closing, last=True))
        await asyncio.shield(self._closing)

    def _refuse_when_closing(self) -> None:
        if self._closing is not None:
            raise NotReady("Rooftree is stopping: its database takes no more calls. Try again when it runs again")

    def _deliver(self, outcomes: Iterable[_Outcome], changes: Mapping[Mirror, Mapping[str, Any]]) -> None:
        """On the loop: first memory, then whoever waits, in commit order."""
        try:
            for mirror, values in changes.items():
                mirror.swap(values)
        finally:
            for future, result, error in outcomes:
                if not future.done():
                    if error is None:
                        future.set_result(result)
                    else:
                        future.set_exception(error)
                elif error is not None:
                    log.error("database_call_failed_after_its_caller_left", reason=repr(error))

    # From here on: the writer thread.

    def _run(self) -> None:
        while True:
            for batched, work in groupby(self._next_work(), key=lambda item: isinstance(item, _Batch)):
                if batched:
                    self._commit_group(cast("list[_Batch]", list(work)))
                    continue
                for call in cast("Iterator[_Call]", work):
                    self._post([(call.future, *_attempt(call.work))], {})
                    if call.last:
                        return

    def _next_work(self) -> list[_Batch | _Call]:
        work = [self._queue.get()]
        with suppress(Empty):
            while len(work) < GROUP_LIMIT:
                work.append(self._queue.get_nowait())
        return work

    def _post(self, outcomes: list[_Outcome], changes: Mapping[Mirror, Mapping[str, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, outcomes, changes)
        except RuntimeError:  # the loop was closed without closing the database; what was committed stays committed
            log.exception("database_results_not_delivered", count=len(outcomes))

    def _commit_group(self, batches: list[_Batch]) -> None:
        outcomes: list[_Outcome] = []
        changes: dict[Mirror, dict[str, Any]] = {}
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._marked_running:
                self._connection.execute("UPDATE meta SET value = '1' WHERE key = 'running'")
            for batch in batches:
                result, error = self._apply(batch)
                outcomes.append((batch.future, result, error))
                if error is None:
                    for mirror, values in batch.view.changes.items():
                        changes.setdefault(mirror, {}).update(values)
            reach_sync("database.before_commit")
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._give_up_group(error)
            failed = {id(future): (result, own) for future, result, own in outcomes if own is not None}
            outcomes = [
                (batch.future, *failed.get(id(batch.future), (None, self._unwritable(error)))) for batch in batches
            ]
            changes = {}
        else:
            self._changed = True
            if not self._marked_running:
                self._marked_running = True
                with _logged("database_checkpoint_failed"):
                    self._checkpoint()
            reach_sync("database.after_commit")  # for kill: what is durable can't fail any more
        self._post(outcomes, changes)

    def _apply(self, batch: _Batch) -> tuple[list[Any] | None, Exception | None]:
        """The batch's answers, or why it failed (then it is undone); raises when the group's transaction is gone."""
        connection = self._connection
        connection.execute("SAVEPOINT batch")
        try:
            results = [change.apply(connection, batch.view) for change in batch.changes]
        except BaseException as error:
            if not connection.in_transaction:  # SQLite gave up all of it, as it does on a full disk
                raise
            connection.execute("ROLLBACK TO batch")
            connection.execute("RELEASE batch")
            return None, self._unwritable(error) if isinstance(error, sqlite3.Error) else _harmless(error)
        if not connection.in_transaction:
            raise RuntimeError(f"a change ended the transaction it was given; the batch was {batch.changes!r}")
        connection.execute("RELEASE batch")
        return results, None

    def _give_up_group(self, error: BaseException) -> None:
        """Roll back, make room in the log, and write over what a refused commit may have left there.

        A full disk takes commits again when the log can begin anew. A commit whose fsync fails leaves whole frames in
        the log; a kill before the next commit would bring back a batch whose caller was told that it failed. The value
        has to differ, because SQLite writes nothing for one that is there already.
        """
        log.error("database_commit_failed", reason=str(error) or repr(error))
        with _logged("database_rollback_failed"):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        with _logged("database_checkpoint_failed"):
            self._checkpoint()
        with _logged("database_log_not_cleaned"):
            now = datetime.now(UTC).isoformat()
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('commit_refused_at', ?)", (now,))

    def _checkpoint(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _unwritable(self, error: BaseException) -> Exception:
        """The error a caller is told; what is neither the disk's nor the file's fault stays what it is."""
        if not isinstance(error, sqlite3.Error | OSError):
            return _harmless(error)
        return _state_error(error, f"The change was not saved in {self.folder.database_path}")

    def _read[T](self, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("PRAGMA query_only = ON")
        try:
            return fn(self._connection)
        except sqlite3.Error as error:
            if _is_corrupt(error):
                raise _state_error(error, f"{self.folder.database_path} could not be read") from error
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA query_only = OFF")

    def _copy(self) -> Path:
        copies = self.folder.copies()
        if copies and not self._changed:
            return copies[0][1]
        root = self.folder.path / COPIES_NAME
        path = root / f"rooftree-{copies[0][0] + 1 if copies else 1}.db"
        try:
            if not root.exists():
                root.mkdir()
                flush_to_disk(self.folder.path)
            with _replacement(path) as temporary:
                _copy_into(self._connection, temporary)
                _inspect(temporary)
                _refuse_damaged_documents(temporary)
            for _, older in copies[COPIES_KEPT - 1 :]:
                older.unlink()
        except _Damaged as damage:
            raise StateDamaged(
                f"{self.folder.database_path} {damage}; no copy was made of it, the older ones are kept. "
                "Restart Rooftree: it restores what is damaged"
            ) from damage
        except (sqlite3.Error, OSError) as error:
            raise _state_error(error, "The database was not copied; the older copies are kept") from error
        self._changed = False
        return path

    def _open(self) -> None:
        """Nothing is written when all is well: Rooftree starts on a full disk too."""
        try:
            losses = _prepare_file(self.folder)
            self._connection = _connect_to_write(self.folder.database_path)
            try:
                meta = dict(self._connection.execute("SELECT key, value FROM meta"))
                known = [structure(orjson.loads(body), Loss) for (body,) in self._connection.execute(_ALL_LOSSES)]
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise _state_error(error, f"The database {self.folder.database_path} can't be opened") from error
        self._opened = True
        self._marked_running = meta.get("running") == "1"
        newest = self.folder.copies()[:1]
        self._changed = self._marked_running or bool(losses) or [meta.get("copied_as")] != [str(n) for n, _ in newest]
        self._losses.by_id = {loss.id: loss for loss in (*known, *losses)}
        for loss in losses:
            log.error("state_lost", kind=loss.kind, message=loss.message)
            with _logged("loss_not_stored"):
                _insert_loss(self._connection, loss)

    def _abandon(self) -> None:
        """End what nobody waited for, or what could not be opened."""
        if self._opened:
            self._close()

    def _close(self) -> None:
        with closing(self._connection):
            with _logged("database_copy_failed"):
                self._copy()
            with _logged("database_checkpoint_failed"):
                newest = "" if self._changed else str(self.folder.copies()[0][0])
                closed = [("running", "0"), ("copied_as", newest)]
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", closed)
                self._connection.execute("COMMIT")
                busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, bool(busy))


def _attempt(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except BaseException as error:
        return None, _harmless(error)


def _harmless(error: BaseException) -> Exception:
    """What may be raised on the loop: a caller's ``SystemExit`` in the writer thread must not end the daemon there."""
    if isinstance(error, Exception):
        return error
    wrapped = RuntimeError(f"{error!r} in the database's thread")
    wrapped.__cause__ = error
    return wrapped


@contextmanager
def _logged(event: str) -> Iterator[None]:
    """Go on after a failure that is told elsewhere or has no one to tell, with a line in the log."""
    try:
        yield
    except (Unavailable, sqlite3.Error, OSError) as error:
        log.error(event, reason=str(error))


def _is_corrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _state_error(error: sqlite3.Error | OSError, what: str) -> Exception:
    """What a refusal of SQLite or the system means to a caller, with what to do; a statement's own error stays."""
    if isinstance(error, sqlite3.Error):
        if _is_corrupt(error):
            return StateDamaged(f"{what}: it is damaged ({error}). Restart Rooftree: it restores the newest good copy")
        if is_damage(error):
            return error
    return StateUnwritable(f"{what}: {error}. Free space on that disk, or see what is wrong with it, and try again")


# What follows is about the file: what makes it good, copies of it, and what takes the place of a damaged one.


class _Damaged(Exception):
    """A database file is not what it should be; the text continues a sentence that begins with its name."""


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
        parts = (self.collection, self.key, self.body, self.sum)
        return (
            all(type(part) is bytes for part in parts)
            and type(self.version) is int
            and self.sum == document_sum(self.collection, self.key, self.version, self.body)
        )


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
            for found in stored_documents(connection, collection, key):
                if found.is_intact and acceptable(found):
                    return found, path, _copied_at(meta)
    return None


def _refuse_damaged_documents(path: Path) -> None:
    with _connect_to_look(path) as connection:
        damaged = sum(not row.is_intact for row in stored_documents(connection))
    if damaged:
        raise _Damaged(f"has {damaged} damaged documents")


@contextmanager
def _connect_to_look(path: Path, *, with_log: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to look at ``path`` as it lies there, or as it is with its log; either way nothing is written."""
    query = "mode=rw" if with_log else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{query}", uri=True, isolation_level=None)) as connection:
        if with_log:
            _own(connection)
            connection.execute("PRAGMA query_only = ON")
        yield connection


def _own(connection: sqlite3.Connection) -> None:
    """Settings for the only connection that a file has.

    Exclusive locking does without shared memory, a file that a full disk would refuse, and keeps other programs from
    removing the log. We remove it only when the file says that it was closed: a missing log is otherwise a loss.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def _connect_to_write(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    _own(connection)
    for pragma in (
        "journal_mode = WAL",
        f"wal_autocheckpoint = {LOG_PAGES_LIMIT}",
        f"journal_size_limit = {LOG_SIZE_LIMIT_BYTES}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "mmap_size = 0",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


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
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
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


def _prepare_file(folder: DataFolder) -> list[Loss]:
    """Leave a good database at its place, whatever was there; returns what was lost on the way."""
    path = folder.database_path
    _remove_unfinished(folder)
    if folder.first_start:
        if not os.path.lexists(path):
            with _replacement(path) as temporary:
                _create(temporary, folder.instance_id)
                _finish(temporary)
        folder.end_first_start()
    found = _read_log(path)
    losses = list(folder.losses)
    try:
        meta = _inspect(path, with_log=found.readable)
    except _Damaged as damage:
        return [*losses, _restore(folder, str(damage))]
    if found.damage or (not found.readable and meta.get("running") == "1"):
        losses.append(_set_log_aside(folder, found))
    stored_id = meta.get("instance_id")
    if stored_id and stored_id != folder.instance_id:
        losses.append(folder.replace_instance_id(stored_id, "differed from the database", path))
    return losses


def _remove_unfinished(folder: DataFolder) -> None:
    """Remove what a kill left of a copy or a replacement."""
    for root in (folder.path, folder.path / COPIES_NAME):
        for leftover in root.glob(".rooftree*.tmp*"):
            leftover.unlink(missing_ok=True)


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


def _unjournaled(connection: sqlite3.Connection) -> None:
    """For a file that nobody uses yet, and that is flushed as a whole before it is."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


def _create(path: Path, instance_id: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _unjournaled(connection)
        connection.executescript(f"BEGIN; {_SCHEMA}")
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("schema", str(SCHEMA_VERSION)), ("instance_id", instance_id), ("running", "0")],
        )
        connection.execute("COMMIT")


def _copy_into(source: sqlite3.Connection, path: Path) -> None:
    """A copy without a log of its own, that says when it was made."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        source.backup(connection)
        reach_sync("database.copying")
        _unjournaled(connection)
        connection.execute("UPDATE meta SET value = '0' WHERE key = 'running'")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('copied_at', ?)", (datetime.now(UTC).isoformat(),))


def _finish(path: Path, loss: Loss | None = None) -> None:
    """Make a new or copied file ready for its place: with the loss it stands for, and in the mode it is used in."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _unjournaled(connection)
        if loss is not None:
            _insert_loss(connection, loss)
        connection.execute("PRAGMA journal_mode = WAL")


def _insert_loss(connection: sqlite3.Connection, loss: Loss) -> None:
    connection.execute("INSERT OR REPLACE INTO loss VALUES (?, ?)", (loss.id, orjson.dumps(unstructure(loss))))


def _beside(path: Path) -> list[Path]:
    """What belongs to the database at ``path``, itself first: without it, its log is never taken for another's."""
    return [path, _log_path(path), *(path.with_name(path.name + suffix) for suffix in ("-shm", "-journal"))]


def _restore(folder: DataFolder, damage: str) -> Loss:
    """Put the newest good copy, or an empty database, in place of the damaged one, which is kept."""
    path = folder.database_path
    copy, meta = next(_good_copies(folder), (None, {}))
    into = folder.new_set_aside() if any(map(os.path.lexists, _beside(path))) else None
    as_of = _copied_at(meta)
    parts = [
        f"The database {path.name} {damage}",
        f"what was there is kept in {into}" if into else "nothing of it was left",
        f"the copy {copy.name} of {as_of:%Y-%m-%d %H:%M} UTC is used, later changes are lost"
        if copy and as_of
        else f"the copy {copy.name} is used, later changes are lost"
        if copy
        else "there was no good copy: Rooftree begins with an empty one; restore a backup",
    ]
    loss = Loss("database", "; ".join(parts), into, copy, as_of)
    try:
        with _replacement(path) as temporary:
            if copy is None:
                _create(temporary, folder.instance_id)
            else:
                shutil.copyfile(copy, temporary)
            _finish(temporary, loss)
            if into is not None:
                folder.set_aside(into, *_beside(path))
            reach_sync("database.restore")
    except BaseException:
        if into is not None:
            with suppress(OSError):  # not empty: the damaged files are in it already
                into.rmdir()
        raise
    return loss


def _set_log_aside(folder: DataFolder, found: _Log) -> Loss:
    """Keep a damaged log for later looks. One that can be read in part stays at its place as well."""
    path = folder.database_path
    log_path = _log_path(path)
    into = folder.new_set_aside() if os.path.lexists(log_path) else None
    if into is not None and found.readable:
        shutil.copyfile(log_path, into / log_path.name)
        flush_to_disk(into / log_path.name)
        folder.set_aside(into)
    elif into is not None:
        folder.set_aside(into, log_path)
    as_of = None if found.readable else datetime.fromtimestamp(path.stat().st_mtime, UTC)
    parts = [
        f"The log {log_path.name} of the database {found.damage or 'is missing'}",
        f"the database is used as of {as_of:%Y-%m-%d %H:%M} UTC, later changes are lost"
        if as_of
        else "the changes behind the damage are lost",
        f"what was there is kept in {into}" if into else "nothing of it was left",
    ]
    return Loss("database_log", "; ".join(parts), into, path, as_of)


def _log_path(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


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
    log_path = _log_path(path)
    if not os.path.lexists(log_path):
        return _Log(readable=False)
    if not log_path.is_file():
        return _Log(readable=False, damage="is not a file")
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
            _, size_after_commit, *frame_salts = _LOG_FRAME.unpack_from(frame)[:4]
            if intact:
                sums = _log_sums(order, frame[_LOG_FRAME.size :], _log_sums(order, frame[:8], sums))
                intact = frame_salts == salts and sums == _LOG_FRAME.unpack_from(frame)[4:]
            if not intact and frame_salts == salts:
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
