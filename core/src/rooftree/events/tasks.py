"""Tasks: background and scheduled work that the kernel supervises.

A task without a schedule runs for as long as its plugin does and is begun again, with growing pauses, when it fails.
Intervals are counted on the monotonic clock from the end of the previous run, so a clock that jumps by a year neither
starves nor floods them; times of day follow the wall clock and are looked at again at least once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import structlog
from attrs import field, frozen

from rooftree.clock import MACHINE, Clock
from rooftree.context import is_cancelled, plugin_under_way

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

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
        _times(cron)
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"task {task.name}: cron must be five fields as crontab(5) has them, such as '0 3 * * *', not {cron!r}: "
            f"{error}"
        ) from None


@frozen
class Task:
    """Work that a plugin wants done. One that fails three times in a row is a problem until it succeeds, and its plugin
    degraded; whatever it raises, it is tried again.

    Raises ``ValueError`` or ``TypeError`` where it is made with times that can't be.

    :param name: unique within the plugin
    :param run: called without arguments
    :param every: again and again, this long after the previous run ended; the first run comes one interval after start
    :param cron: at times of day, in the five fields of crontab(5), UTC
    """

    name: str
    run: Callable[[], Awaitable[None]]
    every: timedelta | None = field(default=None, validator=_checked_interval)
    cron: str | None = field(default=None, validator=_checked_cron)


class TaskWatch(Protocol):
    """Who is told how tasks fare."""

    def failed(self, owner: str, task: str, failures: int, error: BaseException) -> None:
        """A task failed, that many times in a row."""

    def well(self, owner: str, task: str) -> None:
        """A task that was failing has done its work, or is no more."""


class TaskSupervisor:
    """Runs tasks by owner.

    :param watch: is told which of them fail
    """

    def __init__(self, clock: Clock = MACHINE, watch: TaskWatch | None = None) -> None:
        self._clock = clock
        self.watch = watch
        self._running: dict[str, dict[str, asyncio.Task[None]]] = {}
        self._failing: set[tuple[str, str]] = set()

    def start(self, task: Task, owner: str) -> None:
        """Begin a task; raises ``ValueError`` when the owner has one of that name."""
        tasks = self._running.setdefault(owner, {})
        if task.name in tasks:
            raise ValueError(f"plugin {owner} has two tasks called {task.name}")
        times = _times(task.cron) if task.cron is not None else None
        loop = asyncio.get_running_loop()
        work = self._supervise(task, times, owner)
        tasks[task.name] = loop.create_task(work, name=f"{owner}: {task.name}")

    async def stop(self, owner: str) -> None:
        """Cancel the tasks of an owner, the last begun first, and wait for each."""
        tasks = self._running.pop(owner, {})
        for task in reversed(tasks.values()):
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=STOP_S)
            if late:
                log.error("task_does_not_end", plugin=owner, task=task.get_name())
        for name in tasks:
            self._is_well(owner, name)

    async def _supervise(self, task: Task, times: CronTrigger | None, owner: str) -> None:
        plugin_under_way.set(owner)
        structlog.contextvars.bind_contextvars(task=task.name)
        clock = self._clock
        failures = 0
        ran: datetime | None = None
        while True:
            if task.every is not None:
                await clock.sleep(clock.spread(task.every.total_seconds()))
            elif times is not None:
                ran = await _until_next(times, ran, clock)
            began = clock.monotonic()
            try:
                await task.run()
                failures = 0
                self._is_well(owner, task.name)
                if task.every is None and task.cron is None:
                    return
            except (Exception, asyncio.CancelledError, SystemExit) as error:
                if is_cancelled():
                    raise
                failures = 1 if clock.monotonic() - began > STEADY_S else failures + 1
                log.exception("task_failed", failures=failures)
                if self.watch is not None:
                    self._failing.add((owner, task.name))
                    self.watch.failed(owner, task.name, failures, error)
                if task.every is None and task.cron is None:
                    await clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])

    def _is_well(self, owner: str, task: str) -> None:
        if (owner, task) in self._failing and self.watch is not None:
            self._failing.discard((owner, task))
            self.watch.well(owner, task)


def _times(cron: str) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  # only who has times of day pays for it

    return CronTrigger.from_crontab(cron, timezone=UTC)


async def _until_next(times: CronTrigger, ran: datetime | None, clock: Clock) -> datetime:
    """Wait for the next of the times, and return it; the one that ran last does not come twice."""

    def following() -> datetime:
        due: datetime = times.get_next_fire_time(None, clock.now())
        return due if due != ran else times.get_next_fire_time(None, ran + timedelta(seconds=1))

    due = following()
    while (left := (due - clock.now()).total_seconds()) > 0:
        await clock.sleep(min(left, _LOOK_AGAIN_S))
        due = min(due, following())  # the clock was put back
    return due
