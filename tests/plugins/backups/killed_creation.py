"""A house in which somebody makes a backup, as a process to be killed.

``python -m tests.plugins.backups.killed_creation FOLDER FAILPOINTS``: the second says where it dies.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rooftree.interfaces.backups import PartContents, PartTree
from rooftree.interfaces.containers import DataPath
from rooftree.state import failpoints
from tests.plugins.backups.house import house


async def main() -> None:
    """Make one, and say how that was answered."""
    _, folder, armed = sys.argv
    failpoints.arm(armed)
    async with house(Path(folder), real=True) as home:
        home.mounts.add("nas")
        data = Path(folder) / "data" / "apps" / "data" / "lamp"
        data.mkdir(parents=True)
        (data / "state").write_bytes(b"on" * 100_000)
        home.addons.contents = PartContents(trees=(PartTree(source=DataPath("apps/data/lamp"), name="data"),))
        home.core.contents = PartContents(documents={"homeassistant.json": b"{}"})
        answer = await home.client.post("/backups/new/full", json={"location": [None, "nas"], "password": "mine"})
        print(answer.status, answer.text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
