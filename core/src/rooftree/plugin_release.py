"""Taking back what a plugin got, whatever it does meanwhile: one that hangs or raises when it stops holds up nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from rooftree.context import code_of, is_cancelled, plugin_under_way

if TYPE_CHECKING:
    from rooftree.plugin_record import Record
    from rooftree.system import System

log = structlog.get_logger(__name__)

STOP_S = 10.0
"""Seconds that one plugin's ``stop`` may take."""
LEFT_TASKS_S: Final = 2.0
"""Seconds that tasks get to end which a plugin made by itself and has not ended."""


async def release(system: System, record: Record) -> None:
    """Take back everything a plugin got from the kernel, and let it give back the rest."""
    system.hooks.unregister(record.name)
    await system.tasks.stop(record.name)
    for listener in tuple(record.listeners):
        await system.server.close_listener(listener)
    record.listeners.clear()
    await _let_stop(record)
    await system.bus.withdraw(record.name)
    for kind in record.token_kinds:
        system.tokens.forget_kind(kind)
    record.token_kinds.clear()
    system.conditions.withdraw(record.name)
    system.services.withdraw(record.name)
    await _end_left_tasks(record)


async def _let_stop(record: Record) -> None:
    if record.plugin is None:
        return
    try:
        async with asyncio.timeout(STOP_S):
            with code_of(record.name):
                await record.plugin.stop()
    except TimeoutError:
        log.error("plugin_stop_timed_out", plugin=record.name)
    except (Exception, asyncio.CancelledError, SystemExit):
        if is_cancelled():
            raise
        log.exception("plugin_stop_failed", plugin=record.name)


async def _end_left_tasks(record: Record) -> None:
    """Cancel the tasks that the plugin's own code began, in whatever it does, and left behind."""
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task() and _is_of(task, record)}
    if not left:
        return
    log.warning("plugin_left_tasks", plugin=record.name, tasks=sorted(task.get_name() for task in left))
    for task in left:
        task.cancel()
    _, late = await asyncio.wait(left, timeout=LEFT_TASKS_S)
    if late:
        log.error("task_does_not_end", plugin=record.name, task=", ".join(sorted(task.get_name() for task in late)))


def _is_of(task: asyncio.Task[Any], record: Record) -> bool:
    """Whether a task was begun by the plugin's code and runs it. Either alone would not do: what it began may be the
    kernel's or another plugin's, and other plugins may have begun what it offers."""
    if task.get_context().get(plugin_under_way) != record.name:
        return False
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == record.package
