"""When a registry may be asked again, however it says so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rooftree_docker.retry_after import quoted_seconds, seconds_in_header

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("Mon, 30 Nov 2026 12:00:20 GMT", 20.0),
        ("Monday, 30-Nov-26 12:00:20 GMT", 20.0),
        ("Mon Nov 30 12:00:20 2026", 20.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("3.5", None),
        ("\u0663", None),
        ("9" * 400, None),
        ("Mon, 99 Nov 2026 12:00:20 GMT", None),
        ("Mon, 30 Nov 99999999999999999999 12:00:20 GMT", None),
    ],
)
def test_header_says_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert seconds_in_header(header, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("toomanyrequests: retry-after: 718.5µs, allowed: 44000/minute", 718.5e-6),
        ("toomanyrequests: retry-after: 718μs, allowed: 44000/minute", 718e-6),  # the other micro
        ("denied: retry-after: 44.5ms", 0.0445),
        ("Retry-After: 1m30.5s", 90.5),
        ("retry-after 2h", 7200.0),
        ("retry-after: 3", 3.0),
        ("retry-after: 3.", 3.0),
        ("retry-after: 3x", None),
        ("retry-after: m", None),
        ("retry-after: 3m5\u017f", None),  # a letter that is an S in upper case
        ("toomanyrequests: You have reached your pull rate limit.", None),
    ],
)
def test_engine_quotes_a_duration_as_go_writes_it(text: str, seconds: float | None) -> None:
    assert quoted_seconds(text) == (None if seconds is None else pytest.approx(seconds))
