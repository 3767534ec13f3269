"""The database in memory: one thread that writes, batches that share an fsync, mirrors that follow.

Batches of changes that arrive together share one transaction and one fsync (group commit), yet each is atomic on its
own. Who keeps a part in memory is told once it is durable. The file itself is the affair of ``database_file``.
On a full disk, what makes room is still saved, out of the ``disk_reserve``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Protocol, Self

import structlog
from attrs import define, field, frozen

from rooftree.errors import Stopping, Unavailable
from rooftree.state.database_file import (
    StateUnwritable,
    connect,
    insert_loss,
    is_corrupt,
    make_copy,
    prepare_file,
    state_error,
    stored_losses,
)
from rooftree.state.disk_reserve import DiskReserve, is_disk_full
from rooftree.state.failpoints import reach_sync
from rooftree.state.folder import DataFolder, Loss

log = structlog.get_logger(__name__)

GROUP_LIMIT: Final = 256
"""Batches that share one transaction at most, so that the first of them doesn't wait for long."""


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
        batch and reaches the caller. Be quick, and touch nothing but ``connection`` and ``view``: on a full disk it
        may be called a second time, after the first was undone.
        """


@define
class _Call:
    """What somebody waits for: ``work`` in the writer's thread, or without it a batch of changes."""

    future: asyncio.Future[Any]
    work: Callable[[], Any] | None
    changes: tuple[Change, ...]
    is_last: bool
    makes_room: bool = False
    view: View = field(factory=View)
    result: Any = None
    error: Exception | None = None

    def deliver(self) -> None:
        """On the loop: tell who waits."""
        if self.future.done():  # its caller was cancelled
            if self.error is not None:
                log.error("database_call_failed_after_its_caller_left", reason=repr(self.error))
        elif self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@define(eq=False)
class _Losses:
    """The losses nobody was told of yet."""

    by_id: dict[str, Loss] = field(factory=dict)

    def swap(self, changes: Mapping[str, Loss | None]) -> None:
        self.by_id = {key: loss for key, loss in {**self.by_id, **changes}.items() if loss is not None}


@frozen
class _NoteLoss:
    """Note a loss, or forget one that was told of."""

    losses: _Losses
    loss: Loss
    told: bool

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        if self.told:
            connection.execute("DELETE FROM loss WHERE id = ?", (self.loss.id,))
        else:
            insert_loss(connection, self.loss)
        view.changed(self.losses, self.loss.id, None if self.told else self.loss)


class Database:
    """The open database. Made by :meth:`open`; every method belongs to the loop that opened it."""

    def __init__(self, folder: DataFolder, reserve_bytes: int) -> None:
        self.folder = folder
        self.on_disk_full: Callable[[], None] = lambda: None
        """Called on the loop when a change met a full disk; set by whoever tells people."""
        self._reserve = DiskReserve(folder.path, reserve_bytes, Path(f"{folder.database_path}-wal"))
        self._queue: SimpleQueue[_Call] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._losses = _Losses()
        self._closing: asyncio.Future[None] | None = None
        self._changed = True
        self._opened = False
        self._marked_running = False
        self._met_full_disk = False
        self._connection: sqlite3.Connection

    @classmethod
    async def open(cls, folder: DataFolder, reserve_bytes: int = 0) -> Self:
        """Open the database of ``folder``; a damaged or missing one is restored first (see :attr:`losses`).

        ``reserve_bytes`` is how much room is to be kept for a full disk (see :meth:`keep_reserve`).

        Raises :class:`NewerState`, or :class:`StateUnwritable` when the disk refuses; both leave the files as they
        were.
        """
        database = cls(folder, reserve_bytes)
        opening = database._ask(database._open)
        await asyncio.to_thread(Thread(target=database._run, name="database", daemon=True).start)
        try:
            await asyncio.shield(opening)
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What was found damaged, now or at an earlier start, and was not told of yet (see :meth:`forget_loss`)."""
        return tuple(self._losses.by_id.values())

    def record(self, loss: Loss) -> Change:
        """The change that notes a loss, to be committed with the repair that it tells of."""
        return _NoteLoss(self._losses, loss, told=False)

    def forget_loss(self, loss: Loss) -> Change:
        """The change that forgets a loss: commit it together with the problem that tells the operator."""
        return _NoteLoss(self._losses, loss, told=True)

    async def commit(self, *changes: Change, makes_room: bool = False) -> list[Any]:
        """Make all ``changes`` durable in one transaction, or none; returns what each one's ``apply`` returned.

        Raises what a change raised, :class:`StateUnwritable` when the disk refuses, :class:`StateDamaged`. Once
        called, the batch takes place even when the caller is cancelled while it waits.

        :param makes_room: it leads to more room on the disk, or ends what has begun: on a full disk it has the reserve
        """
        return await self._ask(None, changes, makes_room=makes_room)

    async def read[T](self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``fn`` in the writer's thread, after all that was committed before; it can't write."""
        return await self._ask(partial(self._read, fn))

    async def keep_reserve(self) -> bool:
        """Have the reserve for a full disk in its place; whether the disk has room for it, and some to spare."""
        return await self._ask(self._reserve.keep)

    async def copy(self) -> Path:
        """Make a consistent copy, verified and durable, and keep the newest three; returns it.

        When nothing changed since the newest one, that is the copy. Raises :class:`StateUnwritable` or
        :class:`StateDamaged`; then the older copies are as they were.
        """
        return await self._ask(self._copy)

    async def close(self) -> None:
        """Do what is queued, copy, close the file; safe to call twice. A copy that fails is logged, not raised."""
        if self._closing is None:
            self._closing = self._ask(self._close, is_last=True)
        await asyncio.shield(self._closing)

    def _ask[T](
        self,
        work: Callable[[], T] | None,
        changes: tuple[Change, ...] = (),
        *,
        is_last: bool = False,
        makes_room: bool = False,
    ) -> asyncio.Future[T]:
        if self._closing is not None:
            raise Stopping("Rooftree is stopping: its database takes no more calls. Try again when it runs again")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Call(future, work, changes, is_last, makes_room))
        return future

    def _deliver(self, calls: list[_Call]) -> None:
        """On the loop: first memory, then whoever waits, in commit order."""
        changes: dict[Mirror, dict[str, Any]] = {}
        for call in calls:
            if call.error is None:
                for mirror, values in call.view.changes.items():
                    changes.setdefault(mirror, {}).update(values)
        try:
            for mirror, values in changes.items():
                mirror.swap(values)
        finally:
            for call in calls:
                call.deliver()
        if self._met_full_disk:
            self._met_full_disk = False
            self.on_disk_full()

    # From here on: the writer thread.

    def _run(self) -> None:
        calls: list[_Call] = []
        while not (calls and calls[-1].is_last):
            # Batches that came one after the other are one group; other work stands alone.
            for _, group in groupby(self._next_calls(), key=lambda call: call.work and id(call)):
                calls = list(group)
                if calls[0].work is None:
                    self._commit_group(calls)
                else:
                    _attempt(calls[0], calls[0].work)
                try:
                    self._loop.call_soon_threadsafe(self._deliver, calls)
                except RuntimeError:  # the loop was closed, the database was not; what was committed stays committed
                    log.exception("database_results_not_delivered", count=len(calls))

    def _next_calls(self) -> list[_Call]:
        calls = [self._queue.get()]
        with suppress(Empty):
            while len(calls) < GROUP_LIMIT:
                calls.append(self._queue.get_nowait())
        return calls

    def _commit_group(self, batches: list[_Call]) -> None:
        """Commit the batches together; on a full disk, out of the reserve, at least those that make room."""
        if self._reserve.lent and not self._reserve.keep():
            self._refuse(batches, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        else:
            error = self._write_group(batches)
            if error is None:
                return
            self._refuse(batches, error)
            if not is_disk_full(error):
                return
            self._met_full_disk = True
            if not any(batch.makes_room for batch in batches) or not (self._reserve.lent or self._reserve.lend()):
                return
        urgent = [batch for batch in batches if batch.makes_room]
        for batch in urgent:
            batch.error, batch.view = None, View()
        if urgent and (error := self._write_group(urgent)) is not None:
            self._refuse(urgent, error)
        self._reserve.secure()

    def _refuse(self, batches: list[_Call], error: BaseException) -> None:
        for batch in batches:
            batch.error = batch.error or self._unwritable(error)

    def _write_group(self, batches: list[_Call]) -> BaseException | None:
        """Make the batches durable; why not even one of them is, if that is so."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._marked_running:
                self._connection.execute("UPDATE meta SET value = '1' WHERE key = 'running'")
            for batch in batches:
                self._apply(batch)
            reach_sync("database.before_commit")
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._give_up_group(error)
            return error
        self._changed = True
        if not self._marked_running:
            self._marked_running = True
            with _logged("database_checkpoint_failed"):
                self._checkpoint()
        reach_sync("database.after_commit")  # for kill: what is durable can't fail any more
        return None

    def _apply(self, batch: _Call) -> None:
        """Note the batch's answers, or why it failed and was undone; raises when the group's transaction is gone."""
        connection = self._connection
        connection.execute("SAVEPOINT batch")
        try:
            batch.result = [change.apply(connection, batch.view) for change in batch.changes]
        except BaseException as error:
            if not connection.in_transaction or is_disk_full(error):  # SQLite gave up all of it, or is about to
                raise
            connection.execute("ROLLBACK TO batch")
            batch.error = self._unwritable(error) if isinstance(error, sqlite3.Error) else _harmless(error)
        if not connection.in_transaction:
            raise RuntimeError(f"a change ended the transaction it was given; the batch was {batch.changes!r}")
        connection.execute("RELEASE batch")

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
        what = f"The change was not saved in {self.folder.database_path}"
        if not is_disk_full(error) and self.folder.is_read_only():  # SQLite has no word for that but an I/O error
            return StateUnwritable(
                f"{what}: its disk is read-only ({error}). Make it writable, and try again; a disk on which the kernel "
                "found an error has to be checked first"
            )
        return state_error(error, what)

    def _read[T](self, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("PRAGMA query_only = ON")
        try:
            return fn(self._connection)
        except sqlite3.Error as error:
            if is_corrupt(error):
                raise state_error(error, f"{self.folder.database_path} could not be read") from error
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA query_only = OFF")

    def _copy(self) -> Path:
        try:
            if not self._changed and (copies := self.folder.copies()):
                return copies[0][1]
        except OSError as error:
            raise state_error(error, "The copies of the database can't be looked at") from error
        path = make_copy(self._connection, self.folder)
        self._changed = False
        return path

    def _open(self) -> None:
        """Nothing is written when all is well: Rooftree starts on a full disk too."""
        try:
            losses = prepare_file(self.folder)
            self._connection = connect(self.folder.database_path)
            try:
                meta = dict(self._connection.execute("SELECT key, value FROM meta"))
                known = stored_losses(self._connection)
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise state_error(error, f"The database {self.folder.database_path} can't be opened") from error
        self._opened = True
        self._marked_running = meta.get("running") == "1"
        newest = [str(number) for number, _ in self.folder.copies()[:1]]
        self._changed = self._marked_running or bool(losses) or [meta.get("copied_as")] != newest
        self._losses.by_id = {loss.id: loss for loss in (*known, *losses)}
        for loss in losses:
            log.error("state_lost", kind=loss.kind, message=loss.message)
            with _logged("loss_not_stored"):
                insert_loss(self._connection, loss)

    def _close(self) -> None:
        if not self._opened:
            return
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
        self._reserve.take_back()


def _attempt(call: _Call, work: Callable[[], Any]) -> None:
    try:
        call.result = work()
    except BaseException as error:
        call.error = _harmless(error)


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
