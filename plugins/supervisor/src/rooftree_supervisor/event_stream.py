"""Events for clients: a numbered, bounded record of what was published, that any number of readers follow.

Each event is encoded once, whoever reads it. A reader is a place in the record and nothing more: it costs no queue, and
one that is so slow that the record has moved past its place is dropped, with the reason. Readers have their turn in
small groups with pauses in between, and get little at a time, so that a thousand of them delay nobody's request; those
who want the same get the same bytes.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextvars import Context
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice

import orjson
import structlog
from attrs import field, frozen, mutable

from rooftree import Event, Service, Unavailable, unstructure

log = structlog.get_logger(__name__)

KEPT = 10_000
KEPT_BYTES = 4 * 1024 * 1024
"""How much of the past a client can resume in."""
LARGEST_BYTES = 64 * 1024
"""An event that is longer travels without its data, so that one can't push out all others."""
READERS = 2_000
"""Readers at most; the next is refused."""
GATHER_S = 0.02
"""Seconds in which events are gathered before readers have their turn: many events then cost one turn each."""
PER_GROUP = 5
"""Readers that have their turn at a time."""
PAUSE_S = 0.001
"""Seconds between groups of readers, for everybody else."""
BATCH_BYTES = 64 * 1024
"""How much a reader gets in one turn, about: so much may wait for each slow one, beside what lies in its connection."""
CUTS = 16
"""Batches that are kept while a round lasts, for other readers who want the same."""

HELLO = "hello"
"""The type of what every reader gets first: it tells which place one is at before anything has happened."""
LOST = "events_lost"
"""The type of what tells a reader that it has not seen everything; its data is ``{"reason": …}``."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def event_type(kind: type[Event]) -> str:
    """The word for a class of events: ``JobChanged`` is ``job_changed``."""
    return _WORDS.sub("_", kind.__name__).lower()


def event_types() -> frozenset[str]:
    """The words for all classes of events in the modules that are loaded, and for what a reader gets besides."""
    kinds: set[type[Event]] = set()
    remaining = [*Event.__subclasses__()]
    while remaining:
        kind = remaining.pop()
        if kind not in kinds:
            kinds.add(kind)
            remaining += kind.__subclasses__()
    return frozenset({HELLO, LOST, *map(event_type, kinds)})


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
        match = re.fullmatch(r"([0-9a-f]{8})-([0-9]{1,15})", text)
        if match is None:
            raise ValueError(f"must be a boot and a sequence number such as 0a1b2c3d-17, not {text!r}")
        return cls(match[1], int(match[2]))


@frozen
class Recorded:
    """An event as clients get it."""

    sequence: int
    type: str
    body: bytes = field(repr=False)
    """A JSON object: ``type``, ``boot``, ``sequence``, ``time``, ``data``."""


@frozen(eq=False)
class Batch:
    """Some events, in order; none, when nothing has happened for a while. Written down once for all who get it."""

    boot: str
    events: tuple[Recorded, ...] = ()

    @cached_property
    def as_lines(self) -> bytes:
        """As server-sent events (WHATWG HTML, 9.2), each with its place as id, so that a browser resumes by itself."""
        if not self.events:
            return b": still here\n\n"
        boot = self.boot.encode()
        return b"".join(
            b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (boot, event.sequence, event.type.encode(), event.body)
            for event in self.events
        )

    @cached_property
    def as_list(self) -> bytes:
        """As a JSON list."""
        return b"[" + b",".join(event.body for event in self.events) + b"]"


@mutable(eq=False)
class Reader:
    """Somebody who follows."""

    kinds: frozenset[str]
    place: int
    """The sequence number of the last event that was given, or passed over."""
    turn: asyncio.Event = field(factory=asyncio.Event)
    """Set when it has its turn, and while it has not come back from it."""


class EventStream:
    """Records events, and gives them to readers."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self._record: deque[Recorded] = deque()
        self._bytes = 0
        self._sequence = 0
        self._told = 0
        """Up to which event readers get in this round, so that those who want the same stay at the same place."""
        self._cuts: dict[tuple[int, frozenset[str]], tuple[Batch, int]] = {}
        self._readers: dict[Reader, None] = {}
        self._rounds: asyncio.Task[None] | None = None
        self.dropped = 0
        """Readers that were dropped because they were too slow."""

    @property
    def now(self) -> Position:
        """The place after the latest event."""
        return Position(self.boot, self._sequence)

    @property
    def readers(self) -> int:
        """How many follow just now."""
        return len(self._readers)

    def refuse_more(self) -> None:
        """Raise :class:`~rooftree.errors.Unavailable` when there are as many readers as there may be."""
        if len(self._readers) >= READERS:
            raise Unavailable(f"{READERS} clients follow the events already; that is all there may be")

    async def follow(
        self, since: Position | None = None, kinds: Collection[str] = (), *, silence_s: float | None = None
    ) -> AsyncGenerator[Batch]:
        """Events in order, as they come, some at a time.

        :param since: after which to begin; without it, after the latest
        :param kinds: only events of these types; none: all
        :param silence_s: give an empty batch after so many seconds without any

        Begins with :data:`HELLO`, and :data:`LOST` where what came after ``since`` is not kept any more; ends with
        :data:`LOST` for a reader that is too slow. Raises :class:`~rooftree.errors.Unavailable`, before anything else,
        when there are too many readers.
        """
        self.refuse_more()
        is_whole = since is None or self._has_all_after(since)
        reader = Reader(frozenset(kinds), since.sequence if since is not None and is_whole else self._sequence)
        self._readers[reader] = None
        try:
            begin = self._own(HELLO, reader.place, None)
            if is_whole:
                yield Batch(self.boot, (begin,))
            else:
                yield Batch(
                    self.boot, (begin, self._gap("what came after the place to resume at is not kept any more"))
                )
            clock = asyncio.get_running_loop().time
            given = clock()
            while True:
                try:
                    async with asyncio.timeout_at(None if silence_s is None else given + silence_s):
                        await self._wait_for_turn(reader)
                except TimeoutError:
                    given = clock()
                    yield Batch(self.boot)
                    continue
                if self._is_passed(reader):
                    self.dropped += 1
                    log.warning("event_reader_dropped", missed=self._first - 1 - reader.place)
                    yield Batch(self.boot, (self._gap("this reader was too slow"),))
                    return
                batch = self._cut(reader)
                if batch.events:
                    yield batch
                    given = clock()
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

    def _cut(self, reader: Reader) -> Batch:
        """What the reader has not seen, as much as it gets in one turn; moves its place on."""
        key = reader.place, reader.kinds
        if key not in self._cuts:
            if len(self._cuts) >= CUTS:
                self._cuts.clear()
            self._cuts[key] = self._cut_anew(*key)
        batch, reader.place = self._cuts[key]
        return batch

    def _cut_anew(self, place: int, kinds: frozenset[str]) -> tuple[Batch, int]:
        chosen: list[Recorded] = []
        size = 0
        for event in islice(self._record, place - self._first + 1, self._told - self._first + 1):
            place = event.sequence
            if not kinds or event.type in kinds:
                chosen.append(event)
                size += len(event.body)
                if size >= BATCH_BYTES:
                    break
        return Batch(self.boot, tuple(chosen)), place

    def _gap(self, reason: str) -> Recorded:
        return self._own(LOST, self._sequence, {"reason": f"{reason}; ask anew for all that you show"})

    def _own(self, kind: str, sequence: int, data: object) -> Recorded:
        facts = {"type": kind, "boot": self.boot, "sequence": sequence, "time": datetime.now(UTC), "data": data}
        # Copied, because what orjson returns takes the room that it was written in: 4 kB even for a short event.
        return Recorded(sequence, kind, bytes(memoryview(orjson.dumps(facts))))

    def take(self, event: Event) -> None:
        self._sequence += 1
        kind = event_type(type(event))
        try:
            recorded = self._own(kind, self._sequence, unstructure(event))
        except Exception:  # an event with something in it that is no data
            log.exception("event_not_encoded", kind=kind)
            recorded = self._own(kind, self._sequence, None)
        if len(recorded.body) > LARGEST_BYTES:
            recorded = self._own(kind, self._sequence, None)
        self._record.append(recorded)
        self._bytes += len(recorded.body)
        while len(self._record) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= len(self._record.popleft().body)
        if self._readers:
            self._begin_rounds()

    async def _wait_for_turn(self, reader: Reader) -> None:
        reader.turn.clear()
        if reader.place < self._sequence:
            self._begin_rounds()
        await reader.turn.wait()

    def _begin_rounds(self) -> None:
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.get_running_loop().create_task(
                self._go_round(), name="supervisor: give events to readers", context=Context()
            )

    async def _go_round(self) -> None:
        """Give each reader who waits, and has not seen all, its turn; again, until there is none."""
        while True:
            await asyncio.sleep(GATHER_S)
            self._told = self._sequence
            self._cuts.clear()
            waiting = [reader for reader in self._readers if reader.place < self._told and not reader.turn.is_set()]
            if not waiting:
                return
            for number, reader in enumerate(waiting, 1):
                reader.turn.set()
                if number % PER_GROUP == 0:
                    await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """Give nothing to anybody any more."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait({self._rounds})


EVENTS = Service[EventStream]("supervisor.events/1")
