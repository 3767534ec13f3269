"""Kills within a process: the task of a job ends where a kill would fall, and takes nothing back."""

from __future__ import annotations

import asyncio

PLACES = (":do", ":done", ":undo", ":accepted", ":end")
"""How the names of all places end: a job is accepted, a step is begun, done, or about to be taken back, all is done."""


class Killed(BaseException):
    """Where a kill falls."""


class Scythe:
    """Kills at the nth place that jobs come by from now on; its :meth:`reach` takes the place of that of
    ``rooftree.jobs.execution``."""

    def __init__(self, places: tuple[str, ...] = PLACES) -> None:
        self._places = places
        self.remaining: int | None = None
        self.place: str | None = None

    def arm(self, number: int) -> None:
        """Kill at that place."""
        self.remaining, self.place = number, None

    async def reach(self, name: str) -> None:
        """A job comes by a place."""
        if self.remaining is None or not name.endswith(self._places):
            return
        self.remaining -= 1
        if self.remaining == 0:
            self.remaining, self.place = None, name
            task = asyncio.current_task()
            assert task is not None
            task.add_done_callback(asyncio.Task.exception)  # nobody else asks for it
            raise Killed(name)
