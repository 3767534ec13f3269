"""A version feed on loopback, in which the test says what there is of Core."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from attrs import define

from tests.rig.daemon import Daemon
from tests.rig.service_process import free_port

MACHINES = ("default", "generic-x86-64", "qemux86-64", "generic-aarch64", "qemuarm-64")
BASE_SERVICES = ("supervisor", "cli", "dns", "audio", "multicast", "observer")


@define
class VersionFeed:
    """What the feed says."""

    core_image: str
    """Without a tag."""
    core: str
    """The newest version of Core."""
    url: str = ""
    """With ``{channel}`` in it."""

    def is_known_to(self, daemon: Daemon) -> None:
        """That daemon reads it, from its next start on."""
        with daemon.settings.open("a", encoding="utf-8") as settings:
            settings.write(f'\n[plugins.supervisor]\nversion_file = "{self.url}"\n')

    async def answer(self, request: web.Request) -> web.Response:
        """The file of a channel."""
        content = {
            "channel": request.match_info["channel"],
            "homeassistant": dict.fromkeys(MACHINES, self.core),
            "hassos": {},
            "images": {"core": self.core_image},
            **dict.fromkeys(BASE_SERVICES, "2026.01.0"),
        }
        return web.json_response(content)


@contextlib.asynccontextmanager
async def version_feed(core_image: str, core: str) -> AsyncIterator[VersionFeed]:
    """A feed that is served, for the length of the block."""
    feed = VersionFeed(core_image, core)
    app = web.Application()
    app.router.add_get("/{channel}.json", feed.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    feed.url = f"{site.name}/{{channel}}.json"
    try:
        yield feed
    finally:
        await runner.cleanup()
