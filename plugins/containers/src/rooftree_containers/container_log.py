"""The log of a container: from the system journal where its lines are, else from the engine.

The journal has the lines when the engine logs to it (log driver ``journald``); it keeps them over the container's end
and knows boots and cursors. The engine's own log does the rest: its lines are told apart by when the host booted.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from rooftree import Kernel, Stream, Unavailable
from rooftree.interfaces.containers import ContainerEngine, ContainerNotFound, LogLine
from rooftree.interfaces.journal import (
    HOST_BOOTS,
    SYSTEM_JOURNAL,
    JournalQuery,
    JournalRange,
    JournalUnavailable,
    SystemJournal,
)
from rooftree_containers.boots import BootReference
from rooftree_containers.logs import HEADERS, LogQuery, LogSource, closing, log_answer, text_answer

JOURNALD: Final = "journald"
START_SLACK: Final = timedelta(seconds=1)
"""How long before the start that the engine states a container's first lines may be: Docker looks at the clock when the
program runs already, up to some tenths of a second late on a busy machine."""
BOOT_SLACK: Final = timedelta(seconds=5)
"""How long before the calculated time of a boot a line may be of it: clocks are set a little after the boot."""


async def journal_answer(journal: SystemJournal, wanted: JournalQuery, query: LogQuery) -> Stream:
    """The answer of a logs route, from the system journal.

    :param wanted: which entries; the range is the query's
    """
    if query.tail == 1 and not query.cursor:
        last = await journal.last(wanted)
        wanted_range = JournalRange(cursor=last.cursor if last else "", count=query.count)
    else:
        wanted_range = query.journal_range
    text = await journal.text(evolve(wanted, range=wanted_range), format=query.format, colors=not query.no_colors)
    cursor = {"X-First-Cursor": text.first_cursor} if text.first_cursor else {}
    return Stream(text.chunks, headers=HEADERS | cursor)


@frozen
class ContainerLog:
    """The log of one container; see :class:`~rooftree_containers.log_routes.Log`.

    :param name: its logical name
    :param former_names: under which it may have written to the system journal too
    :param earlier: what is kept of earlier containers of that name, given the id of the one there is: shown before the
        engine's lines
    """

    kernel: Kernel
    engine: ContainerEngine
    name: str
    former_names: tuple[str, ...] = ()
    earlier: Callable[[str | None], Awaitable[Sequence[LogLine]]] | None = None

    async def recent(self, query: LogQuery, *, follow: bool) -> Stream:
        """Its latest lines."""
        if (journal := await self._journal()) is not None:
            with self._unless_lost(query):
                return await journal_answer(journal, evolve(self._entries(), follow=follow), query)
        return await self._from_engine(query, follow=follow)

    async def latest(self, query: LogQuery) -> Stream:
        """What it wrote since it was last started."""
        if (journal := await self._journal()) is not None:
            with self._unless_lost(query):
                last = await journal.last(self._entries())
                # Engines before Docker 23 name no epoch; then the time of the start decides, as without a journal.
                if last is not None and (epoch := last.text("CONTAINER_LOG_EPOCH")) is not None:
                    return await journal_answer(journal, evolve(self._entries(), epoch=epoch), query)
        container = await self.engine.container(self.name)
        if container is None:
            raise ContainerNotFound(f"There is no container {self.name}, so it has no log")
        since = container.started_at - START_SLACK if container.started_at else None
        return await self._from_engine(query, since=since, with_earlier=False)

    async def boot(self, boot: BootReference, query: LogQuery, *, follow: bool) -> Stream:
        """What it wrote in one boot of the host."""
        if (journal := await self._journal()) is not None:
            with self._unless_lost(query):
                ids = await journal.boots()
                entries = evolve(self._entries(), boot_id=ids[boot.place_among(ids)], follow=follow)
                return await journal_answer(journal, entries, query)
        boots = self.kernel.service(HOST_BOOTS).known()
        index = boot.place_among([known.id for known in boots])
        begin = boots[index].began - BOOT_SLACK if index else None
        if index == len(boots) - 1:
            return await self._from_engine(query, since=begin, follow=follow)
        end = boots[index + 1].began - BOOT_SLACK
        tail = query.tail
        if tail is not None:  # the engine counts from the end of its whole log
            count = 0
            async with closing(self._between(begin, end)) as lines:
                async for _ in lines:
                    count += 1
            query = evolve(query, tail=None, skip=max(0, count - tail))
        return log_answer(self._between(begin, end), query.without_cursor(), LogSource(identifier=self.name))

    # --- from where ---------------------------------------------------------------------------------------------------

    async def _journal(self) -> SystemJournal | None:
        """The system journal, if it has what this container writes."""
        journal = self.kernel.find(SYSTEM_JOURNAL)
        if journal is None:
            return None
        try:
            container = await self.engine.container(self.name)
            driver = container.log_driver if container is not None else (await self.engine.info()).logging
        except Unavailable:  # the journal is there without the engine, and may tell what became of it
            return journal if await self._has_entries(journal) else None
        return journal if driver == JOURNALD else None

    async def _has_entries(self, journal: SystemJournal) -> bool:
        try:
            return await journal.last(self._entries()) is not None
        except JournalUnavailable:
            return False

    def _entries(self) -> JournalQuery:
        names = (self.name, *self.former_names)
        return JournalQuery(containers=tuple(self.engine.name_on_engine(name) for name in names))

    @contextlib.contextmanager
    def _unless_lost(self, query: LogQuery) -> Iterator[None]:
        """Go on with the engine where the journal can't be read, unless only the journal has what is asked for."""
        try:
            yield
        except JournalUnavailable:
            if query.cursor:
                raise

    async def _from_engine(
        self, query: LogQuery, *, since: datetime | None = None, follow: bool = False, with_earlier: bool = True
    ) -> Stream:
        query = query.without_cursor()
        earlier = await self._earlier(query.tail, since) if with_earlier else ()
        if earlier or query.format != "plain" or query.skip or query.count is not None:
            lines = self._lines(earlier, follow=follow, tail=query.tail, since=since)
            return log_answer(lines, query, LogSource(identifier=self.name))
        return text_answer(self.engine.log_text(self.name, follow=follow, tail=query.tail, since=since), query)

    async def _earlier(self, tail: int | None, since: datetime | None) -> Sequence[LogLine]:
        """What is kept from before the engine's lines, as far as it is among the last so many."""
        if self.earlier is None:
            return ()
        container = await self.engine.container(self.name)
        kept = await self.earlier(container.id if container is not None else None)
        lines = [line for line in kept if since is None or line.time >= since]
        if tail is None or not lines or container is None:
            return lines if tail is None else lines[-tail:]
        async with closing(self.engine.logs(self.name, tail=tail, since=since)) as current:
            room = tail - sum([1 async for _ in current])
        return lines[-room:] if room > 0 else ()

    async def _lines(
        self,
        earlier: Sequence[LogLine],
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> AsyncGenerator[LogLine]:
        for line in earlier:
            yield line
        with contextlib.suppress(*((ContainerNotFound,) if earlier else ())):
            async with closing(self.engine.logs(self.name, follow=follow, tail=tail, since=since)) as lines:
                async for line in lines:
                    yield line

    async def _between(self, begin: datetime | None, end: datetime) -> AsyncGenerator[LogLine]:
        earlier = await self._earlier(None, begin)
        async with closing(self._lines(earlier, follow=False, tail=None, since=begin)) as lines:
            async for line in lines:
                if line.time >= end:
                    return
                yield line
