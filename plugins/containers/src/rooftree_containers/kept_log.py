"""A log that somebody keeps line by line, a container engine or a memory: which of its lines a query means.

Such a keeper can be asked for its last lines, and for those since a time, and for no more. So what is counted from a
place or a time is searched for in the last lines, in more and more of them until it is there: near the end, where
people read, that is quick however long the log is, and nothing is kept of what is passed over.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime, timedelta
from typing import Final, Protocol

from attrs import evolve, frozen

from rooftree import Stream
from rooftree.interfaces.containers import LogLine, LogText
from rooftree_containers.log_place import Place
from rooftree_containers.log_query import LogQuery
from rooftree_containers.logs import LogSource, closing, log_answer, text_answer

FIRST_LOOK: Final = 1024
"""Lines from the end that a place is first searched for in; then four times as many, and so on."""
MOST_LINES: Final = 10**12
"""No log has more."""
DISORDER: Final = timedelta(seconds=1)
"""By how much a line may be older than one before it: a container's two streams are written side by side."""
MICROSECOND: Final = timedelta(microseconds=1)


class Kept[T](Protocol):
    """Reads what is kept: of the last ``tail`` lines those since a time, and with ``follow`` what comes."""

    def __call__(
        self, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[T]:
        """The first one first. To be closed."""
        ...


@frozen
class _Mark:
    """What lines are counted from."""

    time: datetime
    checksum: int | None = None
    """Of the text of the line at that time; ``None`` for the first line at that time or later."""
    last: bool = False
    """The last line at that time or before instead."""


@frozen
class _Begin:
    """Where to begin: of the last ``tail`` lines, in those since a time, behind the first ``skip``."""

    tail: int | None = None
    since: datetime | None = None
    skip: int = 0
    missing: int = 0
    """Lines that there would be before, if the log went back so far."""


@frozen(kw_only=True)
class KeptLog:
    """See the module.

    :param text: reads the same as text, where that is quicker
    :param begin: lines before this time are none of the log
    :param end: nor are lines of this time or later, and then no more can come
    """

    lines: Kept[LogLine]
    source: LogSource
    text: Kept[LogText] | None = None
    begin: datetime | None = None
    end: datetime | None = None

    async def answer(self, query: LogQuery, *, follow: bool = False) -> Stream:
        """The answer of a logs route; raises :class:`~rooftree.Invalid` for a cursor that is none of this log's."""
        if self.end is not None:
            last = self.end - MICROSECOND
            query, follow = evolve(query, until=min(query.until or last, last)), False
        begin = await self._begin(query)
        if query.cursor and query.count is not None and query.skip + query.count <= 0:
            query = evolve(query, count=max(0, query.count - begin.missing))
        as_it_is = query.format == "plain" and not begin.skip and query.until is None and query.count is None
        if self.text is not None and as_it_is:
            text = self.text(follow=follow, tail=begin.tail, since=begin.since)
            return await text_answer(text, query, follow=follow)
        return await log_answer(self._chosen(begin, query, follow=follow), query, self.source, follow=follow)

    async def _chosen(self, begin: _Begin, query: LogQuery, *, follow: bool) -> AsyncGenerator[LogLine]:
        end = None if query.count is None else begin.skip + query.count
        number = 0
        if end == begin.skip:
            return
        async with closing(self.lines(follow=follow, tail=begin.tail, since=begin.since)) as lines:
            async for line in lines:
                if query.until is not None and line.time > query.until:
                    return
                number += 1
                if number > begin.skip:
                    yield line
                if number == end:
                    return

    # --- from where ---------------------------------------------------------------------------------------------------

    async def _begin(self, query: LogQuery) -> _Begin:
        if query.cursor:
            place = Place.named(query.cursor)
            return await self._counted(_Mark(place.time, place.checksum), query.skip)
        if query.since is not None and query.skip < 0:
            return await self._counted(_Mark(query.since, last=True), query.skip)
        if query.since is not None:
            since = max(query.since, self.begin or query.since)
            return evolve(await self._counted(_Mark(since), 0), since=since, skip=query.skip)
        if query.tail is not None and query.until is not None:
            return await self._counted(_Mark(query.until, last=True), 1 - query.tail)
        return _Begin(tail=query.tail, since=self.begin, skip=query.skip)

    async def _counted(self, mark: _Mark, skip: int) -> _Begin:
        """Where to begin so many lines after a mark, or before it."""
        tail, oldest = FIRST_LOOK, None
        while True:
            begin, first = await self._looked(mark, skip, tail, oldest)
            if begin is not None:
                return begin
            tail, oldest = 4 * tail, first

    async def _looked(
        self, mark: _Mark, skip: int, tail: int, oldest: LogLine | None
    ) -> tuple[_Begin | None, LogLine | None]:
        """The same, if the last ``tail`` lines reach so far; and the first of them.

        :param oldest: the first of fewer lines; if that is the first again, then there are no more
        """
        first: LogLine | None = None
        since: datetime | None = None
        whole = False
        number, place = 0, None
        async with closing(self.lines(tail=tail, since=self.begin)) as lines:
            async for line in lines:
                if first is None:
                    first = line
                    whole = line == oldest or tail > MOST_LINES
                    if not whole and line.time >= mark.time:
                        return None, first
                if since is None:
                    # Of the lines of the first one's time, some may be before: they can't be told apart by time.
                    if not whole and line.time == first.time:
                        continue
                    since = line.time
                if line.time < since:
                    continue
                if line.time - (timedelta(0) if mark.checksum is None else DISORDER) > mark.time:
                    break
                if not mark.last and line.time >= mark.time:
                    place = number if place is None else place
                    if mark.checksum is None:
                        break
                    if line.time == mark.time and Place.of(line.time, line.text).checksum == mark.checksum:
                        place = number
                        break
                number += 1
        if first is None:
            return _Begin(since=self.begin), None
        if since is None:
            return None, first
        if mark.last:
            place = number - 1
        number = (number if place is None else place) + skip
        if number < 0 and not whole:
            return None, first
        # What is written meanwhile moves the last lines on: twice as many still have these.
        return _Begin(tail=2 * tail, since=since, skip=max(0, number), missing=max(0, -number)), first
