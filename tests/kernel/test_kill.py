"""A kill at any point of a job leaves the world, after the next start, as it was before or as it is after."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rooftree import JobInfo
from rooftree.jobs import suspension
from rooftree.testing import running_system
from tests.kernel.killed_jobs import AFTER, BEFORE, CANCELLED, KINDS, markers_in, plugin_for
from tests.rig.fork_server import forked

KILLED = -signal.SIGKILL

type Process = Callable[[str | None, str], Awaitable[int]]


@pytest.fixture(autouse=True)
def waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "RETRY_S", (0.002,))


@pytest.fixture(scope="module")
def leftovers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a killed process leaves its temporary files; a short path, for sockets."""
    return tmp_path_factory.mktemp("kill")


@pytest.fixture
def process(tmp_path: Path, leftovers: Path) -> Process:
    """Runs a job in a process of its own, with failpoints armed; tells how the process ended."""
    markers = tmp_path / "markers"
    markers.mkdir()
    for name, text in BEFORE.items():
        (markers / name).write_text(text)

    environment = {**os.environ, "TMPDIR": str(leftovers)}

    async def run(name: str | None, armed: str) -> int:
        arguments = [str(tmp_path), name or "", armed]
        async with forked("tests.kernel.killed_process", *arguments, environment=environment) as child:
            return await child.wait()

    return run


async def recovered(tmp_path: Path) -> JobInfo:
    """The one job that the next start shows, when it has ended."""
    async with asyncio.timeout(5), running_system(tmp_path, plugins=[plugin_for(tmp_path / "markers")]) as system:
        assert len(system.jobs.listing()) == 1
        while not system.jobs.listing()[0].done:
            await asyncio.sleep(0.001)
        return system.jobs.listing()[0]


STEP_PLACES = [f"step:{kind}:{verb}" for kind in KINDS for verb in ("before", "do", "done")]


@pytest.mark.parametrize("place", ["job:accepted", *STEP_PLACES])
async def test_job_killed_before_its_last_step_was_journaled_is_taken_back(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_or_back", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == BEFORE
    assert (info.name, [error.error_key for error in info.errors]) == ("change_or_back", ["job_interrupted_error"])


@pytest.mark.parametrize("place", ["job:accepted", *STEP_PLACES, "job:end"])
async def test_job_that_goes_forward_is_finished_wherever_it_was_killed(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_forward", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == AFTER
    assert (info.name, info.errors, info.progress) == ("change_forward", [], 100.0)


async def test_job_killed_when_all_is_done_counts_as_done(process: Process, tmp_path: Path) -> None:
    assert await process("change_or_back", "job:end=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == AFTER
    assert (info.name, info.errors) == ("change_or_back", [])


@pytest.mark.parametrize("place", [f"step:{kind}:undo" for kind in KINDS])
async def test_failed_job_killed_while_it_is_taken_back_is_taken_back_wholly(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_and_fail", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == BEFORE
    assert [error.message for error in info.errors] == ["It does not fit"]


@pytest.mark.parametrize("again", [f"step:{kind}:undo" for kind in KINDS])
async def test_recovery_that_is_killed_itself_is_recovered(process: Process, tmp_path: Path, again: str) -> None:
    assert await process("change_or_back", f"step:{KINDS[-1]}:done=kill") == KILLED
    assert await process(None, f"{again}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == BEFORE
    assert [error.error_key for error in info.errors] == ["job_interrupted_error"]


@pytest.mark.parametrize("commit", range(1, 9))
@pytest.mark.parametrize("side", ["before", "after"])
async def test_kill_around_any_commit_of_the_journal_leaves_before_or_after(
    process: Process, tmp_path: Path, commit: int, side: str
) -> None:
    """Commit 1 accepts the job, 2 to 7 begin and end its three steps, 8 ends it."""
    assert await process(None, "") == 0, (
        "a start without a job makes the commits of a first start, so that none is left"
    )

    assert await process("change_or_back", f"database.{side}_commit=kill@{commit}") == KILLED

    async with running_system(tmp_path, plugins=[plugin_for(tmp_path / "markers")]) as system:
        while any(not info.done for info in system.jobs.listing()):
            await asyncio.sleep(0.001)
        listed = system.jobs.listing()
    then = markers_in(tmp_path / "markers")
    assert then in (BEFORE, AFTER)
    if then == AFTER:
        assert commit >= 7
    else:
        assert len(listed) == (0 if (commit, side) == (1, "before") else 1)


@pytest.mark.parametrize("place", ["job:accepted", *STEP_PLACES])
async def test_job_in_parts_that_is_killed_is_taken_back_with_all_its_parts(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_in_parts", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == BEFORE
    assert [error.error_key for error in info.errors] == ["job_interrupted_error"]
    assert parts_of(info) == [("part", "0", True), ("part", "2", True)]


@pytest.mark.parametrize("place", ["job:accepted", *STEP_PLACES, "job:end"])
async def test_job_in_parts_that_goes_forward_is_finished_with_all_its_parts(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_in_parts_forward", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == AFTER
    assert (info.errors, [part.progress for part in info.child_jobs]) == ([], [100.0, 100.0])
    assert parts_of(info) == [("part", "0", True), ("part", "2", True)]


def parts_of(info: JobInfo) -> list[tuple[str, str | None, bool | None]]:
    return [(part.name, part.reference, part.done) for part in info.child_jobs]


@pytest.mark.parametrize("place", [CANCELLED, *(f"step:{kind}:undo" for kind in KINDS), "step:killed.hesitate/1:undo"])
async def test_cancelled_job_goes_back_wherever_it_was_killed_though_it_would_go_forward(
    process: Process, tmp_path: Path, place: str
) -> None:
    assert await process("change_and_hesitate", f"{place}=kill") == KILLED

    info = await recovered(tmp_path)

    assert markers_in(tmp_path / "markers") == BEFORE
    assert [error.error_key for error in info.errors] == ["job_cancelled_error"]


async def test_cancelled_job_that_is_not_killed_goes_back(process: Process, tmp_path: Path) -> None:
    assert await process("change_and_hesitate", "") == 0
    assert markers_in(tmp_path / "markers") == BEFORE


async def test_job_that_is_not_killed_is_done(process: Process, tmp_path: Path) -> None:
    assert await process("change_or_back", "") == 0
    assert markers_in(tmp_path / "markers") == AFTER


async def test_job_that_fails_is_taken_back(process: Process, tmp_path: Path) -> None:
    assert await process("change_and_fail", "") == 1
    assert markers_in(tmp_path / "markers") == BEFORE
