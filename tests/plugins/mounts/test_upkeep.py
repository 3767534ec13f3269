"""When a mount that does not work is tried again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from rooftree_mounts.upkeep import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_s


def test_each_pause_is_twice_the_one_before_until_it_is_a_quarter_of_an_hour() -> None:
    pauses = [pause_s(failures) for failures in range(1, 12)]

    assert pauses[0] == FIRST_PAUSE_S
    assert all(later in {2 * earlier, LONGEST_PAUSE_S} for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE_S


@given(st.integers(min_value=8))
@example(1025)  # eleven days of a quarter of an hour: the largest power of two that no float holds
def test_server_that_is_gone_for_ever_is_tried_for_ever(failures: int) -> None:
    assert pause_s(failures) == LONGEST_PAUSE_S
