"""Backups by themselves: at times that the user chose, kept as long as the user chose. Core's own schedules are its own
affair; what ours have made says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

import structlog
from attrs import evolve, field, frozen, validators

from rooftree import (
    UNSET,
    Collection,
    Invalid,
    Kernel,
    NotFound,
    ParsedString,
    Problem,
    RooftreeError,
    Secret,
    Service,
    Stopping,
    Task,
    Unset,
    document,
)
from rooftree.interfaces.backups import BackupHead, BackupRequest, PartKind, PartWishes
from rooftree_backups.creation import creation, order_of
from rooftree_backups.failed_parts import OURS
from rooftree_backups.kept_backups import KeptBackups
from rooftree_backups.names import LocationName, key_of
from rooftree_backups.pruning import EVERY_OTHER, prune
from rooftree_backups.retention import Retention

log = structlog.get_logger(__name__)

PROBLEM: Final = "backup_schedule_failed"
MARK: Final = "schedule"
"""The key under which a backup notes which schedule has made it."""
INSTALLATION: Final = "installation"
"""The key under which a schedule's backup says whose schedule it was."""
TRIES: Final = 12
TRY_AGAIN_S: Final = 300.0
"""Seconds until what was refused, such as for another backup under way, is tried again."""


class ScheduleName(ParsedString):
    """What a schedule is called."""

    __slots__ = ()

    pattern = r"[a-z0-9][a-z0-9_-]{0,39}"
    allowed = "up to 40 of a-z 0-9 _ -, the first no sign"


def _checked_cron(_: object, __: object, cron: str) -> None:
    try:
        Task("schedule", _nothing, cron=cron)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("task schedule: ").replace("cron must", "cron: must", 1)) from None


async def _nothing() -> None:
    """Nothing is done."""


@frozen(kw_only=True)
class ScheduleRequest:
    """When what is backed up, where it goes, and how long it stays."""

    cron: str = field(validator=_checked_cron)
    """Five fields as crontab(5) has them, in the installation's time zone."""
    jitter_minutes: int = field(default=0, validator=validators.and_(validators.ge(0), validators.le(720)))
    """Up to so much later, anew each time."""
    enabled: bool = True
    type: Literal["full", "partial"] = "full"
    addons: list[str] | Literal["ALL"] | None = None
    folders: list[Literal["share", "addons/local", "ssl", "media"]] | None = None
    homeassistant: bool = False
    exclude_database: bool | None = None
    """``None`` for what Core's own options say."""
    locations: list[LocationName | None] | None = None
    """``None`` for where backups usually go."""
    password: Secret | Unset | None = UNSET
    """Absent: as it was, so that who reads a schedule, changes it and writes it leaves its backups protected; ``None``
    for none."""
    compressed: bool = True
    keep: dict[str, Retention] = field(factory=dict)
    """How long its backups stay, by place (``.local`` for the data folder); ``*`` for every other place. All stay where
    nothing is said."""


@document("backups.schedule", version=1)
@frozen(kw_only=True)
class Schedule:
    """A schedule, and what came of it last."""

    request: ScheduleRequest
    last_run: datetime | None = None
    last_slug: str | None = None
    """Of the backup that it made last."""
    last_error: str | None = None
    """Why the last run made none."""


def schedule_of(extra: Mapping[str, Any]) -> str | None:
    """The schedule that made a backup; ``None`` for one that somebody else made."""
    ours = extra.get(OURS)
    name = ours.get(MARK) if isinstance(ours, Mapping) else None
    return name if isinstance(name, str) else None


class Schedules:
    """The schedules there are."""

    def __init__(self, kernel: Kernel, backups: KeptBackups, kept: Collection[Schedule]) -> None:
        self._kernel = kernel
        self._backups = backups
        self._kept = kept

    def start(self) -> None:
        """Begin those that are enabled."""
        for name, schedule in self._kept.items():
            if schedule.request.enabled:
                self._kernel.tasks.add(self._task(name, schedule.request))

    def items(self) -> Sequence[tuple[str, Schedule, datetime | None]]:
        """All of them by name, each with when it runs next; ``None`` while it runs, or is switched off."""
        times = self._kernel.tasks.next_runs()
        return [(name, schedule, times.get(_task_name(name))) for name, schedule in sorted(self._kept.items())]

    def get(self, name: str) -> Schedule:
        """One of them; raises ``NotFound``."""
        schedule = self._kept.get(name)
        if schedule is None:
            raise NotFound(f"There is no schedule {name}")
        return schedule

    async def put(self, name: str, request: ScheduleRequest) -> None:
        """Keep a schedule, in place of the one of that name. Raises ``Invalid`` where it names a place that there is
        not."""
        await self._refuse_unknown_places(request)
        before = self._kept.get(name)
        if isinstance(request.password, Unset):
            request = evolve(request, password=before.request.password if before is not None else None)
        schedule = evolve(before, request=request) if before is not None else Schedule(request=request)
        await self._kernel.commit(self._kept.put(name, schedule))
        if before is not None and before.request.enabled:
            await self._kernel.tasks.remove(_task_name(name))
        if request.enabled:
            self._kernel.tasks.add(self._task(name, request))

    async def _refuse_unknown_places(self, request: ScheduleRequest) -> None:
        places = self._backups.places
        known = {*places.names(), *await places.others()}
        named = {
            "locations": [key_of(location) for location in request.locations or ()],
            "keep": [place for place in request.keep if place != EVERY_OTHER],
        }
        for key, locations in named.items():
            if unknown := [location for location in locations if location not in known]:
                raise Invalid(f"{key}: there is no place {unknown[0]}; there are {', '.join(sorted(known))}")

    async def remove(self, name: str) -> None:
        """Forget a schedule; its backups stay. Raises ``NotFound``."""
        schedule = self.get(name)
        await self._kernel.commit(self._kept.delete(name))
        if schedule.request.enabled:
            await self._kernel.tasks.remove(_task_name(name))
        self._kernel.problems.clear(PROBLEM, "system", name)

    def _task(self, name: str, request: ScheduleRequest) -> Task:
        jitter = timedelta(minutes=request.jitter_minutes)
        return Task(_task_name(name), partial(self.run, name), cron=request.cron, jitter=jitter)

    async def run(self, name: str) -> None:
        """Make a schedule's backup now, and let go of those that need not stay. What goes wrong is a problem until the
        next one that is made."""
        schedule = self.get(name)
        try:
            slug = await self._make(name, schedule.request)
        except Stopping:
            raise
        except RooftreeError as error:
            log.error("schedule_failed", schedule=name, reason=error.message)
            message = f"The backup of the schedule {name} could not be made: {error.message}"
            self._kernel.problems.report(Problem(PROBLEM, "system", name, message))
            await self._note(name, last_error=error.message)
            return
        self._kernel.problems.clear(PROBLEM, "system", name)
        await self._note(name, last_error=None, last_slug=slug)
        await prune(self._backups, schedule.request.keep, partial(self._is_ours, name), spared=slug)

    async def _note(self, name: str, **changes: Any) -> None:
        now = self._kernel.clock.now()
        if name in self._kept:
            await self._kernel.commit(
                self._kept.update(name, lambda schedule: evolve(schedule, last_run=now, **changes))
            )

    async def _make(self, name: str, request: ScheduleRequest) -> str:
        """Make the backup; tried again for a while where it is refused, such as while another one is made."""
        for tries in range(1, TRIES + 1):
            password = request.password if isinstance(request.password, Secret) else None
            order = order_of(self._backups, await self._request(name, request), password)
            try:
                await self._kernel.jobs.run(creation(self._backups, order, password))
            except Stopping:
                raise
            except RooftreeError as error:
                if error.job_id is not None or tries == TRIES:  # it was begun, or is not going to be
                    raise
                log.info("schedule_waits", schedule=name, reason=error.message)
                await self._kernel.clock.sleep(TRY_AGAIN_S)
            else:
                return order.slug
        raise AssertionError("unreachable: the last try returns or raises")

    async def _request(self, name: str, request: ScheduleRequest) -> BackupRequest:
        addons = tuple(request.addons or ())
        if request.addons == "ALL":
            owner = (await self._backups.parts.owners()).get(PartKind.ADDON)
            addons = tuple(part.id.slug for part in owner.parts()) if owner is not None else ()
        return BackupRequest(
            name=f"{name} {self._kernel.clock.now():%Y-%m-%d}",
            type=request.type,
            addons=addons,
            folders=tuple(request.folders or ()),
            core=request.homeassistant,
            wishes=PartWishes(exclude_database=request.exclude_database),
            locations=tuple(map(key_of, request.locations)) if request.locations is not None else None,
            compressed=request.compressed,
            extra={OURS: {MARK: name, INSTALLATION: self._kernel.data.instance_id}},
        )

    def _is_ours(self, name: str, head: BackupHead) -> bool:
        """Whether a schedule here has made a backup; another installation may have one of that name, and put its
        backups on the same share."""
        ours = head.extra.get(OURS)
        maker = ours.get(INSTALLATION) if isinstance(ours, Mapping) else None
        return maker == self._kernel.data.instance_id and schedule_of(head.extra) == name


def _task_name(name: str) -> str:
    return f"schedule {name}"


SCHEDULES = Service[Schedules]("backup_schedules/1")
