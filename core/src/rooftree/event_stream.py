"""Events for clients: a numbered, bounded record of what was published, that any number of readers follow.

Each event is encoded once, whoever reads it. A reader is a place in the record and nothing more: it costs no queue, and
one that is so slow that the record has moved past its place is dropped, with the reason. Readers are woken in small
groups with pauses in between, so that a thousand of them delay nobody's request.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextvars import Context
from datetime import UTC, datetime
from itertools import islice

import orjson
import structlog
from attrs import field, frozen, mutable

from rooftree.conversion import unstructure
from rooftree.errors import Unavailable
from rooftree.events import Event, EventBus
from rooftree.services import Service

log = structlog.get_logger(__name__)

KEPT = 10_000
KEPT_BYTES = 4 * 1024 * 1024
"""How much of the past a client can resume in."""
LARGEST_BYTES = 64 * 1024
"""An event that is longer travels without its data, so that one can't push out all others."""
READERS = 2_000
"""Readers at most; the next is refused."""
GATHER_S = 0.02
"""Seconds in which events are gathered before readers are woken: many events then cost one wake-up each."""
PER_WAKE = 10
"""Readers woken at a time."""
PAUSE_S = 0.002
"""Seconds between groups of readers, for everybody else."""
BATCH = 500
"""Events that a reader is given at once."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def event_type(kind: type[Event]) -> str:
    """The word for a class of events: ``JobChanged`` is ``job_changed``."""
    return _WORDS.sub("_", kind.__name__).lower()


@frozen
class Position:
    """A place in the record: which run of the daemon, and which event was the last one seen."""

    boot: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.boot}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The place that ``str`` wrote; raises ``ValueError``."""
        found = re.fullmatch(r"([0-9a-f]{8})-([0-9]{1,15})", text)
        if found is None:
            raise ValueError(f"must be a boot and a sequence number such as 0a1b2c3d-17, not {text!r}")
        return cls(found[1], int(found[2]))


@frozen
class Recorded:
    """An event as clients get it."""

    place: str
    """To resume after it: a :class:`Position`, as text."""
    sequence: int
    type: str
    body: bytes = field(repr=False)
    """A JSON object: ``type``, ``boot``, ``sequence``, ``time``, ``data``."""


@mutable(eq=False)
class Reader:
    """Somebody who follows."""

    kinds: frozenset[str]
    place: int
    """The sequence number of the last event that was given, or passed over."""
    lost: bool = False
    news: asyncio.Event = field(factory=asyncio.Event)


class EventStream:
    """Records what the bus publishes, and gives it to readers."""

    def __init__(self, bus: EventBus) -> None:
        self.boot = secrets.token_hex(4)
        self._record: deque[Recorded] = deque()
        self._bytes = 0
        self._sequence = 0
        self._readers: dict[Reader, None] = {}
        self._waker: asyncio.Task[None] | None = None
        self.dropped = 0
        """Readers that were dropped because they were too slow."""
        bus.tap(self._take)

    @property
    def now(self) -> Position:
        """The place after the latest event."""
        return Position(self.boot, self._sequence)

    @property
    def readers(self) -> int:
        """How many follow just now."""
        return len(self._readers)

    async def follow(
        self, since: Position | None = None, kinds: Collection[str] = ()
    ) -> AsyncGenerator[tuple[Recorded, ...]]:
        """Events in order, as they come, some at a time.

        :param since: after which to begin; without it, after the latest
        :param kinds: only events of these types; none: all

        Begins with :data:`LOST` where what came after ``since`` is not kept any more, and ends with it for a reader
        that is too slow. Raises :class:`~rooftree.errors.Unavailable` when there are too many readers.
        """
        if len(self._readers) >= READERS:
            raise Unavailable(f"{READERS} clients follow the events already; that is all there may be")
        reader = Reader(frozenset(kinds), self._sequence if since is None else since.sequence)
        if since is not None and not self._has_all_after(since):
            reader.place = self._sequence
            yield (self._gap("what came after the place to resume at is not kept any more; ask anew for all you show"),)
        self._readers[reader] = None
        try:
            while True:
                batch = self._next(reader)
                if batch:
                    yield batch
                    continue
                if self._is_passed(reader):
                    self.dropped += 1
                    log.warning("event_reader_dropped", missed=self._first - 1 - reader.place)
                    yield (self._gap("this reader was too slow; follow again, and ask anew for all you show"),)
                    return
                reader.news.clear()
                await reader.news.wait()
        finally:
            del self._readers[reader]

    @property
    def _first(self) -> int:
        """The sequence number of the oldest event that is kept."""
        return self._sequence - len(self._record) + 1

    def _has_all_after(self, since: Position) -> bool:
        return since.boot == self.boot and self._first - 1 <= since.sequence <= self._sequence

    def _is_passed(self, reader: Reader) -> bool:
        return reader.place < self._first - 1

    def _next(self, reader: Reader) -> tuple[Recorded, ...]:
        """What the reader has not seen, some of it; moves its place on."""
        if self._is_passed(reader):
            return ()
        while reader.place < self._sequence:
            begin = reader.place - self._first + 1
            seen = tuple(islice(self._record, begin, begin + BATCH))
            reader.place = seen[-1].sequence
            wanted = tuple(one for one in seen if not reader.kinds or one.type in reader.kinds)
            if wanted:
                return wanted
        return ()

    def _gap(self, reason: str) -> Recorded:
        return self._encoded(LOST, self._sequence, {"reason": reason})

    def _take(self, event: Event) -> None:
        """Record an event; called by the bus, so it must not fail."""
        self._sequence += 1
        kind = event_type(type(event))
        try:
            recorded = self._encoded(kind, self._sequence, unstructure(event))
        except Exception:  # an event with something in it that is no data
            log.exception("event_not_encoded", kind=kind)
            recorded = self._encoded(kind, self._sequence, None)
        if len(recorded.body) > LARGEST_BYTES:
            recorded = self._encoded(kind, self._sequence, None)
        self._record.append(recorded)
        self._bytes += len(recorded.body)
        while len(self._record) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._record.popleft().body)
        if self._readers and (self._waker is None or self._waker.done()):
            self._waker = asyncio.get_running_loop().create_task(
                self._wake(), name="kernel: wake readers of events", context=Context()
            )

    def _encoded(self, kind: str, sequence: int, data: object) -> Recorded:
        facts = {"type": kind, "boot": self.boot, "sequence": sequence, "time": datetime.now(UTC), "data": data}
        return Recorded(f"{self.boot}-{sequence}", sequence, kind, orjson.dumps(facts))

    async def _wake(self) -> None:
        """Wake those who wait, a few at a time, until all have been told of the latest event."""
        told = -1
        while told != self._sequence:
            await asyncio.sleep(GATHER_S)
            told = self._sequence
            for number, reader in enumerate(tuple(self._readers)):
                if not reader.news.is_set():
                    reader.news.set()
                    if number % PER_WAKE == PER_WAKE - 1:
                        await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Stop waking."""
        if self._waker is not None:
            self._waker.cancel()
            await asyncio.wait({self._waker})


LOST = "events_lost"
"""The type of what tells a reader that it has not seen everything; its data is ``{"reason": …}``."""

EVENTS = Service[EventStream]("events/1")
