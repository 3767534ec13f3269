"""Rooftree's own routes of backups: schedules, and what else is known of each backup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

from attrs import frozen

from rooftree import UNSET, JobCall, NotFound, Principal, Role, Routes, Secret, Unset, role
from rooftree.interfaces.backups import WrongPassword
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import BackupSlug, LocationName, key_of
from rooftree_backups.places import refuse_strangers
from rooftree_backups.retention import Retention
from rooftree_backups.schedules import Schedule, ScheduleName, ScheduleRequest, Schedules, schedule_of
from rooftree_backups.verifications import KeptVerification
from rooftree_backups.verifying import verification

own_routes = Routes()
BACKUP = role(Role.BACKUP)

type LocationFacts = dict[str, Any]
"""What a place knows of a backup; its own affair."""

CORES_MARK = "supervisor.backup_request_date"
"""A key of what Core notes in each backup that it asks for."""


@frozen(kw_only=True)
class ShownSchedule:
    """A schedule; its password is shown to nobody."""

    name: str
    cron: str
    jitter_minutes: int
    enabled: bool
    type: Literal["full", "partial"]
    addons: list[str] | Literal["ALL"] | None
    folders: list[str] | None
    homeassistant: bool
    exclude_database: bool | None
    locations: list[str | None] | None
    protected: bool
    compressed: bool
    keep: dict[str, Retention]
    next_run: datetime | None
    last_run: datetime | None
    last_slug: str | None
    last_error: str | None

    @classmethod
    def of(cls, name: str, schedule: Schedule, next_run: datetime | None) -> Self:
        """A schedule as it is shown."""
        request = schedule.request
        return cls(
            name=name,
            cron=request.cron,
            jitter_minutes=request.jitter_minutes,
            enabled=request.enabled,
            type=request.type,
            addons=request.addons,
            folders=list(request.folders) if request.folders is not None else None,
            homeassistant=request.homeassistant,
            exclude_database=request.exclude_database,
            locations=[location or None for location in request.locations] if request.locations is not None else None,
            protected=isinstance(request.password, Secret),
            compressed=request.compressed,
            keep=dict(request.keep),
            next_run=next_run,
            last_run=schedule.last_run,
            last_slug=schedule.last_slug,
            last_error=schedule.last_error,
        )


@frozen
class ScheduleList:
    """The schedules."""

    schedules: list[ShownSchedule]


@frozen(kw_only=True)
class ShownVerification:
    """What came of verifying a backup in one place."""

    at: datetime
    whole: bool
    authenticated: bool
    findings: list[str]

    @classmethod
    def of(cls, kept: KeptVerification) -> Self:
        """As it is shown."""
        outcome = kept.outcome
        return cls(
            at=kept.at, whole=outcome.whole, authenticated=outcome.authenticated, findings=list(outcome.findings)
        )


@frozen(kw_only=True)
class KnownBackup:
    """What is known of a backup beside what it says itself."""

    slug: str
    name: str
    date: datetime
    made_by: Literal["schedule", "homeassistant", "other"]
    """A schedule of ours, Home Assistant Core, or somebody else."""
    schedule: str | None
    facts: dict[str, LocationFacts]
    """By place, what that knows."""
    verifications: dict[str, ShownVerification]
    """By place, what came of verifying it there the last time."""


@frozen
class KnownBackups:
    """All of them."""

    backups: list[KnownBackup]


@own_routes.get("/kernel/v1/backups", access=BACKUP)
async def known_backups(backups: KeptBackups) -> KnownBackups:
    """What is known of each backup beside what it says itself: who made it, and whether it was verified."""
    others = await backups.places.others()
    entries = []
    for backup in await backups.catalogue.backups():
        head, schedule = backup.head, schedule_of(backup.head.extra)
        facts = {
            copy.location: others[copy.location].facts(head.slug) for copy in backup.copies if copy.location in others
        }
        made_by = _made_by(schedule, head.extra)
        entries.append(
            KnownBackup(
                slug=head.slug,
                name=head.name,
                date=head.date,
                made_by=made_by,
                schedule=schedule,
                facts={location: dict(known) for location, known in facts.items()},
                verifications={
                    copy.location: ShownVerification.of(kept)
                    for copy in backup.copies
                    if (kept := backups.verifications.of(copy)) is not None
                },
            )
        )
    return KnownBackups(entries)


def _made_by(schedule: str | None, extra: Mapping[str, Any]) -> Literal["schedule", "homeassistant", "other"]:
    if schedule is not None:
        return "schedule"
    return "homeassistant" if CORES_MARK in extra else "other"


@frozen(kw_only=True)
class VerificationRequest:
    """What opens a backup, and where it is read."""

    password: Secret | None = None
    location: LocationName | None = None
    """Its primary place unless named."""
    background: bool = False


@frozen(kw_only=True)
class VerifiedBackup:
    """A backup that was verified, or is being."""

    job_id: str
    whole: bool | Unset = UNSET
    authenticated: bool | Unset = UNSET
    findings: list[str] | Unset = UNSET
    """Once all was read: see ``verifications`` of ``GET /kernel/v1/backups``."""


@own_routes.post("/kernel/v1/backups/{backup}/verify", access=BACKUP, refuses=(WrongPassword,))
async def verify_backup(
    backups: KeptBackups, caller: Principal, backup: BackupSlug, body: VerificationRequest
) -> JobCall[VerifiedBackup]:
    """Read a backup whole, and say whether all of it can be restored."""
    there = await backups.catalogue.get(backup)
    location = there.primary.location if body.location is None else key_of(body.location)
    refuse_strangers(caller, location)
    copy = there.at(location)
    if copy is None:
        raise NotFound(f"The backup {backup} is not in {location}")

    def answer(job_id: str) -> VerifiedBackup:
        kept = None if body.background else backups.verifications.of(copy)
        if kept is None:
            return VerifiedBackup(job_id=job_id)
        outcome = kept.outcome
        return VerifiedBackup(
            job_id=job_id,
            whole=outcome.whole,
            authenticated=outcome.authenticated,
            findings=list(outcome.findings),
        )

    call = verification(backups, backup, location, body.password)
    return call.in_background(body.background).answering(answer)


@own_routes.get("/kernel/v1/backups/schedules", access=BACKUP)
def list_schedules(schedules: Schedules) -> ScheduleList:
    """The schedules of backups."""
    return ScheduleList([ShownSchedule.of(*item) for item in schedules.items()])


@own_routes.post("/kernel/v1/backups/schedules/{schedule}", access=BACKUP)
async def put_schedule(schedules: Schedules, schedule: ScheduleName, body: ScheduleRequest) -> None:
    """Keep a schedule, in place of the one of that name."""
    await schedules.put(schedule, body)


@own_routes.delete("/kernel/v1/backups/schedules/{schedule}", access=BACKUP)
async def remove_schedule(schedules: Schedules, schedule: ScheduleName) -> None:
    """Forget a schedule; its backups stay."""
    await schedules.remove(schedule)
