"""Rooftree's own log: from the system journal where systemd keeps what we write, else the latest lines in memory."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from functools import partial

from attrs import evolve, frozen

from rooftree import Kernel, NotFound, Service, Stream
from rooftree.interfaces.containers import LogLine
from rooftree.interfaces.journal import (
    HOST_BOOTS,
    SYSTEM_JOURNAL,
    JournalQuery,
    SystemJournal,
)
from rooftree.process import RecentLine, RecentLogs
from rooftree_containers.boots import BootReference
from rooftree_containers.container_log import journal_answer, unless_lost
from rooftree_containers.kept_log import KeptLog
from rooftree_containers.log_query import LogQuery
from rooftree_containers.logs import LogSource, closing

IDENTIFIER = "rooftree"
"""What our lines are called in the system journal: systemd.exec(5) takes the name of the program unless it is told."""


@frozen
class OwnLog:
    """See :class:`~rooftree_containers.log_routes.Log`.

    :param in_journal: whether what we write goes to the system journal
    """

    kernel: Kernel
    lines: RecentLogs
    in_journal: bool

    @classmethod
    async def load(cls, kernel: Kernel, lines: RecentLogs) -> OwnLog:
        """Find out where our lines go."""
        return cls(kernel, lines, await asyncio.to_thread(writes_to_journal, os.environ))

    async def recent(self, query: LogQuery, *, follow: bool) -> Stream:
        """The latest lines of our own log."""
        if (system_journal := self._system_journal()) is not None:
            with unless_lost(query):
                return await journal_answer(
                    system_journal, JournalQuery(identifiers=(IDENTIFIER,), follow=follow), query
                )
        return await self._in_memory().answer(query, follow=follow)

    async def latest(self, query: LogQuery) -> Stream:
        """What we have logged since we started, as far as it is kept."""
        return await self._in_memory().answer(query)

    async def boot(self, boot: BootReference, query: LogQuery, *, follow: bool) -> Stream:
        """What we logged in one boot of the host; without the system journal only this one is kept."""
        if (system_journal := self._system_journal()) is not None:
            with unless_lost(query):
                ids = await system_journal.boots()
                wanted = JournalQuery(identifiers=(IDENTIFIER,), follow=follow)
                return await journal_answer(system_journal, evolve(wanted, boot_id=ids[boot.place_among(ids)]), query)
        ids = [known.id for known in self.kernel.service(HOST_BOOTS).known()]
        if boot.place_among(ids) != len(ids) - 1:
            raise NotFound(
                "What Rooftree logged in an earlier boot is not kept: it does not write to the system journal. "
                "Ask for boot 0"
            )
        return await self._in_memory().answer(query, follow=follow)

    def _system_journal(self) -> SystemJournal | None:
        return self.kernel.find(SYSTEM_JOURNAL) if self.in_journal else None

    def _in_memory(self) -> KeptLog:
        return KeptLog(lines=partial(_kept, self.lines), source=LogSource(identifier=IDENTIFIER, pid=os.getpid()))


OWN_LOG = Service[OwnLog]("own_log/1")


def writes_to_journal(environment: Mapping[str, str]) -> bool:
    """Whether standard error is a line to the system journal: systemd.exec(5) names its device and inode."""
    try:
        device, _, inode = environment["JOURNAL_STREAM"].partition(":")
        status = os.fstat(2)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    except (KeyError, ValueError, OSError):
        return False


async def _kept(
    recent: RecentLogs, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
) -> AsyncGenerator[LogLine]:
    last = sys.maxsize if tail is None else tail
    async with closing(recent.follow(last) if follow else _as_they_are(recent.lines(last))) as lines:
        async for line in lines:
            if since is None or line.time >= since:
                yield LogLine(time=line.time, stream="stderr", text=line.text.encode("utf-8", "replace"))


async def _as_they_are(lines: list[RecentLine]) -> AsyncGenerator[RecentLine]:
    for line in lines:
        yield line
