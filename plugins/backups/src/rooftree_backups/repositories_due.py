"""Repositories that came back with a restore: fetched after it, one by one, for a home without internet can be
restored, too, and one repository that is gone is no reason to be without the others. Where everything was restored,
those go that the backup does not know. So a restore that is taken back has changed none, and each change is a job of
the store's, which is taken back by itself where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from attrs import frozen

from rooftree import Collection, Kernel, RooftreeError, document
from rooftree.interfaces.hooks import set_repositories
from rooftree_backups.parts import Parts

log = structlog.get_logger(__name__)

_KEY = "all"


@document("backups.due_repositories", version=1)
@frozen
class DueRepositories:
    """Those that are still to be fetched."""

    sources: tuple[str, ...]
    replace: bool = False
    """Whether all others go."""


class RepositoriesDue:
    """Knows them, and sees to it."""

    def __init__(self, kernel: Kernel, parts: Parts, due: Collection[DueRepositories]) -> None:
        self._kernel = kernel
        self._parts = parts
        self._due = due
        self._more = asyncio.Event()

    async def note(self, due: DueRepositories) -> None:
        """Have these there, beside those that are, or in their place."""
        await self._kernel.commit(self._due.put(_KEY, due))
        self._more.set()

    async def follow(self) -> None:
        """See to what is due at the start, and whenever something more is."""
        while True:
            self._more.clear()
            due = self._due.get(_KEY)
            if due is not None:
                there = await self._fetch(due.sources)
                if due.replace:
                    await self._remove_others(there)
                if self._due.get(_KEY) == due:
                    await self._kernel.commit(self._due.delete(_KEY))
            await self._more.wait()

    async def _fetch(self, sources: tuple[str, ...]) -> list[str]:
        """Add each; one that can't be had is told in the log, and left out. Those that are there are returned."""
        there = []
        for source in sources:
            known = await self._known()
            if source in known or await self._set([*known, source], "repository_not_restored", source):
                there.append(source)
        return there

    async def _remove_others(self, sources: Sequence[str]) -> None:
        """Remove each that is not among these, by whatever spelling; one from which an add-on is installed stays."""
        for other in sorted(set(await self._known()).difference(sources)):
            known = await self._known()
            spelt_otherwise = [source for source in sources if source not in known]
            wanted = [*(source for source in known if source != other), *spelt_otherwise]
            await self._set(wanted, "repository_not_removed", other)

    async def _known(self) -> Sequence[str]:
        return (await self._parts.facts()).repositories

    async def _set(self, wanted: list[str], failure: str, source: str) -> bool:
        """Let these be all; whether that could be."""
        try:
            for change in await self._kernel.call(set_repositories, wanted):
                if change.refusal is not None:
                    raise change.refusal
                if change.call is not None:
                    await self._kernel.jobs.run(change.call)
        except RooftreeError as error:
            log.warning(failure, source=source, reason=error.message)
            return False
        return True
