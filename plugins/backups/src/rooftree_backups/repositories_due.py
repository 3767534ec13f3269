"""Repositories that came back with a restore: fetched after it, one by one, for a home without internet can be
restored, too, and one repository that is gone is no reason to be without the others."""

from __future__ import annotations

import asyncio

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


class RepositoriesDue:
    """Knows them, and sees to it."""

    def __init__(self, kernel: Kernel, parts: Parts, due: Collection[DueRepositories]) -> None:
        self._kernel = kernel
        self._parts = parts
        self._due = due
        self._more = asyncio.Event()

    async def note(self, sources: tuple[str, ...]) -> None:
        """Have these there, beside those that are."""
        await self._kernel.commit(self._due.put(_KEY, DueRepositories(sources)))
        self._more.set()

    async def follow(self) -> None:
        """Fetch what is due at the start, and whenever something more is."""
        while True:
            self._more.clear()
            due = self._due.get(_KEY)
            if due is not None:
                await self._fetch(due.sources)
                await self._kernel.commit(self._due.delete(_KEY))
            await self._more.wait()

    async def _fetch(self, sources: tuple[str, ...]) -> None:
        for source in sources:
            known = (await self._parts.facts()).repositories
            if source not in known:
                await self._add(source, known)

    async def _add(self, source: str, known: tuple[str, ...]) -> None:
        """Add one; one that can't be had is told in the log, and left out."""
        try:
            for change in await self._kernel.call(set_repositories, [*known, source]):
                if change.refusal is not None:
                    raise change.refusal
                if change.call is not None:
                    await self._kernel.jobs.run(change.call)
        except RooftreeError as error:
            log.warning("repository_not_restored", source=source, reason=error.message)
