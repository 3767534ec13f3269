"""A log that somebody keeps line by line, a container engine or a memory: which of its lines a query means.

Such a keeper can be asked for its last lines, and for those since a time, and for no more. So what is counted from a
place or a time is searched for in the last lines, in more and more of them until it is there: near the end, where
people read, that is quick however long the log is, and next to nothing is kept of what is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime, timedelta
from typing import Final, Protocol

from attrs import evolve, frozen

from rooftree import Stream
from rooftree.interfaces.containers import LogLine
from rooftree_containers.log_place import Place
from rooftree_containers.log_query import LogQuery
from rooftree_containers.logs import LogSource, closing, log_answer, text_answer

FIRST_LOOK: Final = 1024
"""Lines from the end that a place is first searched for in; then four times as many, and so on."""
MOST_LINES: Final = 10**12
"""No log has more."""
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
    """What lines are counted from: the first one at a time or later."""

    time: datetime
    checksum: int | None = None
    """The line of that time whose text has this one instead, wherever it is: clocks are set back."""
    last: bool = False
    """The last line at that time or before instead."""


@frozen
class _Begin:
    """Where to begin: of the last ``tail`` lines since a time, from ``anchor`` on, behind the first ``skip``."""

    tail: int | None = None
    since: datetime | None = None
    anchor: LogLine | None = None
    skip: int = 0
    missing: int = 0
    """Lines that there would be before, if the log went back so far."""


@frozen(kw_only=True)
class KeptLog:
    """See the module.

    :param text: reads the same as text, where that is quicker: for who wants all that there is
    :param begin: lines before this time are none of the log
    :param end: nor are lines of this time or later, and then no more can come
    """

    lines: Kept[LogLine]
    source: LogSource
    text: Kept[bytes] | None = None
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
        is_part = begin.tail is not None or begin.skip or query.until is not None or query.count is not None
        if self.text is not None and query.format == "plain" and not is_part:
            async with closing(self.lines(since=begin.since)) as lines:
                first = await anext(aiter(lines), None)
            return text_answer(self.text(follow=follow, since=begin.since), query, first)
        return await log_answer(self._chosen(begin, query, follow=follow), query, self.source, follow=follow)

    async def _chosen(self, begin: _Begin, query: LogQuery, *, follow: bool) -> AsyncGenerator[LogLine]:
        end = None if query.count is None else begin.skip + query.count
        number, anchor = 0, begin.anchor
        if end == begin.skip:
            return
        async with closing(self.lines(follow=follow, tail=begin.tail, since=begin.since)) as lines:
            async for line in lines:
                if anchor is not None and line != anchor:
                    continue
                if query.until is not None and line.time > query.until:
                    return
                number, anchor = number + 1, None
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
            return _Begin((await self._counted(_Mark(since), 0)).tail, since, skip=query.skip)
        if query.tail is not None and query.until is not None:
            return await self._counted(_Mark(query.until, last=True), 1 - query.tail)
        return _Begin(tail=query.tail, since=self.begin, skip=query.skip)

    async def _counted(self, mark: _Mark, skip: int) -> _Begin:
        """Where to begin so many lines behind a mark, or before it."""
        tail, oldest = FIRST_LOOK, None
        while True:
            look = _Look(mark, skip, tail, oldest)
            async with closing(self.lines(tail=tail, since=self.begin)) as lines:
                async for line in lines:
                    if look.ends_with(line):
                        break
            if look.is_whole and mark.checksum is not None and look.place is None:
                mark = evolve(mark, checksum=None)  # its line is kept no more
            elif (begin := look.begin(self.begin)) is not None:
                return begin
            else:
                tail *= 4
            oldest = look.first


class _Look:
    """A look at the last lines, which may reach as far back as is needed.

    :param oldest: the first of fewer lines: if that is the first here too, there are no more
    """

    def __init__(self, mark: _Mark, skip: int, tail: int, oldest: LogLine | None) -> None:
        self.first: LogLine | None = None
        self.is_whole = tail > MOST_LINES
        self.place: int | None = None
        """Of the mark, among the lines that count."""
        self._mark = mark
        self._skip = skip
        self._tail = tail
        self._oldest = oldest
        self._number = 0
        self._anchors: deque[tuple[int, LogLine]] = deque(maxlen=2)
        """Lines as far from each other as is counted back: one of them is not far before where to begin."""

    def ends_with(self, line: LogLine) -> bool:
        """Whether enough has been seen; takes one line after the other."""
        mark = self._mark
        if self.first is None:
            self.first = line
            self.is_whole = self.is_whole or line == self._oldest
            if not self.is_whole:  # it may be a part: engines count those of a long line
                return mark.checksum is None and line.time >= mark.time
        if mark.last and line.time > mark.time:
            self.place = self._number - 1
            return True
        if self._number % max(1, -self._skip) == 0:
            self._anchors.append((self._number, line))
        if not mark.last and line.time >= mark.time:
            here = Place.of(line.time, line.text)
            if mark.checksum is None or (here.time, here.checksum) == (mark.time, mark.checksum):
                self.place = self._number
                return True
        self._number += 1
        return False

    def begin(self, since: datetime | None) -> _Begin | None:
        """Where to begin, or ``None`` if that is further back."""
        if self.first is None:
            return _Begin(since=since)
        if self.place is None:
            if not self._anchors or (self._mark.checksum is not None and not self.is_whole):
                return None
            self.place = self._number - 1 if self._mark.last else self._number
        number = self.place + self._skip
        if number < 0:
            return _Begin(since=since, missing=-number) if self.is_whole else None
        place, anchor = next(known for known in reversed(self._anchors) if known[0] <= number)
        # What is written meanwhile moves the last lines on: twice as many still have these.
        return _Begin(2 * self._tail - place, since, anchor, number - place)
