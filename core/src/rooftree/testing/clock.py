"""A clock that stands still until the test lets time pass.

Tasks, times of day, rates and everything that asks ``kernel.clock`` follow it; sockets, the database and timeouts go
on in real time::

    async def test_the_catalogue_is_read_again_every_three_hours(tmp_path):
        clock = FakeClock()
        async with running_system(tmp_path, plugins=[StorePlugin], clock=clock):
            await clock.advance(timedelta(hours=3))     # returns when what was due has been done
            ...
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import override

from attrs import define, field

from rooftree.clock import Clock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""What a fake clock shows at first."""


@define(eq=False)
class _Sleeper:
    due: float
    task: asyncio.Task[object]
    wakes: asyncio.Event = field(factory=asyncio.Event)


class FakeClock(Clock):
    """A clock for tests; see the module's text. One clock serves one event loop."""

    def __init__(self, now: datetime = NOON) -> None:
        if now.tzinfo is None:
            raise ValueError(f"a clock needs a time zone: write datetime({now.year}, …, tzinfo=UTC)")
        self._wall = now.astimezone(UTC)
        self._passed = 0.0
        self._sleepers: list[_Sleeper] = []
        self._news = asyncio.Event()

    @override
    def now(self) -> datetime:
        return self._wall

    @override
    def monotonic(self) -> float:
        return self._passed

    @override
    def spread(self, seconds: float) -> float:
        """Exactly so many seconds."""
        return seconds

    @override
    def part_of(self, seconds: float) -> float:
        """All of them."""
        return seconds

    @override
    async def sleep(self, seconds: float) -> None:
        await self._rest(self._sleeper(seconds))

    @override
    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        sleeper = self._sleeper(seconds)
        waking = asyncio.create_task(event.wait(), name=f"what {sleeper.task.get_name()} waits for")
        waking.add_done_callback(lambda _: sleeper.wakes.set())
        try:
            await self._rest(sleeper)
        finally:
            waking.cancel()
        return event.is_set()

    def _sleeper(self, seconds: float) -> _Sleeper:
        task = asyncio.current_task()
        assert task is not None
        return _Sleeper(self._passed + max(0.0, seconds), task)

    async def _rest(self, sleeper: _Sleeper) -> None:
        self._sleepers.append(sleeper)
        self._tell()
        try:
            await sleeper.wakes.wait()
        finally:
            self._sleepers.remove(sleeper)

    def put(self, now: datetime) -> None:
        """Put the wall clock to another time; no time passes by that."""
        self._wall = now.astimezone(UTC)

    async def advance(self, by: timedelta, *, patience_s: float = 10.0) -> None:
        """Let time pass, and whatever is due in it happen, in order.

        Whoever wakes gets the time to go to sleep again or to end before more time passes, so what was due has been
        done when this returns, including what it waited for outside: files, the database, answers.

        :param patience_s: real seconds that one who woke may take; then :class:`AssertionError` names it
        """
        if by < timedelta():
            raise ValueError("time does not run backwards; put(…) changes the wall clock")
        await asyncio.sleep(0)  # who was just begun gets to its first sleep
        end = self._passed + by.total_seconds()
        while due := [sleeper for sleeper in self._sleepers if sleeper.due <= end]:
            first = min(due, key=lambda sleeper: sleeper.due)
            self._pass(first.due)
            await self._wake(first, patience_s)
        self._pass(end)

    async def sleepers(self, count: int = 1) -> None:
        """Wait until so many sleep."""
        while len(self._sleepers) < count:
            await self._news.wait()

    def _pass(self, until: float) -> None:
        self._wall += timedelta(seconds=until - self._passed)
        self._passed = until

    async def _wake(self, sleeper: _Sleeper, patience_s: float) -> None:
        sleeper.wakes.set()

        def is_quiet() -> bool:
            sleeps = any(other.task is sleeper.task and not other.wakes.is_set() for other in self._sleepers)
            return sleeps or sleeper.task.done()

        sleeper.task.add_done_callback(self._tell)
        try:
            async with asyncio.timeout(patience_s):
                while not is_quiet():
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{sleeper.task.get_name()} woke at {self._wall}, and after {patience_s:g} s it has neither ended nor "
                "asked the clock to sleep again: what does it wait for?"
            ) from None
        finally:
            sleeper.task.remove_done_callback(self._tell)

    def _tell(self, _: object = None) -> None:
        """Somebody went to sleep, or ended."""
        news, self._news = self._news, asyncio.Event()
        news.set()
