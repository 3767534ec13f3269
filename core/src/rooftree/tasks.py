"""Tasks: background and scheduled work that the kernel supervises.

A task without a schedule runs for as long as its plugin does and is begun again, with growing pauses, when it fails.
Intervals are counted on the monotonic clock from the end of the previous run, so a clock that jumps by a year neither
starves nor floods them; times of day follow the wall clock and are looked at again at least once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from attrs import frozen

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


@frozen
class Task:
    """Work that a plugin wants done.

    :param name: unique within the plugin
    :param run: called without arguments
    :param every: again and again, this long after the previous run ended; the first run comes one interval after start
    :param cron: at times of day, in the five fields of crontab(5), UTC
    """

    name: str
    run: Callable[[], Awaitable[None]]
    every: timedelta | None = None
    cron: str | None = None


class TaskSupervisor:
    """Runs tasks by owner."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._running: dict[str, dict[str, asyncio.Task[None]]] = {}

    def start(self, task: Task, owner: str) -> None:
        """Begin a task; raises ``ValueError`` when the owner has one of that name, or its times can't be read."""
        tasks = self._running.setdefault(owner, {})
        if task.name in tasks:
            raise ValueError(f"plugin {owner} has two tasks called {task.name}")
        times = _times(task.cron) if task.cron is not None else None
        loop = asyncio.get_running_loop()
        work = _supervise(task, times, owner, self._clock)
        tasks[task.name] = loop.create_task(work, name=f"{owner}: {task.name}")

    async def stop(self, owner: str) -> None:
        """Cancel the tasks of an owner, the last begun first, and wait for each."""
        tasks = self._running.pop(owner, {})
        for task in reversed(tasks.values()):
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=STOP_S)
            if late:
                log.error("task_does_not_end", plugin=owner, task=task.get_name())


def _times(cron: str) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  # only who has times of day pays for it

    return CronTrigger.from_crontab(cron, timezone=UTC)


async def _supervise(task: Task, times: CronTrigger | None, owner: str, clock: Clock) -> None:
    plugin_under_way.set(owner)
    structlog.contextvars.bind_contextvars(task=task.name)
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
            if task.every is None and task.cron is None:
                return
        except (Exception, asyncio.CancelledError, SystemExit):
            if is_cancelled():
                raise
            failures = 1 if clock.monotonic() - began > STEADY_S else failures + 1
            log.exception("task_failed", failures=failures)
            if task.every is None and task.cron is None:
                await clock.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])


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
