"""Which backups stay: the last ones, and one for each of the last days, weeks and months; never without a good one.

Pure: who has a list of backups asks which of them go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, tzinfo

from attrs import field, frozen, validators

_COUNT = validators.and_(validators.ge(0), validators.le(10_000))


@frozen(kw_only=True)
class Retention:
    """How many backups stay; 0 for none of that sort."""

    last: int = field(default=0, validator=_COUNT)
    """The newest ones."""
    daily: int = field(default=0, validator=_COUNT)
    """The newest of a day, for so many days on which there is one."""
    weekly: int = field(default=0, validator=_COUNT)
    """The same of weeks, which begin on Mondays."""
    monthly: int = field(default=0, validator=_COUNT)

    @property
    def keeps_all(self) -> bool:
        """Whether nothing was said, and all stay."""
        return not (self.last or self.daily or self.weekly or self.monthly)


@frozen(kw_only=True)
class Candidate:
    """A backup that may have to go."""

    slug: str
    date: datetime
    is_good: bool = True
    """Whether it is whole, as far as anybody knows."""


def superfluous(candidates: Iterable[Candidate], retention: Retention, zone: tzinfo) -> list[Candidate]:
    """The backups that go, the oldest first. The newest good one never does; what is not good counts for nothing, and
    goes when a newer good one stays.

    :param zone: in which days, weeks and months are told apart
    """
    newest_first = sorted(candidates, key=lambda candidate: (candidate.date, candidate.slug), reverse=True)
    good = [candidate for candidate in newest_first if candidate.is_good]
    if retention.keeps_all or not good:
        return []
    kept = {candidate.slug for candidate in (good[0], *good[: retention.last])}
    for count, period in ((retention.daily, _day), (retention.weekly, _week), (retention.monthly, _month)):
        kept |= _newest_of_each(good, count, period, zone)
    newest = good[0].date
    stays = [candidate for candidate in newest_first if not candidate.is_good and candidate.date > newest]
    kept |= {candidate.slug for candidate in stays}
    return [candidate for candidate in reversed(newest_first) if candidate.slug not in kept]


def _newest_of_each(
    newest_first: Sequence[Candidate], count: int, period: Callable[[date], object], zone: tzinfo
) -> set[str]:
    newest: dict[object, str] = {}
    for candidate in newest_first:
        newest.setdefault(period(candidate.date.astimezone(zone).date()), candidate.slug)
    return set(list(newest.values())[:count])


def _day(day: date) -> object:
    return day


def _week(day: date) -> object:
    return day.isocalendar()[:2]


def _month(day: date) -> object:
    return day.year, day.month
