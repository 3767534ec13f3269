"""How often something may happen."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from rooftree import Rate, RateLimited
from rooftree.model.rates import Limit, Meter, Throttle

TWICE = Rate(2, timedelta(seconds=30))


class Clock:
    """The monotonic clock, as the test turns it."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_meter_opens_when_the_oldest_is_long_enough_ago(clock: Clock) -> None:
    meter = Meter(TWICE)
    meter.note()
    clock.now += 10
    assert meter.wait_s() == 0.0
    meter.note()

    assert meter.wait_s() == 20.0
    clock.now += 19.5
    assert meter.wait_s() == 0.5
    clock.now += 0.5
    assert meter.wait_s() == 0.0
    meter.note()
    assert meter.wait_s() == 10.0


def test_what_did_not_happen_after_all_does_not_count(clock: Clock) -> None:
    meter = Meter(TWICE)
    meter.note()
    meter.note()

    meter.take_back()

    assert meter.wait_s() == 0.0


def test_refusal_says_what_how_often_and_when_again(clock: Clock) -> None:
    throttle = Throttle()
    limits = [Limit("app_restart", "local_hello", Rate(1, timedelta(minutes=30)))]
    throttle.note(limits)
    clock.now += 0.5

    with pytest.raises(RateLimited) as refused:
        throttle.refuse_too_soon(limits)

    assert refused.value.message == (
        "app_restart of local_hello may begin at most 1 time within 0:30:00; it may again in 1800 s"
    )
    assert refused.value.status == 429
    assert refused.value.extra_fields == {"job": "app_restart", "reference": "local_hello", "wait_s": 1800}


def test_each_reference_is_counted_by_itself(clock: Clock) -> None:
    throttle = Throttle()
    throttle.note([Limit("app_restart", "a", Rate(1, timedelta(minutes=30)))])

    throttle.refuse_too_soon([Limit("app_restart", "b", Rate(1, timedelta(minutes=30)))])


def test_what_was_not_begun_lately_takes_no_memory(clock: Clock) -> None:
    throttle = Throttle()
    for number in range(1000):
        limit = Limit("app_restart", str(number), TWICE)
        throttle.refuse_too_soon([limit])
        throttle.note([limit])
        clock.now += 1

    assert len(throttle._meters) <= 31


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(1, timedelta(seconds=30)), "at most 1 time within 0:00:30"),
        (Rate(10, timedelta(minutes=30)), "at most 10 times within 0:30:00"),
    ],
)
def test_rate_reads_as_words(rate: Rate, text: str) -> None:
    assert str(rate) == text
