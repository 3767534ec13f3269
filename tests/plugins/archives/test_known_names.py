"""Names that are kept in mind by their hashes: as a dict knows them, in a part of its memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_archives import known_names
from rooftree_archives.known_names import FOLDER, NOTHING, OTHER, KnownNames

NAMES = st.lists(st.text(max_size=3), max_size=3).map(tuple)


@given(st.lists(st.tuples(NAMES, st.sampled_from([FOLDER, OTHER])), max_size=200), NAMES)
def test_each_name_is_known_as_it_was_noted_last(noted: list[tuple[tuple[str, ...], int]], other: tuple[str]) -> None:
    names = KnownNames()
    for name, kind in noted:
        names.note(name, kind)
    assert {name: names.kind(name) for name, _ in noted} == dict(noted)
    assert names.kind(other) == dict(noted).get(other, NOTHING)


def test_what_is_beyond_the_limit_is_not_known_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_names, "MOST", 3000)
    names = KnownNames()
    for number in range(3000):
        names.note(("data", str(number)), OTHER)
    assert not names.is_full

    names.note(("data", "more"), FOLDER)
    names.note(("data", "0"), FOLDER)

    assert names.is_full
    assert names.kind(("data", "more")) == NOTHING
    assert [names.kind(("data", str(number))) for number in range(3000)] == [FOLDER, *[OTHER] * 2999]


def test_a_hundred_thousand_names_take_less_than_4_mb() -> None:
    tracemalloc.start()
    try:
        names = KnownNames()
        for number in range(100_000):
            names.note(("data", f"{number}"), OTHER)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
