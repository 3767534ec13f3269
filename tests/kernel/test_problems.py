"""What is wrong stays known until it is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree import Event, Problem, ProblemCleared, ProblemReported
from rooftree.state import failpoints
from rooftree.testing import running_system

MANY = Problem("old_backups", message="There are many old backups; delete some", suggestions=("clear_backups",))


async def test_problem_is_there_until_it_is_cleared(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        system.problems.report(MANY)
        assert [problem.type for problem in system.problems] == ["old_backups"]

        system.problems.clear("old_backups")
        assert list(system.problems) == []


async def test_problems_are_kept_over_a_restart_with_their_ids(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        system.problems.report(MANY)
        system.problems.report(Problem("gone", "addon", "local_hello"))
        system.problems.clear("gone", "addon", "local_hello")

    async with running_system(tmp_path) as system:
        assert list(system.problems) == [MANY]


async def test_one_thing_in_several_places_is_several_problems(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        for reference in ("one", "two", None):
            system.problems.report(Problem("boot_fail", "addon", reference))
        system.problems.clear("boot_fail", "addon", "one")

        assert [problem.reference for problem in system.problems] == ["two", None]


async def test_only_changes_are_events(tmp_path: Path) -> None:
    seen = list[Event]()
    async with running_system(tmp_path) as system:
        system.bus.subscribe(ProblemReported, seen.append, "test")
        system.bus.subscribe(ProblemCleared, seen.append, "test")

        system.problems.clear("old_backups")
        system.problems.report(MANY)
        system.problems.report(Problem("old_backups", message=MANY.message, suggestions=MANY.suggestions))
        system.problems.report(Problem("old_backups", message="Worse"))
        system.problems.clear("old_backups")
        system.problems.clear("old_backups")
        await system.bus.drained()

    assert [type(event) for event in seen] == [ProblemReported, ProblemReported, ProblemCleared]
    worse = seen[1]
    assert isinstance(worse, ProblemReported)
    assert (worse.problem.message, worse.problem.uuid) == ("Worse", MANY.uuid)


async def test_severity_tells_whether_the_system_is_healthy_and_supported(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        problems = system.problems
        problems.report(Problem("a"))
        assert (problems.healthy, problems.supported) == (True, True)

        problems.report(Problem("b", severity="unhealthy"))
        problems.report(Problem("c", severity="unsupported"))
        assert (problems.healthy, problems.supported) == (False, False)

        problems.clear("b")
        assert (problems.healthy, problems.supported) == (True, False)


async def test_full_disk_does_not_keep_a_problem_from_being_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = list[Event]()
    async with running_system(tmp_path) as system:
        system.bus.subscribe(ProblemReported, seen.append, "test")
        failpoints.arm("database.before_commit=nospace")
        try:
            system.problems.report(MANY)
            await system.problems.written()
        finally:
            failpoints.arm("")
        await system.bus.drained()

        assert MANY in list(system.problems)
        assert ProblemReported(MANY) in seen
        assert "problem_not_written" in caplog.text


async def test_problems_changed_in_quick_succession_end_in_the_last_state(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        for number in range(20):
            system.problems.report(Problem("flapping", message=str(number)))
            if number % 3 == 0:
                system.problems.clear("flapping")
        expected = list(system.problems)

    async with running_system(tmp_path) as system:
        assert list(system.problems) == expected
        assert expected[0].message == "19"
