"""A house that installs Core by itself, as a process to be killed: ``python -m
tests.plugins.homeassistant.killed_install FOLDER IMAGE CORE_PORT USUAL_PORT FAILPOINTS``. The last says where it dies.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from rooftree.state import failpoints
from tests.lazy_disk import lazy_disk
from tests.plugins.homeassistant.first_home import Ports, first_home
from tests.plugins.homeassistant.house import WrittenFeed
from tests.plugins.homeassistant.kept_engine import KeptEngine


async def main() -> None:
    """Install Core, and say that it was."""
    _, folder, image, core_port, usual_port, armed = sys.argv
    engine = KeptEngine(Path(folder) / "engine")
    engine.publish_image(image)
    feed = WrittenFeed(images={"core": image.rpartition(":")[0]})
    ports = Ports(int(core_port), int(usual_port))
    failpoints.arm(armed)
    with lazy_disk(), pytest.MonkeyPatch.context() as patch:
        async with first_home(Path(folder), engine, patch, feed, ports=ports) as home:
            await home.until_installed()
            print("installed", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
