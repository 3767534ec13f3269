"""What a step has to declare."""

from __future__ import annotations

import pytest

from rooftree import (
    Step,
    step,
)
from tests.kernel.world import (
    Put,
    Say,
)


@pytest.mark.parametrize("kind", ["noversion", "docker.pull", "docker.pull/", "docker.pull/x"])
def test_step_kind_without_a_version_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="version"):
        step(kind)


def test_step_without_do_is_refused() -> None:
    with pytest.raises(TypeError, match=r"needs do\(\)"):

        @step("world.idle/1")
        class Idle(Step):
            name: str


def test_step_kind_that_is_taken_is_refused() -> None:
    class Other(Step):
        async def do(self) -> None: ...

    with pytest.raises(ValueError, match=r"already that of .*world\.Put"):
        step("world.put/1")(Other)
    Other.__qualname__, Other.__module__ = "Put", "another.module"
    with pytest.raises(ValueError, match="already that of"):
        step("world.put/1")(Other)


def test_stage_of_a_step_is_its_own_word_or_its_kind() -> None:
    assert (Put.stage, Say.stage) == ("put", "saying")
