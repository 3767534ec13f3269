"""Watches over the event loop, from a thread of its own.

Everything shares one loop, and one process can't interrupt synchronous code: a plugin that computes or waits in it
holds up everybody. Such a block is noticed within a second or two and named, in the log and as an event. One that
does not end is no loss of data, since every job is recovered at the next start: the culprit is written down, the
process ends itself, the service manager starts it again, and the culprit stays disabled. What holds the interpreter's
lock, in C, stops this thread as well: then the service manager's own watchdog is the only help, and nobody is named.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import orjson
import structlog
from attrs import frozen

from rooftree.context import plugin_under_way
from rooftree.events import Event, EventBus
from rooftree.process.service_manager import notify, watchdog_period_s
from rooftree.services import Service
from rooftree.state import write_file_atomically

log = structlog.get_logger(__name__)

BEAT_S = 0.25
"""Seconds between signs of life of the loop, and between looks at them."""
NOTICE_S = 1.0
"""Seconds without a sign of life after which the loop counts as blocked."""
RECORD_S = 5.0
"""Seconds after which the culprit is written down, in case that this block ends with the process."""
EXIT_BLOCKED = 70
"""The exit status of a process that ended because its loop was blocked (EX_SOFTWARE of sysexits.h)."""
_FILE = "blocked-by.json"
_LOOP: Final = "asyncio.events"
"""Where the loop calls what is due: what is further out only runs the loop."""


@frozen(kw_only=True)
class Block:
    """Who blocks the loop, as far as can be told from outside."""

    plugin: str | None
    """``None`` where no plugin's code is on the stack."""
    where: str
    """The place in that code, else in ours, else the innermost one: ``file:line function``."""

    def __str__(self) -> str:
        return f"plugin {self.plugin}, in {self.where}" if self.plugin else self.where


@frozen(kw_only=True)
class LoopBlocked(Event):
    """The loop was blocked, and goes on now."""

    plugin: str | None
    where: str
    seconds: float


class LoopWatchdog:
    """Notices that the loop is blocked.

    :param folder: where the culprit is written down
    :param exit_s: seconds after which the process is ended; 0 for never
    :param plugin_of: the plugin that a module belongs to, by the module's name; called in the thread
    """

    def __init__(self, folder: Path, exit_s: float, plugin_of: Callable[[str], str | None], bus: EventBus) -> None:
        self._file = folder / _FILE
        self._exit_s = exit_s
        self._plugin_of = plugin_of
        self._bus = bus
        self._beats = 0
        self._ended = threading.Event()
        self._block: Block | None = None
        self._since = 0.0
        self.lag_s = 0.0
        """How late the loop was at the last sign of life."""
        self.longest_lag_s = 0.0
        """How late it was at most, since the start."""
        self.blocks = 0
        """How often it was blocked for :data:`NOTICE_S` or more."""

    def start(self) -> None:
        """Begin to watch the running loop."""
        loop = asyncio.get_running_loop()
        self._beating = loop.create_task(self._beat(), name="kernel: signs of life")
        self._thread = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="loop watchdog", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """Stop watching; a block that was noticed, and of whose end the loop could not tell yet, is told of."""
        self._beating.cancel()
        self._ended.set()
        await asyncio.to_thread(self._thread.join)
        if self._block is not None:
            await self._over(self._block)

    def left_behind(self) -> Block | None:
        """Who blocked the loop when an earlier process ended, if that is how it ended. Asked in a thread."""
        try:
            noted = orjson.loads(self._file.read_bytes())
            return Block(plugin=noted["plugin"], where=str(noted["where"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def forget(self) -> None:
        """Take the note of an earlier process away, when it has been acted on. Called in a thread."""
        self._file.unlink(missing_ok=True)

    # --- in the loop --------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        period_s = watchdog_period_s()
        told = time.monotonic()
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT_S)
            now = time.monotonic()
            self._beats += 1
            self.lag_s = max(0.0, now - before - BEAT_S)
            self.longest_lag_s = max(self.longest_lag_s, self.lag_s)
            if self._block is not None:
                await self._over(self._block)
            if period_s is not None and now - told >= period_s / 3:
                told = now
                notify("WATCHDOG=1")

    async def _over(self, block: Block) -> None:
        seconds = round(time.monotonic() - self._since, 1)
        self._block = None
        log.warning("loop_goes_on", plugin=block.plugin, where=block.where, seconds=seconds)
        self._bus.publish(LoopBlocked(plugin=block.plugin, where=block.where, seconds=seconds))
        await asyncio.to_thread(self.forget)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        """Look every :data:`BEAT_S` seconds. Looks are counted, not seconds: a process that was stopped for a while, or
        a machine that slept, holds up this thread as well and is no block. Nor is a loop that nobody runs just now, as
        between two tests that share a system."""
        seen, looks, recorded = self._beats, 0, False
        record_s = min(RECORD_S, (watchdog_period_s() or RECORD_S * 2) / 2, self._exit_s or RECORD_S)
        while not self._ended.wait(BEAT_S):
            if self._beats != seen or not loop.is_running():
                seen, looks, recorded = self._beats, 0, False
                continue
            looks += 1
            blocked_s = looks * BEAT_S
            if blocked_s >= NOTICE_S and self._block is None:
                self._notice(self._culprit(loop, thread_id), blocked_s)
            if self._block is not None and blocked_s >= record_s and not recorded:
                recorded = True
                self._record(self._block)
                if self._beats != seen:  # it went on while that was written, and has taken nothing away yet
                    self.forget()
            if self._block is not None and self._exit_s and blocked_s >= self._exit_s:
                self._end(self._block)

    def _notice(self, block: Block, blocked_s: float) -> None:
        self.blocks += 1
        self._since = time.monotonic() - blocked_s
        self._block = block
        log.error("loop_blocked", plugin=block.plugin, where=block.where)

    def _culprit(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> Block:
        """Who holds the loop, and where: in a plugin's code, else in ours, else wherever it is."""
        frame = innermost = sys._current_frames().get(thread_id)
        ours: FrameType | None = None
        while frame is not None and (module := frame.f_globals.get("__name__", "")) != _LOOP:
            plugin = self._plugin_of(module)
            if plugin is not None:
                return Block(plugin=plugin, where=_place(frame))
            ours = ours or (frame if module.partition(".")[0] == "rooftree" else None)
            frame = frame.f_back
        task = asyncio.current_task(loop)
        plugin = task.get_context().get(plugin_under_way) if task is not None else None
        place = ours or innermost
        return Block(plugin=plugin, where=_place(place) if place is not None else "an unknown place")

    def _record(self, block: Block) -> None:
        try:
            write_file_atomically(self._file, orjson.dumps({"plugin": block.plugin, "where": block.where}), 0o600)
        except OSError as error:
            log.error("culprit_not_recorded", error=str(error))

    def _end(self, block: Block) -> None:
        log.critical("loop_stays_blocked", plugin=block.plugin, where=block.where, exit_status=EXIT_BLOCKED)
        faulthandler.dump_traceback()
        os._exit(EXIT_BLOCKED)  # everything is on disk as after a kill, and nothing else ends a blocked thread


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"


LOOP_WATCHDOG = Service[LoopWatchdog]("loop_watchdog/1")
