"""What the operator may set of the container engine."""

from __future__ import annotations

import pytest

from rooftree_docker.plugin import DockerSettings


@pytest.mark.parametrize("prefix", ["", "second_", "2nd.", "a" * 40])
def test_prefix_that_containers_can_have_is_taken(prefix: str) -> None:
    assert DockerSettings(prefix=prefix).prefix == prefix


@pytest.mark.parametrize("prefix", ["BAD PREFIX!", "_second", "a/b", "a" * 41, "zwei_ü"])
def test_prefix_that_no_container_can_have_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="such as second_"):
        DockerSettings(prefix=prefix)
