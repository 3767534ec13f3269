"""A house with a real Core: the daemon, what it installs from, and an add-on that does what add-ons do with Core."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from attrs import define, field

from tests.real_core.rig.core_user import CoreUser
from tests.real_core.rig.image import VERSION
from tests.rig.addon import Addon
from tests.rig.addon_files import REPOSITORY, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.registry import Registry
from tests.rig.service_process import free_port
from tests.rig.version_feed import VersionFeed, version_feed
from tests.rig.waiting import until

CONFIGURATION = """\
hassio:
frontend:
api:
recorder:
system_health:
logger:
  default: info
"""
ANSWERS = """\
#!/bin/sh
trap 'exit 0' TERM
httpd -p 8099 -h /www
echo "porch ${VERSION} is there"
while :; do sleep 3600 & wait; done
"""
PORCH: dict[str, Any] = {
    "ingress": True,
    "panel_title": "Porch",
    "panel_icon": "mdi:home",
    "homeassistant_api": True,
    "hassio_api": True,
    "auth_api": True,
    "services": ["mqtt:provide"],
    "discovery": ["mqtt"],
    "ports": {"8099/tcp": None},
}
PAGE = "<!DOCTYPE html><title>Porch</title><p>The porch of {version}</p><b id=light></b><script src=light.js></script>"
LIGHT = "document.getElementById('light').textContent = 'the light is on';"
CONST = "/ha/lib/python3*/site-packages/homeassistant/const.py"
FIRST_START_S = 240.0
CORE = "home/core"
"""Its image in the registry."""
DOCKERFILE = """\
FROM {base}
ENV VERSION={version}
COPY run.sh /run.sh
COPY www/ /www/
CMD /run.sh
"""


@define
class RealHouse:
    """Rooftree with a version feed that the test writes."""

    daemon: Daemon
    engine: Engine
    registry: Registry
    repository: GitRepository
    base_image: str
    feed: VersionFeed
    core_port: int
    original_core: str
    """The image that its versions of Core are made of."""
    slugs: dict[str, str] = field(factory=dict)

    @property
    def core_url(self) -> str:
        """Core's own address."""
        return f"http://127.0.0.1:{self.core_port}"

    @property
    def core_container(self) -> str:
        """The name of its container on the engine."""
        return f"{self.daemon.prefix}homeassistant"

    @property
    def core_image(self) -> str:
        """Its image without a tag, as the feed has it."""
        return self.feed.core_image

    def core_log(self) -> str:
        """What Core printed since it was started last."""
        return self.engine.run("logs", self.core_container)

    def core_complaints(self) -> list[str]:
        """What Core called an error since it was started last."""
        return [line for line in self.core_log().splitlines() if " ERROR " in line or " CRITICAL " in line]

    async def has_core(self, user: CoreUser) -> None:
        """Wait until Core is installed, and answers."""

        async def is_installed() -> bool:
            return (await self.daemon.ok("GET", "/core/info"))["version"] == VERSION

        async def answers() -> bool:
            with contextlib.suppress(aiohttp.ClientConnectionError):  # between our page and Core's
                async with user.session.get(f"{self.core_url}/manifest.json") as response:
                    return response.status == 200 and response.content_type == "application/manifest+json"
            return False

        await until(is_installed, within_s=FIRST_START_S, what="an installed Core")
        await until(answers, within_s=FIRST_START_S, what="Core's own page")

    def core_started_at(self) -> str:
        """When its container was started last; empty while it does not run."""
        shown = self.engine.run(
            "ps", "--all", "--filter", f"name=^/{self.core_container}$", "--format", "{{.State}} {{.ID}}"
        )
        if not shown.startswith("running"):
            return ""
        return self.engine.run("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", self.core_container)

    async def addon(self, name: str) -> Addon:
        """An add-on of the repository."""
        if name not in self.slugs:
            offered = (await self.daemon.ok("GET", "/store"))["addons"]
            self.slugs[name] = next(addon["slug"] for addon in offered if addon["slug"].endswith(f"_{name}"))
        return Addon(self.daemon, self.engine, self.slugs[name])

    def release_porch(self, version: str) -> None:
        """Publish a version of the add-on."""
        files = addon_files("porch", version, base=self.base_image, script=ANSWERS, **PORCH)
        self.repository.write(
            {
                **files,
                "porch/Dockerfile": DOCKERFILE.format(base=self.base_image, version=version),
                "porch/www/index.html": PAGE.format(version=version),
                "porch/www/light.js": LIGHT,
            }
        )
        self.repository.push()

    def release_core(self, version: str) -> None:
        """Publish Core as another patch release, which says so of itself."""
        patch = version.rpartition(".")[2]
        self._release_core(
            version, f"RUN sed -i 's/^PATCH_VERSION: .*/PATCH_VERSION: Final = \"{patch}\"/' {CONST}", {}
        )

    def release_broken_core(self, version: str, init: str) -> None:
        """Publish a version of Core that does that in place of Core: shell script."""
        self._release_core(version, "COPY init /init", {"init": init})

    def _release_core(self, version: str, change: str, files: dict[str, str]) -> None:
        dockerfile = f"FROM {self.original_core}\n{change}\nLABEL io.hass.version={version}\n"
        self.registry.publish(CORE, version, dockerfile, files)
        self.feed.core = version


def listening_on(port: int) -> dict[str, Any]:
    """What Core remembers where it listens. A new one does on port 80 of the host, which may not be ours; what its
    configuration file says it tries for five minutes, unless a person confirms it."""
    settings = {
        "server_port": port,
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        "created_at": "2026-11-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    data = {"stable": settings, "pending": None, "yaml_migration_done": True}
    return {"version": 3, "minor_version": 1, "key": "http", "data": data}


@contextlib.asynccontextmanager
async def real_house(
    engine: Engine, registry: Registry, git_server: GitServer, base_image: str, core_image: str
) -> AsyncIterator[RealHouse]:
    """A daemon that was started, with Core's image on the engine already, as a machine has it that was prepared."""
    repository = git_server.repository(f"house-{secrets.token_hex(4)}", REPOSITORY)  # each walk has its own
    core = f"{registry.address}/{CORE}"
    async with version_feed(core, VERSION) as feed, disposable_daemon(engine) as daemon:
        house = RealHouse(daemon, engine, registry, repository, base_image, feed, free_port(), core_image)
        house.release_porch("1.0")
        feed.is_known_to(daemon)
        daemon.wants_core("privileged = false")
        write_files(
            daemon.data_dir / "homeassistant",
            {"configuration.yaml": CONFIGURATION, ".storage/http": json.dumps(listening_on(house.core_port))},
        )
        engine.run("tag", core_image, f"{core}:{VERSION}")
        try:
            await daemon.start()
            await daemon.ok("POST", "/core/options", {"port": house.core_port})
            yield house
        finally:
            engine.take_name_away(f"{core}:{VERSION}")
