"""Times of day: as crontab(5) has them, in a zone whose clocks are put forward and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rooftree.events.cron import CronTimes, zone_called

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
"""Its clocks go by half an hour."""
SUNDAY, TUESDAY, FRIDAY, SATURDAY = 6, 1, 4, 5


def times(cron: str, begin: datetime, count: int, zone: ZoneInfo = BERLIN) -> list[datetime]:
    """The next times, in UTC."""
    result, moment, reckoned = list[datetime](), begin, CronTimes(cron)
    for _ in range(count):
        moment = reckoned.next(moment, zone)
        assert moment.tzinfo is UTC
        result.append(moment)
        moment += timedelta(seconds=1)
    return result


def told(moments: list[datetime], zone: ZoneInfo = BERLIN) -> list[str]:
    return [moment.astimezone(zone).strftime("%d. %H:%M %z") for moment in moments]


def test_times_are_those_of_the_zone_in_summer_and_winter() -> None:
    (summer,) = times("0 3 * * *", datetime(2026, 7, 1, tzinfo=UTC), 1)
    (winter,) = times("0 3 * * *", datetime(2026, 12, 1, tzinfo=UTC), 1)

    assert (summer.hour, winter.hour) == (1, 2)


@pytest.mark.parametrize(
    ("cron", "weekdays"),
    [
        ("0 3 * * 0", {SUNDAY}),
        ("0 3 * * 7", {SUNDAY}),
        ("0 3 * * sun", {SUNDAY}),
        ("0 3 * * 5-7", {FRIDAY, SATURDAY, SUNDAY}),
        ("0 3 * * 2,FRI", {TUESDAY, FRIDAY}),
        ("0 3 * * */3", {SUNDAY, 2, SATURDAY}),
        ("0 3 * * 5/1", {FRIDAY, SATURDAY}),
        ("0 3 * * 1-5/2", {0, 2, FRIDAY}),
        ("0 3 * * *", set(range(7))),
    ],
)
def test_days_of_the_week_are_numbered_as_in_a_crontab(cron: str, weekdays: set[int]) -> None:
    days = times(cron, datetime(2026, 11, 30, tzinfo=UTC), 30)

    assert {day.astimezone(BERLIN).weekday() for day in days} == weekdays


def test_day_of_the_month_and_of_the_week_are_either_as_in_a_crontab() -> None:
    days = [day.astimezone(BERLIN) for day in times("0 3 13 * 5", datetime(2026, 11, 30, tzinfo=UTC), 12)]

    assert [day.day for day in days] == [4, 11, 13, 18, 25, 1, 8, 13, 15, 22, 29, 5]
    assert all(day.weekday() == FRIDAY or day.day == 13 for day in days)


@pytest.mark.parametrize(
    ("cron", "days"),
    [("0 3 13 * */1", [13, 13, 13]), ("0 3 13 * */5", [13, 13, 13]), ("0 3 */10 * 5", [11, 1, 21])],
)
def test_field_with_an_asterisk_leaves_the_choice_to_the_other_as_in_a_crontab(cron: str, days: list[int]) -> None:
    moments = [day.astimezone(BERLIN) for day in times(cron, datetime(2026, 11, 30, tzinfo=UTC), 3)]

    assert [day.day for day in moments] == days


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "@daily",
        "* * * *",
        "0 3 * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 3 32 * *",
        "0 3 * 13 *",
        "0 3 * * 8",
        "0 3 * * mon-",
        "0 3 * * 1/0",
        "0 3 * * funday",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
    ],
)
def test_times_that_never_come_or_cannot_be_read_are_refused(cron: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        CronTimes(cron)


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("now", "there is 1 field"),
        ("60 * * * *", "'60' is no minute (0-59)"),
        ("0 5-3 * * *", "'5-3' is no hour (0-23)"),
        ("0 3 32 * *", "'32' is no day of the month (1-31)"),
        ("0 3 * 13 *", "'13' is no month (1-12, jan-dec)"),
        ("0 3 * * 8", "'8' is no day of the week (0-7, sun-sat)"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_is_allowed_there(cron: str, reason: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(reason) + "$"):
        CronTimes(cron)


def test_leap_day_comes_though_it_is_eight_years_away() -> None:
    assert times("0 0 29 2 *", datetime(2097, 1, 1, tzinfo=UTC), 1) == [datetime(2104, 2, 28, 23, tzinfo=UTC)]


BEFORE_SPRING = datetime(2026, 3, 28, 22, tzinfo=UTC)
BEFORE_AUTUMN = datetime(2026, 10, 24, 22, tzinfo=UTC)


def test_time_that_is_left_out_in_spring_comes_once() -> None:
    assert told(times("30 2 * * *", BEFORE_SPRING, 2)) == ["29. 03:30 +0200", "30. 02:30 +0200"]
    assert told(times("0 2,3 * * *", BEFORE_SPRING, 2)) == ["29. 03:00 +0200", "30. 02:00 +0200"]


def test_time_that_comes_twice_in_autumn_counts_once() -> None:
    assert told(times("30 2 * * *", BEFORE_AUTUMN, 2)) == ["25. 02:30 +0200", "26. 02:30 +0100"]
    assert told(times("*/20 2 * * *", BEFORE_AUTUMN, 4)) == [
        "25. 02:00 +0200",
        "25. 02:20 +0200",
        "25. 02:40 +0200",
        "26. 02:00 +0100",
    ]


def test_who_asks_between_the_two_is_told_the_next_day_or_what_is_later() -> None:
    between = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)

    assert told(times("30 2 * * *", between, 1)) == ["26. 02:30 +0100"]
    assert told(times("30 5 * * *", between, 1)) == ["25. 05:30 +0100"]


@pytest.mark.parametrize("begin", [BEFORE_SPRING, BEFORE_AUTUMN])
def test_every_hour_and_every_ten_minutes_go_on_by_real_time(begin: datetime) -> None:
    for cron, step in (("0 * * * *", timedelta(hours=1)), ("*/10 * * * *", timedelta(minutes=10))):
        moments = times(cron, begin, 40)

        assert moments == [begin + number * step for number in range(40)]


def test_zone_whose_clocks_go_by_half_an_hour() -> None:
    begin = datetime(2026, 4, 4, 0, tzinfo=UTC)

    assert told(times("45 1 * * *", begin, 2, LORD_HOWE), LORD_HOWE) == ["05. 01:45 +1100", "06. 01:45 +1030"]


@pytest.mark.parametrize("name", ["Nowhere/Atlantis", "../../etc/passwd", ""])
def test_zone_that_is_none_is_utc_and_said_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert zone_called(name) is UTC
    assert "no_such_time_zone" in caplog.text
