"""What makes jobs stand still: the daemon stops, their plugin does not run, or something outside is away."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from rooftree.errors import NotReady
from rooftree.jobs.running import Job

RETRY_S = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries of something that waits for what is away; the last is repeated."""
STUBBORN_S = 2.0
"""Seconds that a step that does not heed its cancellation can hold up a stop."""


class Suspended(Exception):
    """The daemon, or the job's plugin, stops; the job stays open in the journal and is recovered later."""


class Suspension:
    """Whose jobs stand still."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._plugins: dict[str, str] = {}

    @property
    def is_final(self) -> bool:
        """Whether the daemon stops."""
        return self._stopping.is_set()

    def end_all(self) -> None:
        """The daemon stops."""
        self._stopping.set()

    def suspend(self, owner: str, plugin: str) -> None:
        """The plugin of that package stops."""
        self._plugins[owner] = plugin

    def resume(self, owner: str) -> None:
        """It runs again."""
        self._plugins.pop(owner, None)

    def is_off(self, owner: str) -> bool:
        """Whether the plugin of that package does not run."""
        return owner in self._plugins

    def refuse(self, owner: str) -> None:
        """Raise :class:`NotReady` where no job of that package may begin."""
        if self.is_final:
            raise NotReady("Rooftree is stopping; no new job is begun")
        if owner in self._plugins:
            raise NotReady(f"Plugin {self._plugins[owner]} is not running; none of its jobs is begun")

    def interrupt(self, owner: str) -> None:
        """Raise :class:`Suspended` where no job of that package may go on."""
        if self.is_final or owner in self._plugins:
            raise Suspended

    async def pause(self, waiting: Job, tries: int) -> None:
        """Wait before the next try, or until the job is cancelled; raises :class:`Suspended` when the daemon stops."""
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait())]
        if not waiting.taking_back:
            ends.append(asyncio.create_task(waiting.until_cancelled()))
        waiting.rests = True
        try:
            await asyncio.wait(ends, timeout=RETRY_S[min(tries, len(RETRY_S) - 1)], return_when="FIRST_COMPLETED")
        finally:
            waiting.rests = False
            for end in ends:
                end.cancel()
        if self.is_final:
            raise Suspended


async def settled(tasks: Collection[asyncio.Task[None]], grace_s: float) -> None:
    """Wait for tasks, and cancel those that take too long."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace_s)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STUBBORN_S)
