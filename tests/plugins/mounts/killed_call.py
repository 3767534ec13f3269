"""A system that makes one call, as a process to be killed: ``python -m tests.plugins.mounts.killed_call FOLDER METHOD
PATH BODY FAILPOINTS``; the body is JSON. The last says where it dies."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from rooftree.state import failpoints
from rooftree.testing import Client, running_system
from rooftree_mounts.plugin import MountsPlugin
from tests.lazy_disk import lazy_disk


async def main() -> None:
    """Make the call, and say how it was answered."""
    _, folder, method, path, body, armed = sys.argv
    with lazy_disk():
        async with (
            running_system(Path(folder), plugins=[MountsPlugin]) as system,
            Client.over_unix(system) as client,
        ):
            failpoints.arm(armed)
            answer = await client.request(method, path, json=json.loads(body))
            print(answer.status, answer.text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
