"""What came of verifying backups: a fact of each copy of one, until that is another file, or gone. What is damaged is a
problem for as long."""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Names
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from attrs import frozen

from rooftree import Collection, Kernel, Problem, document
from rooftree.interfaces.backups import Verification
from rooftree_backups.archive_folder import FileState
from rooftree_backups.catalogue import Backup, Copy
from rooftree_backups.names import shown

PROBLEM: Final = "backup_damaged"


@document("backups.verification", version=1)
@frozen(kw_only=True)
class KeptVerification:
    """What came of verifying a copy the last time."""

    slug: str
    location: str
    name: str
    """Of the backup, for people."""
    state: FileState | None
    """The file that was read; ``None`` for what is none."""
    at: datetime
    outcome: Verification


class Verifications:
    """Knows them."""

    def __init__(self, kernel: Kernel, kept: Collection[KeptVerification]) -> None:
        self._kernel = kernel
        self._kept = kept
        self._known: Names[str] = ()

    def of(self, copy: Copy) -> KeptVerification | None:
        """What came of it; ``None`` where that was never asked, or it is another file since."""
        kept = self._kept.get(_key(copy.head.slug, copy.location))
        return kept if kept is not None and kept.state == copy.state else None

    def is_damaged(self, copy: Copy) -> bool:
        """Whether a copy is known not to be whole."""
        kept = self.of(copy)
        return kept is not None and not kept.outcome.whole

    async def keep(self, copy: Copy, outcome: Verification) -> None:
        """Keep what came of verifying a copy."""
        slug, location = copy.head.slug, copy.location
        kept = KeptVerification(
            slug=slug,
            location=location,
            name=copy.head.name,
            state=copy.state,
            at=self._kernel.clock.now(),
            outcome=outcome,
        )
        await self._kernel.commit(self._kept.put(_key(slug, location), kept))
        self._known = {*self._known, location}
        self._report()

    async def forget_gone(self, backups: Iterable[Backup], seen: Names[str], known: Names[str]) -> None:
        """Forget what is another file by now, or gone; of a place that nobody knows, because it was removed or its
        domain does not run, nothing is said.

        :param seen: the places that can be looked into now; of what lies elsewhere nobody can say
        :param known: all places that there are
        """
        there = {_key(copy.head.slug, copy.location): copy for backup in backups for copy in backup.copies}
        gone = [
            key
            for key, kept in self._kept.items()
            if kept.location in seen and (key not in there or self.of(there[key]) is None)
        ]
        self._known = known
        if gone:
            await self._kernel.commit(*map(self._kept.delete, gone))
        self._report()

    def _report(self) -> None:
        """Say which backups are damaged; one problem for each."""
        damaged: dict[str, list[KeptVerification]] = {}
        for kept in self._kept.values():
            if not kept.outcome.whole and kept.location in self._known:
                damaged.setdefault(kept.slug, []).append(kept)
        for problem in tuple(self._kernel.problems):
            if problem.type == PROBLEM and problem.reference not in damaged:
                self._kernel.problems.clear(PROBLEM, "system", problem.reference)
        for slug, copies in damaged.items():
            where = " and in ".join(sorted(shown(kept.location) or "the data folder" for kept in copies))
            findings = "; ".join(dict.fromkeys(finding for kept in copies for finding in kept.outcome.findings))
            message = f"The backup {copies[0].name or slug} ({slug}) in {where} is damaged: {findings}"
            self._kernel.problems.report(Problem(PROBLEM, "system", slug, message))


def _key(slug: str, location: str) -> str:
    return f"{slug}/{hashlib.sha256(location.encode()).hexdigest()[:32]}"
