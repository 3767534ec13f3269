"""A pull's progress counts bytes and never runs backwards."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rooftree_docker.pull_progress import PullProgress

STATES = ["Pulling fs layer", "Waiting", "Downloading", "Download complete", "Extracting", "Pull complete"]


def message(layer: str, status: str, current: int | None = None, total: int | None = None) -> dict[str, Any]:
    return {"id": layer, "status": status, "progressDetail": {"current": current, "total": total}}


messages = st.builds(
    message,
    st.sampled_from("abcde"),
    st.sampled_from(STATES),
    st.one_of(st.none(), st.integers(0, 2_000_000)),
    st.one_of(st.none(), st.integers(-1, 1_000_000)),
)


@given(st.lists(messages, max_size=60))
def test_progress_never_runs_backwards_nor_beyond_the_end(stream: list[dict[str, Any]]) -> None:
    progress = PullProgress()
    reached = Fraction(0)

    for told in [progress.feed(message) for message in stream] + [progress.finished()]:
        if told is not None:
            assert 0 <= told.done <= told.total
            assert Fraction(told.done, told.total) >= reached
            reached = Fraction(told.done, told.total)

    assert reached == 1


def test_download_counts_seventy_percent_and_extraction_thirty() -> None:
    progress = PullProgress()

    half = progress.feed(message("a", "Downloading", 500, 1000))
    downloaded = progress.feed(message("a", "Download complete"))
    half_extracted = progress.feed(message("a", "Extracting", 500, 1000))

    assert half is not None and (half.done, half.total) == (350, 1000)
    assert downloaded is not None and downloaded.done == 700
    assert half_extracted is not None and half_extracted.done == 850


def test_layers_are_weighted_by_size() -> None:
    progress = PullProgress()
    progress.feed(message("small", "Downloading", 0, 100))
    progress.feed(message("large", "Downloading", 0, 900))

    told = progress.feed(message("small", "Pull complete"))

    assert told is not None and (told.done, told.total) == (100, 1000)


def test_layers_of_unknown_size_count_as_the_average() -> None:
    progress = PullProgress()
    progress.feed(message("a", "Pulling fs layer"))
    progress.feed(message("b", "Pulling fs layer"))

    told = progress.feed(message("a", "Downloading", 1000, 1000))

    assert told is not None and told.total == 2000


def test_layers_already_here_do_not_count() -> None:
    progress = PullProgress()
    progress.feed({"id": "old", "status": "Already exists"})

    told = progress.feed(message("a", "Downloading", 10, 100))

    assert told is not None and told.total == 100


def test_messages_without_a_layer_say_nothing() -> None:
    assert PullProgress().feed({"status": "Digest: sha256:abc"}) is None
    assert PullProgress().feed({"id": "1.0", "status": "Pulling from someone/thing"}) is None
