"""Letting go of backups that need not stay: by what a user said of each place, and what Core has left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta, tzinfo
from typing import Final

import structlog

from rooftree import RooftreeError
from rooftree.events import zone_called
from rooftree.interfaces.backups import BackupHead
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_backups.catalogue import Backup, Copy
from rooftree_backups.failed_parts import failed_parts
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import CLOUD
from rooftree_backups.removal import removal
from rooftree_backups.retention import Candidate, Retention, superfluous

log = structlog.get_logger(__name__)

CLOUD_STAYS: Final = timedelta(days=2)
"""How long what Core was about to send away stays; it has done that long ago, or never will."""
EVERY_OTHER: Final = "*"
"""In the place of a place's name."""


async def prune(
    backups: KeptBackups, keep: Mapping[str, Retention], concerns: Callable[[BackupHead], bool], spared: str
) -> None:
    """Remove those of some backups that need not stay, place by place. What can't be removed is tried the next time.

    :param keep: how long they stay, by place; ``*`` for every other place
    :param concerns: whether a backup is one of them
    :param spared: the slug of one that stays: it was made just now, even where the clock says that it is an old one
    """
    ours = [backup for backup in await backups.catalogue.backups() if concerns(backup.head)]
    zone = _zone(backups)
    for location in sorted({copy.location for backup in ours for copy in backup.copies} - {CLOUD}):
        retention = keep.get(location, keep.get(EVERY_OTHER, Retention()))
        there = {backup.head.slug: (backup, copy) for backup in ours if (copy := backup.at(location)) is not None}
        candidates = [await _candidate(backups, copy) for _, copy in there.values()]
        for candidate in superfluous(candidates, retention, zone):
            if candidate.slug != spared:
                await _remove(backups, there[candidate.slug][0], location)


async def remove_old_cloud_backups(backups: KeptBackups) -> None:
    """Remove what Core was about to send away, and has left behind."""
    before = backups.kernel.clock.now() - CLOUD_STAYS
    for backup in await backups.catalogue.backups():
        if backup.at(CLOUD) is not None and backup.head.date < before:
            await _remove(backups, backup, CLOUD)


async def _candidate(backups: KeptBackups, copy: Copy) -> Candidate:
    others = await backups.places.others()
    facts = others[copy.location].facts(copy.head.slug) if copy.location in others else {}
    is_whole = facts.get("verified") is not False and not backups.verifications.is_damaged(copy)
    is_good = is_whole and not failed_parts(copy.head)
    return Candidate(slug=copy.head.slug, date=copy.head.date, is_good=is_good)


async def _remove(backups: KeptBackups, backup: Backup, location: str) -> None:
    try:
        await backups.kernel.jobs.run(removal(backup, frozenset({location})))
    except RooftreeError as error:
        log.warning("backup_not_removed", slug=backup.head.slug, location=location, reason=error.message)


def _zone(backups: KeptBackups) -> tzinfo:
    preferences = backups.kernel.find(INSTALLATION_PREFERENCES)
    name = preferences.timezone if preferences is not None else None
    return zone_called(name) if name else UTC
