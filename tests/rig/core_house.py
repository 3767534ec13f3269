"""A house whose Core is a stand-in (:mod:`tests.rig.core_program`) in a real container, of whatever version."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from attrs import define

from tests.rig.core_image import CoreImages
from tests.rig.core_process import CoreSteering
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.service_process import free_port
from tests.rig.version_feed import VersionFeed, version_feed
from tests.rig.waiting import until

RUNS_S = 40.0


@define
class CoreHouse:
    """A daemon, the Core that it installs, and the feed that says which."""

    daemon: Daemon
    engine: Engine
    images: CoreImages
    feed: VersionFeed
    core: CoreSteering
    """Core, while it runs."""

    @property
    def container(self) -> str:
        """The name of Core's container on the engine."""
        return f"{self.daemon.prefix}homeassistant"

    @property
    def config(self) -> Path:
        """Core's own files."""
        return self.daemon.data_dir / "homeassistant"

    async def info(self) -> Any:
        """What the API says of Core."""
        return await self.daemon.ok("GET", "/core/info")

    async def runs(self, version: str) -> None:
        """Wait until Core runs, in that version, and nothing is under way."""

        async def is_there() -> bool:
            shown = self.engine.containers(name=f"^/{self.container}$")
            jobs = (await self.daemon.ok("GET", "/jobs/info"))["jobs"]
            wanted = (f"{self.images.name}:{version}", "running")
            return [(core.image, core.state) for core in shown] == [wanted] and all(job["done"] for job in jobs)

        await until(is_there, within_s=RUNS_S, what=f"Core {version}")


@contextlib.asynccontextmanager
async def core_house(engine: Engine, images: CoreImages, version: str, *settings: str) -> AsyncIterator[CoreHouse]:
    """A house whose daemon can be started; it then installs Core in that version, which is published already.

    :param settings: more lines of ``[plugins.homeassistant]``
    """
    try:
        async with version_feed(images.name, version) as feed, disposable_daemon(engine) as daemon:
            feed.is_known_to(daemon)
            daemon.wants_core("privileged = false", *settings)
            core = CoreSteering(free_port())
            write_files(daemon.data_dir / "homeassistant", {"stand-in.json": json.dumps({"port": core.port})})
            yield CoreHouse(daemon, engine, images, feed, core)
    finally:
        engine.remove_images(f"{images.name}:")
