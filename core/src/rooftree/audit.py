"""The audit log: who did what, when, and how it went.

Rows are written in the transaction of what they tell of: a job's beginning, each step, its end, and every change of
documents that a caller asked for. They name kinds and objects, never arguments or contents: no secret can be in them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from rooftree.context import caller, job_under_way
from rooftree.database import Change, Database, View
from rooftree.services import Service

KEEP = 20_000
"""Rows that are kept; older ones are forgotten as new ones come."""
PAGE = 1_000
"""Rows that one page has at most."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, who TEXT, what TEXT NOT NULL, subject TEXT,
    outcome TEXT NOT NULL, job TEXT
)
"""
"""Its table, which the journal makes together with its own."""


@frozen(kw_only=True)
class AuditEntry:
    """One thing that was done."""

    sequence: int
    time: datetime
    who: str | None
    """The principal, as ``kind:id``; ``None`` for what Rooftree does of its own accord."""
    what: str
    """A job's name, a step's kind, or ``state`` for documents that were changed."""
    subject: str | None
    outcome: str
    """``begun``, ``done``, ``failed``, ``cancelled``, ``undone``, or ``not_undone`` where taking back did not work."""
    job: str | None
    """The job that it was part of."""


def record(
    connection: sqlite3.Connection, who: str | None, what: str, subject: str | None, outcome: str, job: str | None
) -> None:
    """Write a row, in the transaction under way."""
    written = connection.execute(
        "INSERT INTO audit (time, who, what, subject, outcome, job) VALUES (?, ?, ?, ?, ?, ?)",
        (datetime.now(UTC).isoformat(), who, what, subject, outcome, job),
    )
    connection.execute("DELETE FROM audit WHERE sequence <= ?", ((written.lastrowid or 0) - KEEP,))


@frozen(eq=False)
class _Asked:
    """The row of a change of documents that a caller asked for."""

    who: str
    subject: str

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        record(connection, self.who, "state", self.subject, "done", None)


def audited(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes with their row, where a caller asked for them; what a job changes is told by its steps."""
    who = caller.get()
    if who is None or job_under_way.get() is not None or not changes:
        return tuple(changes)
    return (*changes, _Asked(str(who), ", ".join(dict.fromkeys(map(_subject, changes)))))


def _subject(change: Any) -> str:
    kind = getattr(getattr(change, "collection", None), "kind", None)
    if kind is not None:
        return f"{kind.name}/{change.key}"
    return str(getattr(change, "subject", type(change).__name__))


class AuditLog:
    """Reads the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, before: int | None = None, limit: int = 100, who: str | None = None, job: str | None = None
    ) -> list[AuditEntry]:
        """Rows, the newest first: those before a sequence number, of one principal, of one job."""
        conditions = {"sequence < ?": before, "who = ?": who, "job = ?": job}
        given = {sql: value for sql, value in conditions.items() if value is not None}
        where = " AND ".join(("1", *given))
        sql = f"SELECT * FROM audit WHERE {where} ORDER BY sequence DESC LIMIT ?"  # noqa: S608  # the constants above

        def read(connection: sqlite3.Connection) -> list[AuditEntry]:
            return list(map(_entry, connection.execute(sql, (*given.values(), min(limit, PAGE)))))

        return await self._database.read(read)


def _entry(row: Iterable[Any]) -> AuditEntry:
    sequence, time, who, what, subject, outcome, job = row
    return AuditEntry(
        sequence=sequence, time=datetime.fromisoformat(time), who=who, what=what, subject=subject, outcome=outcome,
        job=job,
    )  # fmt: skip


AUDIT = Service[AuditLog]("audit/1")
