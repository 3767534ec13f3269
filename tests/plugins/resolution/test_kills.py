"""A kill anywhere while what is suggested is done: after the next start it is done, and the issue is over."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL

import pytest

from rooftree.testing import Client, running_system
from rooftree_resolution.plugin import ResolutionPlugin
from tests.plugins.resolution.kitchen import Kitchen
from tests.rig.fork_server import forked
from tests.rig.waiting import until


@pytest.mark.parametrize(
    "place",
    [
        "step:killed.open_window/1:do",
        "step:killed.open_window/1:done",
        "step:resolution.end_issue/1:do",
        "step:resolution.end_issue/1:done",
    ],
)
async def test_what_is_suggested_is_done_and_the_issue_over_wherever_it_was_killed(tmp_path: Path, place: str) -> None:
    async with forked("tests.plugins.resolution.killed_choice", str(tmp_path), f"{place}=kill") as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said

    async with (
        running_system(tmp_path, plugins=[ResolutionPlugin, Kitchen]) as system,
        Client.over_unix(system) as client,
    ):

        async def over() -> bool:
            wrong = {problem.type for problem in system.problems}
            return all(job.done for job in system.jobs.listing()) and wrong == {"ended_unexpectedly"}

        await until(over, within_s=15, what="the end of the recovery")
        info = (await client.get("/resolution/info")).data

        assert [job.errors for job in system.jobs.listing() if job.errors] == []
        assert [issue["type"] for issue in info["issues"]] == ["ended_unexpectedly"]
        assert info["suggestions"] == []
        assert (system.data.path / "window").read_text() == "open"
