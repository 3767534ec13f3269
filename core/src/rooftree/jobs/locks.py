"""What jobs hold while they run.

All the locks of a job are taken together, so no two jobs can wait for each other; whoever waits is served in order.
Those who only need a thing to stay as it is share it: they wait for who changes it, and not for each other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import frozen

type _Thing = tuple[str, str]

_SHARED = "shared"


@frozen
class Lock:
    """A thing only one job at a time may change: its kind and its name, such as ``Lock("lamp", "kitchen")``."""

    kind: str
    name: str
    shared: bool = False
    """Whether the job only needs the thing to stay as it is: any number of such jobs may hold it together."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def written(locks: Iterable[Lock]) -> tuple[tuple[str, ...], ...]:
    """Locks as the journal keeps them: kind and name, and a word more where others may hold them too."""
    wishes = sorted(_wishes(locks).items())
    return tuple((*thing, _SHARED) if shared else thing for thing, shared in wishes)


def read(rows: Iterable[Iterable[str]]) -> frozenset[Lock]:
    """Locks from what :func:`written` made of them."""
    return frozenset(Lock(kind, name, shared=_SHARED in how) for kind, name, *how in rows)


class LockTable:
    """Who holds what, and who waits."""

    def __init__(self) -> None:
        self._held: defaultdict[_Thing, dict[str, bool]] = defaultdict(dict)
        """By thing the jobs that hold it, and whether they share it."""
        self._waiting: list[tuple[frozenset[Lock], str, asyncio.Future[None]]] = []

    def take_now(self, locks: frozenset[Lock], job: str) -> None:
        """Take locks that nobody can hold yet: those of the jobs that a start finds open."""
        for thing, shared in _wishes(locks).items():
            self._held[thing][job] = shared

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
        """The jobs that would have to end first: they hold one of ``locks``, or wait for one."""
        wishes = _wishes(locks)
        held = [
            job
            for thing, shared in wishes.items()
            for job, shares in self._held.get(thing, {}).items()
            if not (shared and shares)
        ]
        queued = [job for wanted, job, turn in self._waiting if not turn.done() and _excludes(wishes, _wishes(wanted))]
        return list(dict.fromkeys((*held, *queued)))

    def release(self, job: str) -> None:
        """Give back everything the job holds."""
        for thing, jobs in [*self._held.items()]:
            jobs.pop(job, None)
            if not jobs:
                del self._held[thing]
        self._serve()

    def _serve(self) -> None:
        wanted_earlier: dict[_Thing, bool] = {}
        waiting = []
        for locks, job, turn in self._waiting:
            if turn.done():
                continue
            wishes = _wishes(locks)
            if _excludes(wishes, wanted_earlier) or self._are_held(wishes):
                for thing, shared in wishes.items():
                    wanted_earlier[thing] = shared and wanted_earlier.get(thing, True)
                waiting.append((locks, job, turn))
            else:
                self.take_now(locks, job)
                turn.set_result(None)
        self._waiting = waiting

    def _are_held(self, wishes: Mapping[_Thing, bool]) -> bool:
        return any(
            not (shared and all(self._held[thing].values())) for thing, shared in wishes.items() if thing in self._held
        )


def _wishes(locks: Iterable[Lock]) -> dict[_Thing, bool]:
    """By thing whether it may be shared; who wants a thing both ways wants it alone."""
    wishes: dict[_Thing, bool] = {}
    for lock in locks:
        thing = lock.kind, lock.name
        wishes[thing] = lock.shared and wishes.get(thing, True)
    return wishes


def _excludes(wishes: Mapping[_Thing, bool], others: Mapping[_Thing, bool]) -> bool:
    """Whether there is a thing in both that is not shared by both."""
    return any(not (shared and others[thing]) for thing, shared in wishes.items() if thing in others)
