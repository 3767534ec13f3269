"""The phases of a job: the table in the code is the diagram in the docs, and nothing goes past it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from rooftree.jobs.journal import JobRecord
from rooftree.jobs.phases import FIRST, FOLLOWING, ForbiddenTransition, Phase
from rooftree.jobs.running import Job

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
OUTSIDE = "[*]"
EVERY_WAY = sorted(product(Phase, Phase))


def drawn() -> set[tuple[str, str]]:
    """The arrows of the diagram."""
    (diagram,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    arrows = [re.fullmatch(r"    (\S+) --> (\S+?)(: .+)?", line) for line in diagram.splitlines()]
    return {(arrow[1], arrow[2]) for arrow in arrows if arrow is not None}


def test_table_is_the_diagram_of_the_docs() -> None:
    table = {(phase.value, following.value) for phase, all_of in FOLLOWING.items() for following in all_of}
    table |= {(OUTSIDE, phase.value) for phase in FIRST}
    table |= {(phase.value, OUTSIDE) for phase in Phase if phase.is_last}

    assert drawn() == table


def test_every_phase_can_be_reached_and_left_towards_an_end() -> None:
    reached = set(FIRST)
    while more := {following for phase in reached for following in FOLLOWING[phase]} - reached:
        reached |= more
    assert reached == set(Phase)
    ending = {phase for phase in Phase if phase.is_last}
    while more := {phase for phase in Phase if FOLLOWING[phase] & ending} - ending:
        ending |= more
    assert ending == set(Phase)


def job_in(phase: Phase) -> Job:
    """A job that came to that phase by the shortest way."""
    record = JobRecord(
        id="1" * 32, name="put", reference=None, owner="tests", caller=None, recovery="undo", created=datetime.now(UTC)
    )
    ways: dict[Phase, list[Phase]] = {first: [first] for first in FIRST}
    while phase not in ways:
        ways |= {to: [*way, to] for last, way in ways.items() for to in FOLLOWING[last] if to not in ways}
    first, *rest = ways[phase]
    job = Job(record, lambda _: None, first)
    for following in rest:
        job.become(following)
    return job


@pytest.mark.parametrize(("phase", "following"), EVERY_WAY)
async def test_forbidden_transition_is_an_error_and_changes_nothing(phase: Phase, following: Phase) -> None:
    job = job_in(phase)

    if following in FOLLOWING[phase]:
        job.become(following)
        assert job.phase is following
    else:
        with pytest.raises(ForbiddenTransition, match=f"a job that is {phase} can't become {following}"):
            job.become(following)
        assert job.phase is phase


@pytest.mark.parametrize("phase", sorted(set(Phase) - FIRST))
async def test_job_begins_nowhere_else(phase: Phase) -> None:
    record = job_in(Phase.WAITING).record

    with pytest.raises(ForbiddenTransition):
        Job(record, lambda _: None, phase)
