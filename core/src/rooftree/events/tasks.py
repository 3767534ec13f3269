"""Tasks: background and scheduled work that the kernel supervises.

A task without a schedule runs for as long as its plugin does and is begun again, with growing pauses, when it fails.
Intervals are counted on the monotonic clock from the end of the previous run, so a clock that jumps by a year neither
starves nor floods them; times of day follow the wall clock and are looked at again at least once a minute.

A time of day that passes while the machine sleeps, or because the clock is put forward, is made up for once, however
many were missed. What passes while Rooftree does not run, or while the task itself still runs, is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

import structlog
from attrs import define, field, frozen

from rooftree.clock import MACHINE, Clock
from rooftree.context import is_cancelled, plugin_under_way
from rooftree.errors import is_interruption
from rooftree.events.cron import CronTimes

log = structlog.get_logger(__name__)

BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Pauses before a failed task is begun again; the last is repeated."""
STEADY_S = 300.0
"""A task that ran this long before it failed starts again with the shortest pause."""
STOP_S = 5.0
"""Seconds that a cancelled task may take to end; then it is left behind, and named in the log."""
_LOOK_AGAIN_S = 60.0


def _checked_interval(task: Task, _: object, every: timedelta | None) -> None:
    if not isinstance(every, timedelta | None):
        raise TypeError(f"task {task.name}: every must be a timedelta, such as timedelta(seconds=5), not {every!r}")
    if every is not None and every <= timedelta(0):
        raise ValueError(f"task {task.name}: every must be longer than nothing, not {every!r}")


def _checked_cron(task: Task, _: object, cron: str | None) -> None:
    if cron is None:
        return
    if task.every is not None:
        raise ValueError(f"task {task.name}: give it every or cron, not both")
    try:
        CronTimes(cron)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"task {task.name}: cron must be five fields as crontab(5) has them, such as '0 3 * * *', not {cron!r}: "
            f"{error}"
        ) from None


def _checked_jitter(task: Task, _: object, jitter: timedelta) -> None:
    if not isinstance(jitter, timedelta):
        raise TypeError(f"task {task.name}: jitter must be a timedelta, such as timedelta(minutes=5), not {jitter!r}")
    if jitter and task.cron is None:
        raise ValueError(f"task {task.name}: jitter goes with cron; every has one of a twentieth anyway")
    if jitter < timedelta(0):
        raise ValueError(f"task {task.name}: jitter must not be less than nothing, not {jitter!r}")


@frozen
class Task:
    """Work that a plugin wants done. One that fails three times in a row is a problem until it succeeds, and its plugin
    degraded; whatever it raises, it is tried again. That something it waits for is stopped
    (:class:`~rooftree.errors.Stopping`) is no failure of it.

    Raises ``ValueError`` or ``TypeError`` where it is made with times that can't be.

    :param name: unique within the plugin
    :param run: called without arguments; what it returns is nobody's
    :param every: again and again, this long after the previous run ended; the first run comes one interval after start
    :param cron: at times of day, in the five fields of crontab(5), in the installation's time zone; those that pass
        while it runs are left out
    :param jitter: up to so much later than ``cron`` says, anew each time: what many do at one moment is a burden to
        whoever serves them
    """

    name: str
    run: Callable[[], Awaitable[object]]
    every: timedelta | None = field(default=None, validator=_checked_interval)
    cron: str | None = field(default=None, validator=_checked_cron)
    jitter: timedelta = field(default=timedelta(0), validator=_checked_jitter)


class TaskWatch(Protocol):
    """Who is told how tasks fare."""

    def failed(self, owner: str, task: str, failures: int, error: BaseException) -> None:
        """A task failed, that many times in a row."""

    def well(self, owner: str, task: str) -> None:
        """A task that was failing has done its work, or is no more."""


@define(eq=False)
class _Entry:
    """A task under supervision."""

    owner: str
    task: Task
    failures: int = 0
    """In a row."""
    is_failing: bool = False
    """Whether whoever watches was told so."""
    runs: bool = False
    next_run: datetime | None = None
    work: asyncio.Task[None] = field(init=False)


class TaskSupervisor:
    """Runs tasks by owner."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self.watch: TaskWatch | None = None
        """Is told which of them fail; set by whoever knows plugins."""
        self.zone: tzinfo = UTC
        """The time zone of all times of day. Who waits for one looks at it again at least once a minute."""
        self._entries: dict[str, dict[str, _Entry]] = {}

    def start(self, task: Task, owner: str) -> None:
        """Begin a task; raises ``ValueError`` when the owner has one of that name."""
        entries = self._entries.setdefault(owner, {})
        if task.name in entries:
            raise ValueError(f"plugin {owner} has two tasks called {task.name}")
        self._begin(_Entry(owner, task))

    def change(self, task: Task, owner: str) -> None:
        """Let a task be another from its next run on, such as one at other times; a run under way ends first. Raises
        ``KeyError`` when the owner has none of that name."""
        entry = self._entry(task.name, owner)
        if entry.runs:
            entry.task = task
        else:
            entry.work.cancel()
            self._begin(_Entry(owner, task, entry.failures, entry.is_failing))

    async def remove(self, name: str, owner: str) -> None:
        """End a task, and what it is doing, unless it is that which asks for it: then it is not begun again. Raises
        ``KeyError`` when the owner has none of that name."""
        entry = self._entry(name, owner)
        del self._entries[owner][name]
        if entry.work is not asyncio.current_task():
            await _end(entry)
        self._is_well(entry)

    def next_runs(self, owner: str) -> Mapping[str, datetime | None]:
        """When the tasks of an owner run next, by their names; ``None`` for one that runs."""
        return {name: entry.next_run for name, entry in self._entries.get(owner, {}).items()}

    async def stop(self, owner: str) -> None:
        """Cancel the tasks of an owner, the last begun first, and wait for each."""
        entries = self._entries.pop(owner, {})
        for entry in reversed(entries.values()):
            await _end(entry)
            self._is_well(entry)

    def _begin(self, entry: _Entry) -> None:
        self._entries[entry.owner][entry.task.name] = entry
        work = self._supervise(entry)
        entry.work = asyncio.get_running_loop().create_task(work, name=f"{entry.owner}: {entry.task.name}")

    def _entry(self, name: str, owner: str) -> _Entry:
        entry = self._entries.get(owner, {}).get(name)
        if entry is None:
            raise KeyError(f"plugin {owner} has no task called {name}")
        return entry

    def _is_kept(self, entry: _Entry) -> bool:
        return self._entries.get(entry.owner, {}).get(entry.task.name) is entry

    async def _supervise(self, entry: _Entry) -> None:
        plugin_under_way.set(entry.owner)
        structlog.contextvars.bind_contextvars(task=entry.task.name)
        ran: datetime | None = None
        interruptions = 0
        while self._is_kept(entry):
            ran = await self._until_due(entry, ran)
            began = self._clock.monotonic()
            task, entry.runs, entry.next_run = entry.task, True, None
            try:
                await task.run()
                self._is_well(entry)
                if task.every is None and task.cron is None:
                    return
            except (Exception, asyncio.CancelledError, SystemExit) as error:
                if is_interruption(error):
                    interruptions += 1
                    log.info("task_interrupted", reason=str(error))
                    if is_cancelled():
                        return
                elif is_cancelled():
                    raise
                else:
                    interruptions = 0
                    self._has_failed(entry, error, lasted_s=self._clock.monotonic() - began)
                if task.every is None and task.cron is None:
                    tries = interruptions or entry.failures
                    await self._clock.sleep(BACKOFF_S[min(tries, len(BACKOFF_S)) - 1])
            finally:
                entry.runs = False

    async def _until_due(self, entry: _Entry, ran: datetime | None) -> datetime | None:
        """Wait until a task is due; gives its time of day, if it has any."""
        task, clock = entry.task, self._clock
        if task.every is not None:
            wait_s = clock.spread(task.every.total_seconds())
            entry.next_run = clock.now() + timedelta(seconds=wait_s)
            await clock.sleep(wait_s)
        elif task.cron is not None:
            return await self._until_time(entry, CronTimes(task.cron), ran)
        return None

    async def _until_time(self, entry: _Entry, times: CronTimes, ran: datetime | None) -> datetime:
        """Wait for the next of the times, and return it; the one that ran last does not come twice."""
        clock = self._clock
        delay = timedelta(seconds=clock.part_of(entry.task.jitter.total_seconds()))
        time: datetime | None = None
        zone = self.zone
        while True:
            now = clock.now()
            following = times.next(now, self.zone)
            if following == ran:
                following = times.next(following + timedelta(seconds=1), self.zone)
            # An earlier one comes where the clock was put back; a later one only when the time is over.
            time = following if time is None or zone is not self.zone else min(time, following)
            zone, entry.next_run = self.zone, time + delay
            remaining_s = (entry.next_run - now).total_seconds()
            if remaining_s <= 0:
                return time
            await clock.sleep(min(remaining_s, _LOOK_AGAIN_S))

    def _has_failed(self, entry: _Entry, error: BaseException, lasted_s: float) -> None:
        entry.failures = 1 if lasted_s > STEADY_S else entry.failures + 1
        log.error("task_failed", failures=entry.failures, exc_info=error)
        if self.watch is not None and self._is_kept(entry):
            entry.is_failing = True
            self.watch.failed(entry.owner, entry.task.name, entry.failures, error)

    def _is_well(self, entry: _Entry) -> None:
        entry.failures = 0
        if entry.is_failing and self.watch is not None:
            entry.is_failing = False
            self.watch.well(entry.owner, entry.task.name)


async def _end(entry: _Entry) -> None:
    """Cancel what it does, and wait for its end."""
    entry.work.cancel()
    _, late = await asyncio.wait({entry.work}, timeout=STOP_S)
    if late:
        log.error("task_does_not_end", plugin=entry.owner, task=entry.work.get_name())
