"""A server of versions and bundles of Home Assistant OS, on the host's loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from tests.rig.daemon import Daemon
from tests.rig.service_process import free_port


class VersionServer:
    """Says that ``version`` is the newest for a board, and has its bundle. It keeps its address when it is served anew,
    which it has to be after a boot of the host: that has a loopback of its own."""

    def __init__(self, version: str, bundle: Path, *, board: str = "yellow") -> None:
        self.version = version
        self.bundle = bundle
        self.board = board
        self.asked = 0
        """How often for the version file."""
        self.begun = asyncio.Event()
        """Half a bundle was sent."""
        self.flows = asyncio.Event()
        """The other half is sent once this is set, as it is at first."""
        self.flows.set()
        self._url = f"http://127.0.0.1:{free_port()}"
        self._runner: web.AppRunner | None = None

    def is_known_to(self, daemon: Daemon) -> None:
        """That daemon asks here, from its next start on."""
        with daemon.settings.open("a", encoding="utf-8") as settings:
            settings.write(f'\n[plugins.os]\nversion_file = "{self._url}/{{channel}}.json"\n')

    async def serve(self) -> None:
        """Listen, until :meth:`close`."""
        await self.close()
        app = web.Application()
        app.router.add_get("/{channel}.json", self._versions)
        app.router.add_get("/{version}/{board}/{file}", self._bundle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", int(self._url.rpartition(":")[2])).start()

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _versions(self, _: web.Request) -> web.Response:
        self.asked += 1
        ota = f"{self._url}/{{version}}/{{board}}/{{os_name}}_{{board}}-{{version}}.raucb"
        return web.json_response({"channel": "stable", "hassos": {self.board: self.version}, "ota": ota})

    async def _bundle(self, request: web.Request) -> web.StreamResponse:
        content = self.bundle.read_bytes()
        answer = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await answer.prepare(request)
        if request.method != "HEAD":
            await answer.write(content[: len(content) // 2])
            self.begun.set()
            await self.flows.wait()
            await answer.write(content[len(content) // 2 :])
        return answer
