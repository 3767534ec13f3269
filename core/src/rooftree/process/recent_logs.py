"""The latest lines of the log, kept in memory, and how much is logged at all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from attrs import frozen

from rooftree.settings import LogLevel

RECENT_LINES: Final = 2_000
RECENT_BYTES: Final = 512 * 1024
LONGEST_LINE_BYTES: Final = 16 * 1024
"""A longer line is cut in memory (not on standard error), so that one can't push out all others."""

CHATTY: Final = ("aiohttp.access", "apscheduler", "asyncio")
"""Loggers of libraries that tell everything they do at level info; heard below warning only at level debug."""


@frozen
class RecentLine:
    """One line that was logged."""

    time: datetime
    text: str


class RecentLogs:
    """The latest lines, bounded in number and bytes; written from any thread, read from event loops."""

    def __init__(self, max_lines: int = RECENT_LINES, max_bytes: int = RECENT_BYTES) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lines: deque[RecentLine] = deque()
        self._bytes = 0
        self._dropped = 0
        self._lock = threading.Lock()
        self._waiting: set[Callable[[], None]] = set()

    def append(self, time: datetime, text: str) -> None:
        """Keep ``text``, which may have several lines; returns at once, whoever is reading."""
        lines = [RecentLine(time, _cut(line)) for line in text.split("\n")]
        with self._lock:
            for line in lines:
                self._lines.append(line)
                self._bytes += _size(line)
            while len(self._lines) > self._max_lines or self._bytes > self._max_bytes:
                self._bytes -= _size(self._lines.popleft())
                self._dropped += 1
            waiting, self._waiting = self._waiting, set()
        for wake in waiting:
            wake()

    def lines(self, last: int | None = None) -> list[RecentLine]:
        """The lines that are kept, oldest first; only the ``last`` ones if that is given."""
        with self._lock:
            count = len(self._lines) if last is None else min(max(last, 0), len(self._lines))
            return list(islice(self._lines, len(self._lines) - count, None))

    async def follow(self, last: int = 0) -> AsyncGenerator[RecentLine]:
        """The ``last`` lines, then every new one as it comes.

        Ends only for a reader that is so slow that lines it has not seen are no longer kept: the last line it gets
        says so. Nothing is queued for a reader, so any number of stuck ones cost nothing and delay nobody.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            place = self._dropped + len(self._lines) - min(max(last, 0), len(self._lines))
        while True:
            news = asyncio.Event()
            wake = _waker(loop, news)
            with self._lock:
                missed = self._dropped - place
                unseen = list(islice(self._lines, max(-missed, 0), None))
                if not unseen:
                    self._waiting.add(wake)
            if missed > 0:
                note = f"[this reader was too slow: {missed} lines were dropped before it; follow the log again]"
                yield RecentLine(datetime.now(UTC), note)
                return
            if unseen:
                place += len(unseen)
                for line in unseen:
                    yield line
                continue
            try:
                await news.wait()
            finally:
                with self._lock:
                    self._waiting.discard(wake)


def set_level(level: LogLevel) -> None:
    """Log from ``level`` upwards, from now on; may be called at any time."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else max(number, logging.WARNING))


def _cut(line: str) -> str:
    if len(line) * 4 <= LONGEST_LINE_BYTES:
        return line
    encoded = line.encode("utf-8", "replace")
    if len(encoded) <= LONGEST_LINE_BYTES:
        return line
    return f"{encoded[:LONGEST_LINE_BYTES].decode('utf-8', 'ignore')}… [cut, {len(encoded)} bytes]"


def _size(line: RecentLine) -> int:
    return len(line.text.encode("utf-8", "replace")) + 1


def _waker(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> Callable[[], None]:
    def wake() -> None:
        try:
            loop.call_soon_threadsafe(news.set)
        except RuntimeError:  # the reader's loop is closed: nobody is waiting any more
            return

    return wake
