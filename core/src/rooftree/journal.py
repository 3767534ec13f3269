"""The step journal: the durable record of jobs and their steps.

A job's whole plan is written in the transaction that accepts it, each step's intent before it is done and its outcome
after. What a kill leaves open is found here at the next start.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from attrs import frozen

from rooftree.database import Change, Database, View

KEEP = 1_000
"""Finished jobs that are kept; older ones are forgotten as new ones come."""

_SELECT_JOB = (
    "SELECT id, name, reference, owner, caller, recovery, locks, state, listed, errors, created, ended FROM job WHERE "
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, name TEXT NOT NULL, reference TEXT, owner TEXT NOT NULL,
    caller TEXT, recovery TEXT NOT NULL, locks BLOB NOT NULL, state TEXT NOT NULL, listed INTEGER NOT NULL,
    errors BLOB NOT NULL, created TEXT NOT NULL, ended TEXT
);
CREATE TABLE IF NOT EXISTS step (
    job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE, number INTEGER NOT NULL, kind TEXT NOT NULL,
    arguments BLOB NOT NULL, state TEXT NOT NULL, before BLOB, result BLOB, started TEXT, ended TEXT,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS job_open ON job(state) WHERE ended IS NULL;
"""


class JobState(enum.StrEnum):
    """Where a job is. ``RUNNING`` and ``UNDOING`` are open: a start finds them and carries on."""

    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"


class StepState(enum.StrEnum):
    """Where a step is. ``DOING`` says that it may have been done not at all, by half, or wholly."""

    PLANNED = "planned"
    DOING = "doing"
    DONE = "done"
    UNDONE = "undone"


@frozen(kw_only=True)
class StepRecord:
    """A row of the journal."""

    kind: str
    arguments: Any
    state: StepState = StepState.PLANNED
    before: Any = None
    result: Any = None


@frozen(kw_only=True)
class JobRecord:
    """A job with its steps, as the journal has it."""

    id: str
    name: str
    reference: str | None
    owner: str
    caller: str | None
    recovery: str
    locks: tuple[tuple[str, str], ...]
    state: JobState
    listed: bool
    errors: tuple[dict[str, Any], ...]
    created: datetime
    ended: datetime | None
    steps: tuple[StepRecord, ...]


@frozen
class _Sql(Change):
    """A change made of statements."""

    run: Callable[[sqlite3.Connection], Any]

    def apply(self, connection: sqlite3.Connection, view: View) -> Any:
        return self.run(connection)


class Journal:
    """Writes and reads the journal. Every method that writes is one durable transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, database: Database) -> Journal:
        """The journal in that database, its tables made when they are not there."""

        def make(connection: sqlite3.Connection) -> None:
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    connection.execute(statement)

        await database.commit(_Sql(make))
        return cls(database)

    async def accept(self, job: JobRecord) -> None:
        """Write a job and its whole plan: from here on it can't be lost."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO job VALUES"
                " (?, (SELECT coalesce(max(sequence), 0) + 1 FROM job), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (job.id, job.name, job.reference, job.owner, job.caller, job.recovery, orjson.dumps(job.locks),
                 job.state, job.listed, orjson.dumps(job.errors), job.created.isoformat()),
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO step (job, number, kind, arguments, state) VALUES (?, ?, ?, ?, ?)",
                [(job.id, n, s.kind, orjson.dumps(s.arguments), s.state) for n, s in enumerate(job.steps)],
            )
            connection.execute(
                "DELETE FROM job WHERE ended IS NOT NULL AND sequence <= (SELECT max(sequence) FROM job) - ?", (KEEP,)
            )

        await self._database.commit(_Sql(write))

    async def begin_step(self, job: str, number: int, before: Any) -> None:
        """The intent: this step is about to be done, and this is what undoing it will need."""
        await self._step(
            job, number, "state = ?, before = ?, started = ?", StepState.DOING, orjson.dumps(before), _now()
        )

    async def end_step(self, job: str, number: int, result: Any) -> None:
        """The outcome: done."""
        await self._step(job, number, "state = ?, result = ?, ended = ?", StepState.DONE, orjson.dumps(result), _now())

    async def undo_step(self, job: str, number: int) -> None:
        """The step was taken back."""
        await self._step(job, number, "state = ?, ended = ?", StepState.UNDONE, _now())

    async def fail(self, job: str, errors: Sequence[dict[str, Any]]) -> None:
        """The job has failed and its steps are being taken back."""
        await self._job(job, "state = ?, errors = ?, listed = 1", JobState.UNDOING, orjson.dumps(errors))

    async def end(self, job: str, state: JobState, errors: Sequence[dict[str, Any]], *, listed: bool) -> None:
        """The job has ended."""
        await self._job(
            job, "state = ?, errors = ?, listed = ?, ended = ?", state, orjson.dumps(errors), listed, _now()
        )

    async def forget(self, job: str) -> None:
        """Take a finished job off the list; its record stays until newer ones push it out."""
        await self._job(job, "listed = 0")

    async def open_jobs(self) -> list[JobRecord]:
        """The jobs that a kill left open, oldest first."""
        return await self._select("ended IS NULL ORDER BY sequence")

    async def listed_jobs(self, most: int) -> list[JobRecord]:
        """Finished jobs that are still to be shown, newest first."""
        return await self._select("ended IS NOT NULL AND listed = 1 ORDER BY sequence DESC LIMIT ?", most)

    async def find(self, job: str) -> JobRecord | None:
        """One job, or ``None``."""
        return next(iter(await self._select("id = ?", job)), None)

    async def _select(self, condition: str, *values: object) -> list[JobRecord]:
        def read(connection: sqlite3.Connection) -> list[JobRecord]:
            jobs = connection.execute(
                _SELECT_JOB + condition,
                values,
            ).fetchall()
            return [_job_record(row, connection) for row in jobs]

        return await self._database.read(read)

    async def _job(self, job: str, assignments: str, *values: object) -> None:
        sql = f"UPDATE job SET {assignments} WHERE id = ?"  # noqa: S608  # the assignments are the constants above
        await self._database.commit(_Sql(lambda connection: connection.execute(sql, (*values, job)).rowcount))

    async def _step(self, job: str, number: int, assignments: str, *values: object) -> None:
        sql = f"UPDATE step SET {assignments} WHERE job = ? AND number = ?"  # noqa: S608  # constants above
        await self._database.commit(_Sql(lambda connection: connection.execute(sql, (*values, job, number)).rowcount))


def _job_record(row: tuple[Any, ...], connection: sqlite3.Connection) -> JobRecord:
    steps = connection.execute(
        "SELECT kind, arguments, state, before, result FROM step WHERE job = ? ORDER BY number", (row[0],)
    ).fetchall()
    return JobRecord(
        id=row[0],
        name=row[1],
        reference=row[2],
        owner=row[3],
        caller=row[4],
        recovery=row[5],
        locks=tuple((kind, name) for kind, name in orjson.loads(row[6])),
        state=JobState(row[7]),
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
            )
            for kind, arguments, state, before, result in steps
        ),
    )


def _loaded(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)


def _now() -> str:
    return datetime.now(UTC).isoformat()
