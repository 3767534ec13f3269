"""Mounts are visited from time to time: what does not answer is mounted anew, at growing intervals, for as long as it
takes. Nobody waits for any of it."""

from __future__ import annotations

import asyncio
from typing import Final

from attrs import define

from rooftree_mounts.host_mounts import HostMounts
from rooftree_mounts.kept_mounts import KeptMounts
from rooftree_mounts.mount_table import table_changes
from rooftree_mounts.places import Places

EVERY_S: Final = 120.0
"""Seconds between looks at what works."""
FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 900.0
"""Seconds between attempts at what does not work: twice as many each time."""
_MOST_DOUBLINGS: Final = 16
SHORTEST_PAUSE_S: Final = 2.0
"""Seconds between two visits, whatever happens to a mount meanwhile."""


def pause_s(failures: int) -> float:
    """Seconds until the next attempt after so many in a row: any number, for a server can be gone for months."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), LONGEST_PAUSE_S)


@define
class _Round:
    """When a mount is visited next."""

    due: float
    earliest: float = 0.0
    failures: int = 0
    under_way: bool = False
    again: bool = False
    """Whether something has happened to it since the visit that is under way began: it may not have seen that."""


class Upkeep:
    """Visits the mounts."""

    def __init__(self, kept: KeptMounts, mounts: HostMounts) -> None:
        self._kept = kept
        self._mounts = mounts
        self._rounds: dict[str, _Round] = {}

    async def run(self) -> None:
        """Visit all of them now, and each again when it is due, or when something happened to it. Never ends."""
        async with asyncio.TaskGroup() as visits:
            with table_changes() as changed:
                while True:
                    self._mounts.wanted.clear()
                    now = asyncio.get_running_loop().time()
                    for name in self._due(now):
                        self._rounds[name].under_way, self._rounds[name].again = True, False
                        visits.create_task(self._visit(name), name=f"visit to mount {name}")
                    await self._wait(changed, now)

    def hurry(self) -> None:
        """Try at once what does not work: something has changed that may have kept it."""
        for name, turn in self._rounds.items():
            if self._mounts.state(name) != "active":
                turn.due = turn.earliest
        self._mounts.wanted.set()

    def _due(self, now: float) -> list[str]:
        names = self._kept.configs.keys()
        for name in self._rounds.keys() - names:
            if not self._rounds[name].under_way:
                del self._rounds[name]
        for name in names - self._rounds.keys():
            self._rounds[name] = _Round(due=now)
        for name, turn in self._rounds.items():
            if self._mounts.is_to_be_mounted_anew(name):
                turn.due = min(turn.due, now)
        return [
            name
            for name, turn in self._rounds.items()
            if not turn.under_way and name in names and now >= max(turn.due, turn.earliest)
        ]

    async def _wait(self, changed: asyncio.Event, now: float) -> None:
        """Until a visit is due, or something has happened."""
        due = [max(turn.due, turn.earliest) for turn in self._rounds.values() if not turn.under_way]
        waits = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._mounts.wanted.wait())}
        try:
            await asyncio.wait(
                waits, timeout=max(0.0, min(due) - now) if due else None, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        if changed.is_set():
            changed.clear()
            await self._note_changes()

    async def _note_changes(self) -> None:
        """Visit soon what was mounted or unmounted by others."""
        for name, config in self._kept.configs.items():
            turn = self._rounds.get(name)
            where = Places.of(name, config.usage)
            if turn is not None and await self._mounts.is_mounted(where.own) is not (
                self._mounts.state(name) == "active"
            ):
                turn.due = min(turn.due, turn.earliest)
                turn.again = True

    async def _visit(self, name: str) -> None:
        turn = self._rounds[name]
        works: bool | None = False
        try:
            works = await self._mounts.visit(name)
        finally:
            now = asyncio.get_running_loop().time()
            if works is None:
                pause = SHORTEST_PAUSE_S
            elif works:
                turn.failures, pause = 0, SHORTEST_PAUSE_S if turn.again else EVERY_S
            else:
                turn.failures += 1
                pause = pause_s(turn.failures)
            turn.due, turn.earliest, turn.under_way = now + pause, now + SHORTEST_PAUSE_S, False
            self._mounts.wanted.set()
