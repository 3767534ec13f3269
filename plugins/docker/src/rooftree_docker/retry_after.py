"""When a registry that was asked too often may be asked again, as it says itself: in the header ``Retry-After`` (RFC
9110: seconds, or a date), or in what the engine quotes of it, as Go writes a duration (``718.5µs``, ``1m30s``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_ANY_CASE: Final = re.IGNORECASE | re.ASCII  # in Unicode, more letters are an S
_QUOTED: Final = re.compile(r"retry-after:? {0,9}([0-9a-zµμ.]{1,40})", _ANY_CASE)  # two kinds of micro
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|μs|ms|s|m|h)", _ANY_CASE)
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST: Final = 9
"""Digits of a number of seconds that is read; more are no time that anybody waits."""


def seconds_in_header(text: str, now: datetime) -> float | None:
    """What a header ``Retry-After`` says, in seconds from ``now``; ``None`` for what it can't say."""
    text = text.strip()
    if (seconds := _whole_seconds(text)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def quoted_seconds(text: str) -> float | None:
    """What the engine's text quotes of a registry, in seconds; ``None`` where it quotes nothing such."""
    quote = _QUOTED.search(text)
    if quote is None:
        return None
    value = quote[1].rstrip(".")
    if (seconds := _whole_seconds(value)) is not None:
        return seconds
    parts = _PART.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        return None
    return sum(float(number) * _UNITS_S[unit.lower()] for number, unit in parts)


def _whole_seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST else None
