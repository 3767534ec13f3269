"""A server of version files on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from attrs import define, field


@define
class VersionServer:
    """Serves a version file for each channel."""

    url: str = ""
    files: dict[str, Any] = field(factory=dict)
    """By channel; a channel that is not among them is 404."""
    asked: list[str] = field(factory=list)
    """The channels, in the order in which they were asked for."""
    gate: asyncio.Event = field(factory=asyncio.Event)
    """Nothing is answered until this is set, as it is at first."""

    @property
    def setting(self) -> dict[str, object]:
        """With which a system reads here."""
        return {"plugins.supervisor.version_file": self.url + "/{channel}.json"}

    async def _answer(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        self.asked.append(channel)
        await self.gate.wait()
        if channel not in self.files:
            raise web.HTTPNotFound
        content = self.files[channel]
        return web.Response(body=content) if isinstance(content, bytes) else web.json_response(content)

    @classmethod
    @asynccontextmanager
    async def serving(cls, **files: Any) -> AsyncIterator[VersionServer]:
        """A server of these files, by channel."""
        server = cls(files=files)
        server.gate.set()
        app = web.Application()
        app.router.add_get("/{channel}.json", server._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield server
        finally:
            server.gate.set()
            await runner.cleanup()
