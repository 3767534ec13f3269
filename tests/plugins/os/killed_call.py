"""A system that makes one call, as a process to be killed: ``python -m tests.plugins.os.killed_call FOLDER PATH BODY
SETTINGS FAILPOINTS``; body and settings are JSON. The last says where it dies."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from rooftree.state import failpoints
from rooftree.testing import Client, running_system
from rooftree_host.plugin import HostPlugin
from rooftree_os.plugin import OsPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.lazy_disk import lazy_disk
from tests.plugins.os.haos import BOARDS


async def main() -> None:
    """Make the call, and say how it was answered."""
    _, folder, path, body, settings, armed = sys.argv
    failpoints.arm(armed)
    plugins = [SupervisorPlugin, HostPlugin, OsPlugin, *BOARDS]
    running = running_system(Path(folder), plugins=plugins, settings=json.loads(settings))
    with lazy_disk():
        async with running as system, Client.over_unix(system) as client:
            answer = await client.post(path, json=json.loads(body))
            print(answer.status, answer.text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
