"""The step journal: the durable record of jobs and their steps.

A job's whole plan is written in the transaction that accepts it, each step's intent before it is done and its outcome
after. What a kill leaves open is found here at the next start. On a full disk a job that was accepted is still written
to its end, out of the disk's reserve; a new one only when it makes room.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson
from attrs import frozen

from rooftree.jobs.phases import Phase
from rooftree.jobs.plans import ChildRecord
from rooftree.state import AUDIT_SCHEMA, KEEPING, AuditKeeping, Change, Database, View, record_audit

KEEP = 1_000
"""Finished jobs that are kept; older ones are forgotten as new ones come."""
SHARES = 4
"""One caller's jobs may be such a part of them: who begins very many replaces its own."""

_SELECT_JOB = (
    "SELECT id, name, reference, owner, caller, recovery, locks, state, listed, errors, created, ended, children"
    " FROM job WHERE "
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, name TEXT NOT NULL, reference TEXT, owner TEXT NOT NULL,
    caller TEXT, recovery TEXT NOT NULL, locks BLOB NOT NULL, state TEXT NOT NULL, listed INTEGER NOT NULL,
    errors BLOB NOT NULL, created TEXT NOT NULL, ended TEXT, children BLOB NOT NULL DEFAULT '[]'
);
CREATE TABLE IF NOT EXISTS step (
    job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL, kind TEXT NOT NULL,
    arguments BLOB NOT NULL, state TEXT NOT NULL, before BLOB, result BLOB, started TEXT, ended TEXT,
    subject TEXT, PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS job_open ON job(state) WHERE ended IS NULL;
"""
_ADDED = {"job": ("children", "BLOB NOT NULL DEFAULT '[]'"), "step": ("subject", "TEXT")}
"""Columns that the first tables did not have."""


class StepState(enum.StrEnum):
    """Where a step is. ``DOING`` says that it may have been done not at all, by half, or wholly."""

    PLANNED = "planned"
    DOING = "doing"
    DONE = "done"
    UNDONE = "undone"
    NOT_UNDONE = "not_undone"
    """It was to be taken back, and that failed, or can't be."""


@frozen(kw_only=True)
class StepRecord:
    """A row of the journal."""

    kind: str
    arguments: Any
    state: StepState = StepState.PLANNED
    before: Any = None
    result: Any = None
    subject: str | None = None


@frozen(kw_only=True)
class JobRecord:
    """A job with its steps, as the journal has it."""

    id: str
    name: str
    reference: str | None
    owner: str
    caller: str | None
    recovery: str
    created: datetime
    locks: tuple[tuple[str, ...], ...] = ()
    """As :func:`rooftree.jobs.locks.written` makes them."""
    phase: Phase = Phase.RUNNING
    listed: bool = False
    errors: tuple[dict[str, Any], ...] = ()
    ended: datetime | None = None
    steps: tuple[StepRecord, ...] = ()
    children: tuple[ChildRecord, ...] = ()


@frozen
class _Sql(Change):
    """A change made of statements."""

    run: Callable[[sqlite3.Connection], Any]

    def apply(self, connection: sqlite3.Connection, view: View) -> Any:
        return self.run(connection)


class Journal:
    """Writes and reads the journal. Every method that writes is one durable transaction."""

    def __init__(self, database: Database, keeping: AuditKeeping = KEEPING) -> None:
        self._database = database
        self._keeping = keeping

    @classmethod
    async def open(cls, database: Database, keeping: AuditKeeping = KEEPING) -> Journal:
        """The journal in that database, its tables made when they are not there.

        :param keeping: how much of the audit log is kept
        """

        def make(connection: sqlite3.Connection) -> None:
            for statement in (*_SCHEMA.split(";"), *AUDIT_SCHEMA.split(";")):
                if statement.strip():
                    connection.execute(statement)
            for table, (column, kind) in _ADDED.items():
                if column not in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")

        if not await database.read(_has_tables):  # nothing is written for nothing: a start works on a full disk too
            await database.commit(_Sql(make))
        return cls(database, keeping)

    async def accept(self, job: JobRecord, *, makes_room: bool) -> None:
        """Write a job and its whole plan: from here on it can't be lost."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO job VALUES"
                " (?, (SELECT coalesce(max(sequence), 0) + 1 FROM job), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                (job.id, job.name, job.reference, job.owner, job.caller, job.recovery, orjson.dumps(job.locks),
                 job.phase, job.listed, orjson.dumps(job.errors), job.created.isoformat(),
                 orjson.dumps([attrs.asdict(child) for child in job.children])),
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO step (job, number, kind, arguments, state, subject) VALUES (?, ?, ?, ?, ?, ?)",
                [(job.id, n, s.kind, orjson.dumps(s.arguments), s.state, s.subject) for n, s in enumerate(job.steps)],
            )
            record_audit(connection, job.caller, job.name, job.reference, "begun", job.id, self._keeping)
            _forget_old(connection, job.caller)

        await self._database.commit(_Sql(write), makes_room=makes_room)

    async def begin_step(self, job: str, number: int, before: Any) -> None:
        """The intent: this step is about to be done, and this is what undoing it will need."""
        await self._write(
            lambda connection: _update_step(
                connection, job, number, state=StepState.DOING, before=orjson.dumps(before), started=_timestamp()
            )
        )

    async def end_step(self, job: str, number: int, result: Any, outcome: str = "done") -> None:
        """The step is over; ``outcome`` is for the audit log: one that only tidies may have failed."""
        await self._end_step(job, number, outcome, state=StepState.DONE, result=orjson.dumps(result))

    async def undo_step(self, job: str, number: int, state: StepState = StepState.UNDONE) -> None:
        """The step was taken back, or it was tried in vain."""
        await self._end_step(job, number, state.value, state=state)

    async def _end_step(self, job: str, number: int, outcome: str, **values: object) -> None:
        def write(connection: sqlite3.Connection) -> None:
            _update_step(connection, job, number, ended=_timestamp(), **values)
            self._audit_step(connection, job, number, outcome)

        await self._write(write)

    async def cancel(self, job: str, who: str, errors: Sequence[dict[str, Any]]) -> None:
        """Somebody has cancelled the job: from here on it only goes back, after a kill too."""

        def write(connection: sqlite3.Connection) -> None:
            _update_open_job(connection, job, state=Phase.UNDOING, errors=orjson.dumps(errors), listed=True)
            self._audit_job(connection, job, "cancelled", who)

        await self._write(write)

    async def fail(
        self, job: str, errors: Sequence[dict[str, Any]], number: int | None = None, outcome: str = "failed"
    ) -> None:
        """The job has failed, in the step of that number if it had begun one, and its steps are being taken back."""

        def write(connection: sqlite3.Connection) -> None:
            _update_open_job(connection, job, state=Phase.UNDOING, errors=orjson.dumps(errors), listed=True)
            if number is not None:
                self._audit_step(connection, job, number, outcome)

        await self._write(write)

    async def end(self, job: str, phase: Phase, errors: Sequence[dict[str, Any]], *, listed: bool) -> None:
        """The job has ended."""
        cancelled = any(error["type"] == "JobCancelled" for error in errors)

        def write(connection: sqlite3.Connection) -> None:
            ended = _timestamp()
            _update_open_job(connection, job, state=phase, errors=orjson.dumps(errors), listed=listed, ended=ended)
            self._audit_job(connection, job, "undone" if cancelled else phase.value)

        await self._write(write)

    async def forget(self, job: str) -> None:
        """Take a finished job off the list; its record stays until newer ones push it out."""
        await self._write(lambda connection: connection.execute("UPDATE job SET listed = 0 WHERE id = ?", (job,)))

    async def open_jobs(self) -> list[JobRecord]:
        """The jobs that a kill left open, oldest first."""
        return await self._select("ended IS NULL ORDER BY sequence")

    async def listed_jobs(self, most: int) -> list[JobRecord]:
        """Finished jobs that are still to be shown, newest first."""
        return await self._select("ended IS NOT NULL AND listed = 1 ORDER BY sequence DESC LIMIT ?", most)

    async def find(self, job: str) -> JobRecord | None:
        """One job, by its own id or that of a child; ``None`` when the journal has none."""
        return next(iter(await self._select("id = ? OR instr(children, ?) > 0", job, f'"{job}"')), None)

    async def _select(self, condition: str, *values: object) -> list[JobRecord]:
        def read(connection: sqlite3.Connection) -> list[JobRecord]:
            rows = connection.execute(_SELECT_JOB + condition, values).fetchall()
            return [_job_record(row, connection) for row in rows]

        return await self._database.read(read)

    async def _write(self, run: Callable[[sqlite3.Connection], Any]) -> None:
        """What goes on with a job that was accepted is written out of the disk's reserve, if need be."""
        await self._database.commit(_Sql(run), makes_room=True)

    def _audit_job(self, connection: sqlite3.Connection, job: str, outcome: str, who: str | None = None) -> None:
        row = connection.execute("SELECT caller, name, reference FROM job WHERE id = ?", (job,)).fetchone()
        if row is not None:
            caller, name, reference = row
            record_audit(connection, who or caller, name, reference, outcome, job, self._keeping)

    def _audit_step(self, connection: sqlite3.Connection, job: str, number: int, outcome: str) -> None:
        row = connection.execute(
            "SELECT caller, step.kind, subject FROM step JOIN job ON job.id = step.job WHERE job = ? AND number = ?",
            (job, number),
        ).fetchone()
        if row is not None:
            caller, kind, subject = row
            record_audit(connection, caller, kind, subject, outcome, job, self._keeping)


def _update_step(connection: sqlite3.Connection, job: str, number: int, **values: object) -> None:
    assignments = ", ".join(f"{column} = ?" for column in values)
    sql = f"UPDATE step SET {assignments} WHERE job = ? AND number = ?"  # noqa: S608  # columns are named here
    connection.execute(sql, (*values.values(), job, number))


def _update_open_job(connection: sqlite3.Connection, job: str, **values: object) -> None:
    assignments = ", ".join(f"{column} = ?" for column in values)
    sql = f"UPDATE job SET {assignments} WHERE id = ? AND ended IS NULL"  # noqa: S608  # columns are named here
    connection.execute(sql, (*values.values(), job))


def _has_tables(connection: sqlite3.Connection) -> bool:
    """Whether a journal of this form is there."""
    named = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'index')")}
    return {"job", "step", "job_open", "audit", "audit_who"} <= named and all(
        column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for table, (column, _) in _ADDED.items()
    )


def _forget_old(connection: sqlite3.Connection, caller: str | None) -> None:
    """Forget the oldest jobs that have ended: of this caller's beyond its share, and of all beyond what is kept."""
    latest = "SELECT sequence FROM job {} ORDER BY sequence DESC LIMIT 1 OFFSET ?"
    old = "DELETE FROM job WHERE ended IS NOT NULL AND sequence <= "
    share = f"{old} ({latest.format('WHERE caller IS ?')}) AND caller IS ?"
    connection.execute(share, (caller, KEEP // SHARES, caller))
    connection.execute(f"{old} ({latest.format('')})", (KEEP,))


def _job_record(row: tuple[Any, ...], connection: sqlite3.Connection) -> JobRecord:
    steps = connection.execute(
        "SELECT kind, arguments, state, before, result, subject FROM step WHERE job = ? ORDER BY number", (row[0],)
    ).fetchall()
    return JobRecord(
        id=row[0],
        name=row[1],
        reference=row[2],
        owner=row[3],
        caller=row[4],
        recovery=row[5],
        locks=tuple(map(tuple, orjson.loads(row[6]))),
        phase=Phase(row[7]),
        listed=bool(row[8]),
        errors=tuple(orjson.loads(row[9])),
        created=datetime.fromisoformat(row[10]),
        ended=datetime.fromisoformat(row[11]) if row[11] else None,
        steps=tuple(
            StepRecord(
                kind=kind,
                arguments=orjson.loads(arguments),
                state=StepState(state),
                before=_loaded(before),
                result=_loaded(result),
                subject=subject,
            )
            for kind, arguments, state, before, result, subject in steps
        ),
        children=tuple(ChildRecord(**child) for child in orjson.loads(row[12])),
    )


def _loaded(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat()
