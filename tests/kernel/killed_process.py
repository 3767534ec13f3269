"""A process that runs a job and that failpoints kill: ``python -m tests.kernel.killed_process FOLDER JOB FAILPOINTS``;
without a job, what was interrupted is recovered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rooftree.daemon import logs
from rooftree.errors import RooftreeError
from rooftree.jobs import suspension
from rooftree.plugins.life import Health
from rooftree.state import failpoints
from rooftree.testing import running_system
from tests.kernel.killed_jobs import CANCELLED, JOBS, hesitates, plugin_for
from tests.lazy_disk import lazy_disk


async def live(root: Path, name: str | None) -> None:
    """Start a system and run the job ``name``; with none, wait for the recovery of what was interrupted."""
    async with running_system(root, plugins=[plugin_for(root / "markers")]) as system:
        assert all(info.state is Health.OK for info in system.plugins)
        if name == "change_and_hesitate":
            started = await system.jobs.run((JOBS[name])().in_background())
            assert started is not None
            await hesitates.wait()
            await system.jobs.cancel(started.job_id)
            await failpoints.reach(CANCELLED)
        elif name is not None:
            await system.jobs.run((JOBS[name])())
        while any(not info.done for info in system.jobs.listing()):
            await asyncio.sleep(0.001)


def main() -> None:
    """Be such a process."""
    _, root, name, armed = sys.argv
    suspension.RETRY_S = (0.002,) * 4
    logs.configure("debug", "text")
    failpoints.arm(armed)
    try:
        with lazy_disk():
            asyncio.run(live(Path(root), name or None))
    except RooftreeError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
