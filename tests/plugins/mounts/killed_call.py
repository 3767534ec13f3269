"""A system that makes one call, as a process to be killed: ``python -m tests.plugins.mounts.killed_call FOLDER METHOD
PATH BODY FAILPOINTS``; the body is JSON. The last says where it dies. A suggestion's word in braces, in the path,
stands for its id, and is waited for."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from rooftree.state import failpoints
from rooftree.testing import Client, running_system
from rooftree_mounts.plugin import MountsPlugin
from rooftree_resolution.plugin import ResolutionPlugin
from tests.lazy_disk import lazy_disk
from tests.rig.waiting import until


async def main() -> None:
    """Make the call, and say how it was answered."""
    _, folder, method, path, body, armed = sys.argv
    with lazy_disk():
        async with (
            running_system(Path(folder), plugins=[MountsPlugin, ResolutionPlugin]) as system,
            Client.over_unix(system) as client,
        ):
            if "{" in path:
                path = await until(lambda: suggested(client, path), within_s=20, what=f"the suggestion of {path}")
            failpoints.arm(armed)
            answer = await client.request(method, path, json=json.loads(body))
            print(answer.status, answer.text, flush=True)


async def suggested(client: Client, path: str) -> str | None:
    """The path with the suggestion's id; ``None`` while nobody suggests that."""
    answer = await client.get("/resolution/info")
    ids = {suggestion["type"]: suggestion["uuid"] for suggestion in answer.data["suggestions"]}
    try:
        return path.format(**ids)
    except KeyError:
        return None


if __name__ == "__main__":
    asyncio.run(main())
