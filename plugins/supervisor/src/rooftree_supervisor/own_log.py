"""Rooftree's own log: the latest lines that the kernel keeps in memory, in the form of any other log."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rooftree import Stream
from rooftree.interfaces.containers import LogLine
from rooftree.logs import RecentLine, RecentLogs
from rooftree_containers.logs import LogQuery, LogSource, log_answer


def own_log(recent: RecentLogs, query: LogQuery, *, follow: bool = False) -> Stream:
    """The answer of a route of ``/supervisor/logs``."""
    lines = _following(recent, query.tail) if follow else _kept(recent, query.tail)
    return log_answer(lines, query, LogSource(identifier="rooftree", pid=os.getpid()))


async def _kept(recent: RecentLogs, tail: int | None) -> AsyncGenerator[LogLine]:
    for line in recent.lines(tail):
        yield _as_log_line(line)


async def _following(recent: RecentLogs, tail: int | None) -> AsyncGenerator[LogLine]:
    async with aclosing(recent.follow(sys.maxsize if tail is None else tail)) as lines:
        async for line in lines:
            yield _as_log_line(line)


def _as_log_line(line: RecentLine) -> LogLine:
    return LogLine(time=line.time, stream="stderr", text=line.text.encode("utf-8", "replace"))
