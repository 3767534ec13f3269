"""Times of day, as crontab(5) writes them, in a time zone that may change.

APScheduler reckons them. What it understands otherwise than crontab(5) is translated: it numbers the days of the week
from Monday, and wants both the day of the month and that of the week where a crontab wants either.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

log = structlog.get_logger(__name__)

_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKDAY: Final = "day of the week (0-7, sun-sat)"
_OTHERS: Final = {
    "minute": "minute (0-59)",
    "hour": "hour (0-23)",
    "day": "day of the month (1-31)",
    "month": "month (1-12, jan-dec)",
}
"""The fields before that of the week, by what APScheduler calls them."""
_LOOK_AHEAD: Final = timedelta(days=9 * 366)
"""From one 29th of February to the next there are eight years at most."""


class CronTimes:
    """The times that five fields of crontab(5) name; raises ``ValueError`` where they name none."""

    def __init__(self, text: str) -> None:
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"there {'is 1 field' if len(fields) == 1 else f'are {len(fields)} fields'}")
        for name, field in zip(_OTHERS, fields, strict=False):
            _refuse_unreadable(name, field)
        minute, hour, day, month, weekday = fields
        either = not day.startswith("*") and not weekday.startswith("*")  # then a day that is one of both will do
        weekday = _weekdays(weekday)
        ways = [(day, "*"), ("*", weekday)] if either else [(day, weekday)]
        self._ways = [
            {"minute": minute, "hour": hour, "day": of_month, "month": month, "day_of_week": of_week}
            for of_month, of_week in ways
        ]
        self._is_hourly = hour in {"*", "*/1"}
        self.next(datetime.now(UTC), UTC)

    def next(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first of the times at or after ``moment``, in UTC.

        Where clocks are put forward, a time that is left out comes as long after midnight as it else would. Where they
        are put back, times that come twice count once, the first time; but for those of every hour, which go on.
        """
        times = [time for way in self._ways if (time := self._next(way, moment, zone)) is not None]
        if not times:
            raise ValueError("there is no such day")
        return min(times)

    def _next(self, way: dict[str, str], moment: datetime, zone: tzinfo) -> datetime | None:
        trigger = _trigger(way, zone, moment + _LOOK_AHEAD)
        while True:
            time: datetime | None = trigger.get_next_fire_time(None, moment.astimezone(zone))
            if time is None:
                return None
            if self._is_hourly or not _is_second(time):
                return time.astimezone(UTC)
            moment = time.astimezone(UTC) + timedelta(seconds=1)


def _trigger(way: dict[str, str], zone: tzinfo, end: datetime) -> CronTrigger:
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  # only who has times of day pays for it

    return CronTrigger(**way, timezone=zone, end_date=end)


def _refuse_unreadable(name: str, field: str) -> None:
    try:
        _trigger({name: field}, UTC, datetime.max.replace(tzinfo=UTC))
    except ValueError:
        raise ValueError(f"{field!r} is no {_OTHERS[name]}") from None


def _is_second(time: datetime) -> bool:
    """Whether the clocks showed it before, and were put back since."""
    offset, first = time.utcoffset(), time.replace(fold=0).utcoffset()
    return time.fold == 1 and offset is not None and first is not None and offset < first


def _weekdays(text: str) -> str:
    """The field for the days of the week, with names for its numbers: 0 and 7 are Sunday. Raises ``ValueError``."""
    if text == "*":
        return text
    days: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = ("0", "-", "6") if span == "*" else span.partition("-")
        begin = _weekday(first)
        end = _weekday(last) if dash else (6 if slash else begin)
        if end < begin:
            end += 7
        if slash and (not step.isdecimal() or int(step) == 0):
            raise ValueError(f"{part!r} is no {_WEEKDAY}")
        days |= {day % 7 for day in range(begin, end + 1, int(step or 1))}
    return ",".join(_WEEKDAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    if text in _WEEKDAYS:
        return _WEEKDAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no {_WEEKDAY}")


def zone_called(name: str) -> tzinfo:
    """The time zone of that IANA name; UTC, with a word in the log, where there is none such. Blocks for a moment."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        log.warning("no_such_time_zone", name=name)
        return UTC
