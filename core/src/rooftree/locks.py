"""What jobs hold while they run.

All the locks of a job are taken together, so no two jobs can wait for each other; whoever waits is served in order.
"""

from __future__ import annotations

import asyncio

from attrs import frozen


@frozen
class Lock:
    """A thing only one job at a time may change: its kind and its name, such as ``Lock("addon", "local_hello")``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class LockTable:
    """Who holds what, and who waits."""

    def __init__(self) -> None:
        self._held: dict[Lock, str] = {}
        self._waiting: list[tuple[frozenset[Lock], str, asyncio.Future[None]]] = []

    def take_now(self, locks: frozenset[Lock], job: str) -> None:
        """Take locks that nobody can hold yet: those of the jobs that a start finds open."""
        self._held.update(dict.fromkeys(locks, job))

    async def take(self, locks: frozenset[Lock], job: str) -> None:
        """Wait until all of ``locks`` are free and take them together."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((locks, job, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting = [entry for entry in self._waiting if entry[2] is not turn]
            self.release(job)
            raise

    def holders(self, locks: frozenset[Lock]) -> list[str]:
        """The jobs that hold one of ``locks``, or wait for one."""
        held = [holder for lock, holder in self._held.items() if lock in locks]
        queued = [job for wanted, job, turn in self._waiting if wanted & locks and not turn.done()]
        return list(dict.fromkeys((*held, *queued)))

    def release(self, job: str) -> None:
        """Give back everything the job holds."""
        self._held = {lock: holder for lock, holder in self._held.items() if holder != job}
        self._serve()

    def _serve(self) -> None:
        wanted_earlier: set[Lock] = set()
        left = []
        for locks, job, turn in self._waiting:
            if turn.done():
                continue
            if locks & (self._held.keys() | wanted_earlier):
                wanted_earlier |= locks
                left.append((locks, job, turn))
            else:
                self._held.update(dict.fromkeys(locks, job))
                turn.set_result(None)
        self._waiting = left
