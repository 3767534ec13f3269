"""Whether there is a backup that is young enough, and what is done where there is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from rooftree import Problem
from rooftree_backups.catalogue import Backup
from rooftree_backups.failed_parts import failed_parts
from rooftree_backups.kept_backups import KeptBackups

PROBLEM: Final = "no_current_backup"
SUGGESTION: Final = "create_full_backup"
CHECK: Final = "backups"
"""What clients call it."""


async def check_age(backups: KeptBackups) -> None:
    """Report where no backup of the house is young enough, and clear that where one is."""
    days = backups.options.days_until_stale
    since = backups.kernel.clock.now() - timedelta(days=days)
    there = await backups.catalogue.backups()
    await backups.forget_gone()
    if any(backup.head.date >= since and _is_good(backups, backup) for backup in there):
        backups.kernel.problems.clear(PROBLEM, "system", None)
        return
    message = (
        f"There is no backup of Home Assistant and what belongs to it that is younger than {days} days; make one, or "
        "let a schedule make them"
    )
    backups.kernel.problems.report(Problem(PROBLEM, "system", None, message, (SUGGESTION,)))


def _is_good(backups: KeptBackups, backup: Backup) -> bool:
    return is_of_the_house(backup) and not all(map(backups.verifications.is_damaged, backup.copies))


def is_of_the_house(backup: Backup) -> bool:
    """Whether it would bring the house back: a full one, or one with Core in it, that nothing is missing from. Core's
    own schedules make such, and they are partial by their type."""
    head = backup.head
    return (head.type == "full" or head.core_version is not None) and not failed_parts(head)
