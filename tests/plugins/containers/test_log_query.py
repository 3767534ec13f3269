"""What a client may ask of a log, and the header ``Range`` in all its forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree import Invalid
from rooftree.interfaces.journal import JournalRange
from rooftree_containers.log_query import LogQuery, asked_query

CURSOR = "s=0a1b;i=4f;b=2c;m=3d;t=60a2;x=9e"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
"""1767225600 s after 1970."""


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, LogQuery(tail=100)),
        ({"lines": 7}, LogQuery(tail=7)),
        ({"lines": 1}, LogQuery(tail=1)),
        ({"lines": 0}, LogQuery(tail=1)),
        ({"lines": -5}, LogQuery(tail=1)),
        ({"lines": 7, "range": "entries=:-9:10"}, LogQuery(tail=7)),
        ({"verbose": True}, LogQuery(tail=100, format="verbose")),
        ({"no_colors": True}, LogQuery(tail=100, no_colors=True)),
        ({"accept": "text/x-log"}, LogQuery(tail=100, format="verbose")),
        ({"accept": "text/x-log; charset=utf-8, text/plain"}, LogQuery(tail=100, format="verbose")),
        ({"accept": "text/plain"}, LogQuery(tail=100)),
        ({"accept": "text/html, */*;q=0.8"}, LogQuery(tail=100)),
        ({"accept": ""}, LogQuery(tail=100)),
        ({"accept": "text/plain", "verbose": True}, LogQuery(tail=100, format="verbose")),
        ({"range": "entries=:-99:100"}, LogQuery(tail=100, count=100)),
        ({"range": "entries=:-99:"}, LogQuery(tail=100)),
        ({"range": "entries=:-99:18446744073709551615"}, LogQuery(tail=100, count=2**64 - 1)),
        ({"range": "entries=:-9:3"}, LogQuery(tail=10, count=3)),
        ({"range": "entries=:0:3"}, LogQuery(count=3)),
        ({"range": "entries=:5:3"}, LogQuery(skip=5, count=3)),
        ({"range": "entries=:+5:3"}, LogQuery(skip=5, count=3)),
        ({"range": "entries=::3"}, LogQuery(count=3)),
        ({"range": "entries=:3"}, LogQuery(count=3)),
        ({"range": "entries="}, LogQuery()),
        ({"range": f"entries={CURSOR}"}, LogQuery(cursor=CURSOR)),
        ({"range": f"entries={CURSOR}:1:9"}, LogQuery(cursor=CURSOR, skip=1, count=9)),
        ({"range": f"entries={CURSOR}:-9:"}, LogQuery(cursor=CURSOR, skip=-9)),
        ({"range": f"entries={CURSOR}:-0:1"}, LogQuery(cursor=CURSOR, count=1)),
        ({"range": "entries=:-0:"}, LogQuery(tail=1)),
        ({"range": "entries=:-0:1"}, LogQuery(tail=1, count=1)),
        ({"range": "entries=:+0:"}, LogQuery()),
        ({"range": "realtime=:"}, LogQuery()),
        ({"range": "realtime=1767225600:"}, LogQuery(since=NEW_YEAR)),
        ({"range": "realtime=1767225600.25:"}, LogQuery(since=NEW_YEAR + timedelta(seconds=0.25))),
        ({"range": "realtime=1767225600.1234567:"}, LogQuery(since=NEW_YEAR + timedelta(microseconds=123_456))),
        ({"range": "realtime=1767225600000001:"}, LogQuery(since=NEW_YEAR + timedelta(microseconds=1))),
        ({"range": "realtime=:1767225600"}, LogQuery(until=NEW_YEAR)),
        ({"range": "realtime=:1767225600:-9:10"}, LogQuery(tail=10, until=NEW_YEAR, count=10)),
        ({"range": "realtime=:1767225600:-0:"}, LogQuery(tail=1, until=NEW_YEAR)),
        ({"range": "realtime=1767225600::7"}, LogQuery(since=NEW_YEAR, count=7)),
        ({"range": "realtime=1767225600::3:7"}, LogQuery(since=NEW_YEAR, skip=3, count=7)),
        ({"range": "realtime=1767225600::-3:7"}, LogQuery(since=NEW_YEAR, skip=-3, count=7)),
        (
            {"range": "realtime=1767225600000000:1767225601:1000"},
            LogQuery(since=NEW_YEAR, until=NEW_YEAR + timedelta(seconds=1), count=1000),
        ),
        ({"range": "realtime=1767225600:1767225600"}, LogQuery(since=NEW_YEAR, until=NEW_YEAR)),
        ({"range": "realtime= 1767225600 : : 7"}, LogQuery(since=NEW_YEAR, count=7)),
        ({"range": "realtime=0:999999999999"}, LogQuery(since=EPOCH, until=datetime.max.replace(tzinfo=UTC))),
        ({"range": "realtime=:99999999999999999999"}, LogQuery(until=datetime.max.replace(tzinfo=UTC))),
        ({"lines": 7, "range": "realtime=1767225600:"}, LogQuery(tail=7)),
    ],
)
def test_query_is_read_from_what_the_client_says(asked: dict[str, Any], query: LogQuery) -> None:
    assert asked_query(**asked) == query


@pytest.mark.parametrize(
    "range",
    ["", "bytes=0-99", "entries", "entries=:a:3", "entries=:-:3", "entries=:0:0", "entries=:-9:-3", "entries=:1:2:3",
     "entries=:1:٣", "entries=:1:" + "9" * 30, "entries=s=1&x:0:3", "entries=s=1/2:0:3",
     "realtime", "realtime=", "realtime=1767225600", "realtime=now:", "realtime=:1:2:3:4", "realtime=1:2:0",
     "realtime=-1:", "realtime=1:2:x", "realtime=1:2:-:3", "Realtime=1:2", "realtime=1,2:"],
)  # fmt: skip
def test_range_of_another_form_is_refused_with_the_right_form(range: str) -> None:
    with pytest.raises(Invalid, match="must look like entries=:-99:100"):
        asked_query(range=range)


@pytest.mark.parametrize(
    ("range", "sentence"),
    [
        ("realtime=.5:", "since must be seconds since 1970, such as 1767225600, not '.5'"),
        ("realtime=1.2.3:", "since must be seconds since 1970"),
        ("realtime=:" + "9" * 21, "until must be seconds since 1970"),
        ("realtime=1767225601:1767225600", "until 2026-01-01 00:00:00 and since 2026-01-01 00:00:01, which is later"),
    ],
)
def test_time_that_is_none_is_refused_by_name(range: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        asked_query(range=range)

    assert sentence in refused.value.message


numbers = st.one_of(
    st.just(""), st.integers(0, 2**64).map(str), st.sampled_from(["-0", "-1", "+3", "-", "0", ".", "1.5"])
)
texts = st.one_of(
    st.text(max_size=40),
    st.builds(
        lambda unit, *parts: f"{unit}={':'.join(parts)}",
        st.sampled_from(["entries", "realtime", "bytes"]),
        *[numbers] * 3,
    ),
    st.lists(st.sampled_from(["entries", "realtime", "=", ":", "-", "0", "17", ";", "t", " ", "٣"])).map("".join),
)


@given(texts)
def test_any_header_is_a_query_that_can_be_met_or_refused(text: str) -> None:
    try:
        query = asked_query(range=text)
    except Invalid:
        return

    wanted = query.journal_range
    assert query.tail is None or query.tail >= 1
    assert query.count is None or query.count >= 1
    assert query.skip >= 0 or query.cursor or query.since is not None
    assert not (query.cursor and (query.since or query.until or query.tail))
    assert wanted.skip == (query.skip if query.tail is None else min(1 - query.tail, -1))


@given(
    since=st.one_of(st.none(), st.integers(0, 2 * 10**15)),
    until=st.one_of(st.none(), st.integers(0, 2 * 10**15)),
    skip=st.one_of(st.none(), st.integers(-(10**6), 10**6)),
    count=st.one_of(st.none(), st.integers(1, 2**64 - 1)),
)
def test_times_are_read_to_the_microsecond_in_either_unit(
    since: int | None, until: int | None, skip: int | None, count: int | None
) -> None:
    def spelt(time_us: int | None, seconds: bool) -> str:
        if time_us is None:
            return ""
        return f"{time_us // 10**6}.{time_us % 10**6:06}" if seconds or time_us < 10**12 else str(time_us)

    def read(time_us: int | None) -> datetime | None:
        return None if time_us is None else EPOCH + timedelta(microseconds=time_us)

    if since is not None and until is not None and until < since:
        since, until = until, since
    tail = f":{skip}:{'' if count is None else count}" if skip is not None else "" if count is None else f":{count}"
    for seconds in (True, False):
        query = asked_query(range=f"realtime={spelt(since, seconds)}:{spelt(until, not seconds)}{tail}")

        assert (query.since, query.until, query.count) == (read(since), read(until), count)
        if skip is not None and skip < 0 and since is None:
            assert (query.tail, query.skip) == (1 - skip, 0)
        else:
            assert (query.tail, query.skip) == (None, skip or 0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(tail=100), JournalRange(skip=-99)),
        (LogQuery(tail=10, count=3), JournalRange(skip=-9, count=3)),
        (LogQuery(skip=5, count=3), JournalRange(skip=5, count=3)),
        (LogQuery(), JournalRange()),
        (LogQuery(cursor=CURSOR, skip=-9, count=3), JournalRange(cursor=CURSOR, skip=-9, count=3)),
        (LogQuery(since=EPOCH, until=NEW_YEAR, skip=2), JournalRange(since=EPOCH, until=NEW_YEAR, skip=2)),
        (LogQuery(tail=10, until=NEW_YEAR, count=3), JournalRange(skip=-9, until=NEW_YEAR, count=3)),
    ],
)
def test_query_is_a_range_of_the_journal(query: LogQuery, expected: JournalRange) -> None:
    assert query.journal_range == expected


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/*"])
def test_accept_of_nothing_that_logs_are_sent_as_is_refused(accept: str) -> None:
    with pytest.raises(Invalid, match=r"text/plain or text/x-log"):
        asked_query(accept=accept)
