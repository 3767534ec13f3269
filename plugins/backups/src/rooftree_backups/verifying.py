"""Whether a backup would come back whole: all of it is read where it is kept, and nothing is written."""

from __future__ import annotations

from typing import Final

from rooftree import NotFound, Problem, Secret
from rooftree.interfaces.backups import Verification
from rooftree_backups.catalogue import Backup
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import shown

PROBLEM: Final = "backup_damaged"


async def verify(backups: KeptBackups, backup: Backup, location: str | None, password: Secret | None) -> Verification:
    """Verify a backup in one of its places, its primary one unless named; what is damaged is a problem until it is
    whole again, or gone. Raises ``WrongPassword``, ``BackupDamaged``, ``NotFound``."""
    copy = backup.primary if location is None else backup.at(location)
    if copy is None:
        raise NotFound(f"The backup {backup.head.slug} is not in {location}")
    slug = backup.head.slug
    async with await backups.places.reader(copy.location, slug, copy.filename, password) as reader:
        outcome = await reader.verify(lambda done, total: None)
    if outcome.whole:
        backups.kernel.problems.clear(PROBLEM, "system", slug)
    else:
        where = shown(copy.location) or "the data folder"
        message = f"The backup {backup.head.name or slug} ({slug}) in {where} is damaged: {'; '.join(outcome.findings)}"
        backups.kernel.problems.report(Problem(PROBLEM, "system", slug, message))
    return outcome


def forget_damaged(backups: KeptBackups, slugs: set[str]) -> None:
    """What is gone is no problem any more.

    :param slugs: of the backups that there are
    """
    for problem in tuple(backups.kernel.problems):
        if problem.type == PROBLEM and problem.reference not in slugs:
            backups.kernel.problems.clear(PROBLEM, "system", problem.reference)
