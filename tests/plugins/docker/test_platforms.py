"""What runs where."""

from __future__ import annotations

import pytest

from rooftree_docker.platforms import Platform


@pytest.mark.parametrize(
    ("platform", "image", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/386", True),
        ("linux/386", "linux/amd64", False),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64", "linux/arm/v7", False),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm", "linux/arm/v7", True),
    ],
)
def test_image_runs_on_what_it_is_made_for_and_what_is_older(platform: str, image: str, runs: bool) -> None:
    assert Platform.parse(platform).runs(Platform.parse(image)) is runs


@pytest.mark.parametrize("described", [{}, {"os": "", "architecture": ""}, {"architecture": 7, "os": []}])
def test_image_that_does_not_tell_is_not_refused_for_that(described: dict[str, object]) -> None:
    assert Platform("linux", "amd64").runs(Platform.of(described, "os", "architecture", "variant"))


@pytest.mark.parametrize(
    ("platform", "asked"),
    [("linux/arm64", "linux/arm64"), ("linux/arm/v6", "linux/arm/v6"), ("linux/arm", None)],
)
def test_engine_chooses_among_arms_where_we_do_not_know_which_it_is(platform: str, asked: str | None) -> None:
    assert Platform.parse(platform).asked == asked
