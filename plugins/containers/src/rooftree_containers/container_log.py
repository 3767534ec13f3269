"""The log of a container: from the system journal where its lines are, else from the engine.

The journal has the lines when the engine logs to it (log driver ``journald``); it keeps them over the container's end
and knows boots and cursors. The engine's own log does the rest: its lines are told apart by when the host booted.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
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
from rooftree_containers.kept_log import Kept, KeptLog
from rooftree_containers.log_place import names_place
from rooftree_containers.log_query import LogQuery
from rooftree_containers.logs import FIRST_CURSOR, HEADERS, LogSource, closing

JOURNALD: Final = "journald"
START_SLACK: Final = timedelta(seconds=1)
"""How long before the start that the engine states a container's first lines may be: Docker looks at the clock when the
program runs already, up to some tenths of a second late on a busy machine."""
BOOT_SLACK: Final = timedelta(seconds=5)
"""How long before the calculated time of a boot a line may be of it: clocks are set a little after the boot."""


async def journal_answer(system_journal: SystemJournal, wanted: JournalQuery, query: LogQuery) -> Stream:
    """The answer of a logs route, from the system journal.

    :param wanted: which entries; the range is the query's
    """
    wanted_range = query.journal_range
    if query.tail == 1:
        last = await system_journal.last(evolve(wanted, range=wanted_range))
        wanted_range = JournalRange(cursor=last.cursor if last else "", until=query.until, count=query.count)
    text = await system_journal.text(
        evolve(wanted, range=wanted_range), format=query.format, colors=not query.no_colors
    )
    cursor = {FIRST_CURSOR: text.first_cursor} if text.first_cursor else {}
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
        if (system_journal := await self._system_journal()) is not None:
            with unless_lost(query):
                return await journal_answer(system_journal, evolve(self._entries(), follow=follow), query)
        return await (await self._from_engine()).answer(query, follow=follow)

    async def latest(self, query: LogQuery) -> Stream:
        """What it wrote since it was last started."""
        if (system_journal := await self._system_journal()) is not None:
            with unless_lost(query):
                last = await system_journal.last(self._entries())
                # Engines before Docker 23 name no epoch; then the time of the start decides, as without a journal.
                if last is not None and (epoch := last.text("CONTAINER_LOG_EPOCH")) is not None:
                    return await journal_answer(system_journal, evolve(self._entries(), epoch=epoch), query)
        container = await self.engine.container(self.name)
        if container is None:
            raise ContainerNotFound(f"There is no container {self.name}, so it has no log")
        begin = container.started_at - START_SLACK if container.started_at else None
        return await self._kept(begin=begin).answer(query)

    async def boot(self, boot: BootReference, query: LogQuery, *, follow: bool) -> Stream:
        """What it wrote in one boot of the host."""
        if (system_journal := await self._system_journal()) is not None:
            with unless_lost(query):
                ids = await system_journal.boots()
                entries = evolve(self._entries(), boot_id=ids[boot.place_among(ids)], follow=follow)
                return await journal_answer(system_journal, entries, query)
        boots = self.kernel.service(HOST_BOOTS).known()
        index = boot.place_among([known.id for known in boots])
        begin = boots[index].began - BOOT_SLACK if index else None
        end = boots[index + 1].began - BOOT_SLACK if index < len(boots) - 1 else None
        return await (await self._from_engine(begin, end)).answer(query, follow=follow)

    # --- from where ---------------------------------------------------------------------------------------------------

    async def _system_journal(self) -> SystemJournal | None:
        """The system journal, if it has what this container writes."""
        system_journal = self.kernel.find(SYSTEM_JOURNAL)
        if system_journal is None:
            return None
        try:
            container = await self.engine.container(self.name)
            driver = container.log_driver if container is not None else (await self.engine.info()).logging
        except Unavailable:  # the journal is there without the engine, and may tell what became of it
            return system_journal if await self._has_entries(system_journal) else None
        return system_journal if driver == JOURNALD else None

    async def _has_entries(self, system_journal: SystemJournal) -> bool:
        try:
            return await system_journal.last(self._entries()) is not None
        except JournalUnavailable:
            return False

    def _entries(self) -> JournalQuery:
        names = (self.name, *self.former_names)
        return JournalQuery(containers=tuple(self.engine.name_on_engine(name) for name in names))

    async def _from_engine(self, begin: datetime | None = None, end: datetime | None = None) -> KeptLog:
        if self.earlier is None:
            return self._kept(begin, end)
        container = await self.engine.container(self.name)
        return self._kept(begin, end, await self.earlier(container.id if container is not None else None))

    def _kept(
        self, begin: datetime | None = None, end: datetime | None = None, earlier: Sequence[LogLine] = ()
    ) -> KeptLog:
        current = partial(self.engine.logs, self.name)
        return KeptLog(
            lines=partial(_behind, earlier, current) if earlier else current,
            text=None if earlier else partial(self.engine.log_text, self.name),
            source=LogSource(identifier=self.name),
            begin=begin,
            end=end,
        )


async def _behind(
    earlier: Sequence[LogLine],
    current: Kept[LogLine],
    *,
    follow: bool = False,
    tail: int | None = None,
    since: datetime | None = None,
) -> AsyncGenerator[LogLine]:
    """A log with what is kept from before it; its container may be gone."""
    if tail is not None:
        count = 0
        with contextlib.suppress(ContainerNotFound):
            async with closing(current(tail=tail)) as lines:
                async for _ in lines:
                    count += 1
        earlier = earlier[max(0, len(earlier) + count - tail) :]
    for line in earlier:
        if since is None or line.time >= since:
            yield line
    with contextlib.suppress(ContainerNotFound):
        async with closing(current(follow=follow, tail=tail, since=since)) as lines:
            async for line in lines:
                yield line


@contextlib.contextmanager
def unless_lost(query: LogQuery) -> Iterator[None]:
    """Go on with what else has the log where the system journal can't be read, unless only the journal has what is
    asked for."""
    try:
        yield
    except JournalUnavailable:
        if query.cursor and not names_place(query.cursor):
            raise
