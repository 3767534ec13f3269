"""The audit log: who did what, when, and how it went.

Rows are written in the transaction of what they tell of: a job's beginning, each step, its end, and every change of
documents that a caller asked for. They name kinds and objects, never arguments or contents: no secret can be in them.
Each caller has a share of the log: one that does very much replaces its own rows, and nobody else's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from rooftree.context import caller, job_under_way
from rooftree.services import Service
from rooftree.state.database import Change, Database, View

PAGE = 1_000
"""Rows that one page has at most."""

AUDIT_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, who TEXT, what TEXT NOT NULL, subject TEXT,
    outcome TEXT NOT NULL, job TEXT
);
CREATE INDEX IF NOT EXISTS audit_who ON audit(who, sequence);
"""
"""Its table, which the journal makes together with its own."""


@frozen
class AuditKeeping:
    """How much is kept; older rows are forgotten as new ones come."""

    entries: int = 20_000
    """Rows in all. Beyond, the oldest go of who has the most."""
    share: int = 4_000
    """Rows of one caller, or of what Rooftree does of its own accord."""

    @property
    def looks_every(self) -> int:
        """After how many rows all are counted, which takes longer than to write one."""
        return max(1, self.entries // 256)


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


KEEPING: Final = AuditKeeping()
"""What is kept unless the operator says otherwise."""


def record_audit(
    connection: sqlite3.Connection,
    who: str | None,
    what: str,
    subject: str | None,
    outcome: str,
    job: str | None,
    keeping: AuditKeeping,
) -> None:
    """Write a row, in the transaction under way, and forget what is too old."""
    written = connection.execute(
        "INSERT INTO audit (time, who, what, subject, outcome, job) VALUES (?, ?, ?, ?, ?, ?)",
        (datetime.now(UTC).isoformat(), who, what, subject, outcome, job),
    )
    _keep_latest(connection, who, keeping.share)
    if (written.lastrowid or 0) % keeping.looks_every == 0:
        _keep_share_of_most(connection, keeping.entries)


def _keep_latest(connection: sqlite3.Connection, who: str | None, number: int) -> None:
    """Forget all rows of ``who`` but so many."""
    connection.execute(
        "DELETE FROM audit WHERE who IS ?1 AND sequence <= "
        "(SELECT sequence FROM audit WHERE who IS ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?2)",
        (who, number),
    )


def _keep_share_of_most(connection: sqlite3.Connection, entries: int) -> None:
    """Forget rows of those who have the most, until there are no more than ``entries`` in all."""
    counts: list[tuple[str | None, int]] = connection.execute(
        "SELECT who, count(*) FROM audit GROUP BY who ORDER BY 2 DESC"
    ).fetchall()
    surplus = sum(count for _, count in counts) - entries
    if surplus <= 0:
        return
    # Those who have the most are cut down to the same number, the largest with which all fit.
    below = sum(count for _, count in counts)
    for place, (_, count) in enumerate(counts):
        below -= count
        limit = (entries - below) // (place + 1)
        if place + 1 == len(counts) or limit >= counts[place + 1][1]:
            for who, number in counts[: place + 1]:
                if number > limit:
                    _keep_latest(connection, who, max(limit, 1))
            return


@frozen(eq=False)
class _AuditedRequest:
    """The row of a change of documents that a caller asked for."""

    who: str
    subject: str
    keeping: AuditKeeping

    def apply(self, connection: sqlite3.Connection, view: View) -> None:
        record_audit(connection, self.who, "state", self.subject, "done", None, self.keeping)


def audited(changes: Sequence[Change], keeping: AuditKeeping) -> tuple[Change, ...]:
    """The changes with their row, where a caller asked for them; what a job changes is told by its steps."""
    who = caller.get()
    if who is None or job_under_way.get() is not None or not changes:
        return tuple(changes)
    return (*changes, _AuditedRequest(str(who), ", ".join(dict.fromkeys(map(_subject, changes))), keeping))


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
