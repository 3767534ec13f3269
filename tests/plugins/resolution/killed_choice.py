"""A system in which somebody does what is suggested, as a process to be killed: ``python -m
tests.plugins.resolution.killed_choice FOLDER FAILPOINTS``. The second says where it dies."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rooftree.state import failpoints
from rooftree.testing import Client, running_system
from rooftree_resolution.plugin import ResolutionPlugin
from tests.plugins.resolution.kitchen import SMOKE, Kitchen


async def main() -> None:
    """Do it, and say how that was answered."""
    _, folder, armed = sys.argv
    failpoints.arm(armed)
    async with (
        running_system(Path(folder), plugins=[ResolutionPlugin, Kitchen]) as system,
        Client.over_unix(system) as client,
    ):
        system.problems.report(SMOKE)
        (suggestion,) = (await client.get("/resolution/info")).data["suggestions"]
        await system.problems.written()
        answer = await client.post(f"/resolution/suggestion/{suggestion['uuid']}")
        print(answer.status, answer.text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
