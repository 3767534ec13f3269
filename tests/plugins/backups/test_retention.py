"""Which backups stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_backups.retention import Candidate, Retention, superfluous

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)  # a Monday


def days_ago(*days: float, good: bool = True) -> list[Candidate]:
    return [Candidate(slug=f"{day:g}", date=NOON - timedelta(days=day), is_good=good) for day in days]


def gone(candidates: list[Candidate], **counts: int) -> list[str]:
    return [candidate.slug for candidate in superfluous(candidates, Retention(**counts), UTC)]


def test_all_stay_where_nothing_is_said() -> None:
    assert gone(days_ago(*range(100))) == []


def test_the_last_ones_stay_and_the_oldest_goes_first() -> None:
    assert gone(days_ago(0, 1, 2, 3, 4), last=2) == ["4", "3", "2"]


def test_newest_of_each_day_stays() -> None:
    assert gone(days_ago(0, 0.1, 0.2, 1, 1.1, 5, 9), daily=3) == ["9", "1.1", "0.2", "0.1"]


def test_weeks_begin_on_mondays_and_months_on_the_first() -> None:
    assert gone(days_ago(0, 1, 6, 7, 8), weekly=2) == ["8", "7", "6"]
    assert gone(days_ago(0, 29, 30, 60), monthly=2) == ["60", "29"]


def test_weeks_of_different_years_are_different_weeks() -> None:
    week_49 = days_ago(0, 364)  # Mondays

    assert gone(week_49, weekly=2) == []


def test_days_are_those_of_the_installations_zone() -> None:
    evening = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)  # half past midnight in Berlin
    candidates = [Candidate(slug="noon", date=NOON), Candidate(slug="evening", date=evening)]

    there = superfluous(candidates, Retention(daily=2), ZoneInfo("Europe/Berlin"))

    assert [candidate.slug for candidate in there] == ["evening"]
    assert superfluous(candidates, Retention(daily=2), UTC) == []


def test_rules_add_up() -> None:
    assert gone(days_ago(0, 1, 2, 7, 35), last=1, daily=2, weekly=2, monthly=3) == ["7", "2"]


def test_last_good_one_stays_and_bad_ones_count_for_nothing() -> None:
    candidates = [*days_ago(0, 1, good=False), *days_ago(2, 3), *days_ago(4, good=False)]

    assert gone(candidates, last=1) == ["4", "3"]
    assert gone(days_ago(0, 1, good=False), last=1) == []


@given(
    st.lists(st.tuples(st.floats(0, 2000), st.booleans()), max_size=60),
    st.builds(
        Retention, last=st.integers(0, 9), daily=st.integers(0, 9), weekly=st.integers(0, 9), monthly=st.integers(0, 9)
    ),
)
def test_a_good_backup_is_never_the_last_to_go(given: list[tuple[float, bool]], retention: Retention) -> None:
    candidates = [
        Candidate(slug=str(number), date=NOON - timedelta(days=day), is_good=good)
        for number, (day, good) in enumerate(given)
    ]

    removed = superfluous(candidates, retention, UTC)

    good = [candidate for candidate in candidates if candidate.is_good]
    if good:
        newest = max(good, key=lambda candidate: (candidate.date, candidate.slug))
        assert newest not in removed
    left = [candidate for candidate in candidates if candidate not in removed]
    assert superfluous(left, retention, UTC) == [] or not good
    assert len([candidate for candidate in left if candidate.is_good]) >= min(len(good), retention.last)


@pytest.mark.parametrize("counts", [{"last": -1}, {"daily": 10_001}])
def test_counts_have_limits(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retention(**counts)
