"""What makes jobs stand still: Rooftree stops, their plugin does not run, or something outside is away."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from rooftree.errors import Stopping
from rooftree.jobs.running import Job

RETRY_S = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries of something that waits for what is away; the last is repeated."""
STUBBORN_S = 2.0
"""Seconds that a step that does not heed its cancellation can hold up a stop."""


class Suspended(Exception):
    """Rooftree, or the job's plugin, stops; the job stays open in the journal and is recovered later."""


class Suspension:
    """Whose jobs stand still."""

    def __init__(self) -> None:
        self.is_final = False
        """Whether Rooftree stops."""
        self._plugins: dict[str, str] = {}

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
        """Raise :class:`Stopping` where no job of that package may begin."""
        if self.is_final:
            raise Stopping("Rooftree is stopping; no new job is begun")
        if owner in self._plugins:
            raise Stopping(f"Plugin {self._plugins[owner]} is not running; none of its jobs is begun")

    def interrupt(self, owner: str) -> None:
        """Raise :class:`Suspended` where no job of that package may go on."""
        if self.is_final or owner in self._plugins:
            raise Suspended

    async def pause(self, job: Job, tries: int) -> None:
        """Wait before the next try; a job that is cancelled tries at once. Raises :class:`Suspended`."""
        await job.rest(RETRY_S[min(tries, len(RETRY_S) - 1)])
        self.interrupt(job.record.owner)

    async def wait_for_code(self, job: Job, tries: int) -> None:
        """Wait before the next look for the job's code, which its plugin has while it runs; raises
        :class:`Suspended` when Rooftree stops, and why the job was given up where it was."""
        await job.rest(RETRY_S[min(tries, len(RETRY_S) - 1)])
        if self.is_final:
            raise Suspended
        if job.given_up is not None:
            raise job.given_up


async def wait_or_cancel(tasks: Collection[asyncio.Task[None]], grace_s: float) -> None:
    """Wait for tasks, and cancel those that take too long."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace_s)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STUBBORN_S)
