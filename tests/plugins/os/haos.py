"""A system on a machine with Home Assistant OS: a bus of its own, stand-ins on it, a server of versions and bundles."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import define, field

from rooftree import Plugin
from rooftree.interfaces.boards import GROUP
from rooftree.process.system import System
from rooftree.testing import Answer, Client, InstalledPlugin, running_system
from rooftree_board_green import Green
from rooftree_board_yellow import Yellow
from rooftree_host.plugin import HostPlugin
from rooftree_os.plugin import OsPlugin
from rooftree_supervisor.plugin import SupervisorPlugin
from tests.bus.private_bus import PrivateBus, Services, services
from tests.rig.waiting import until

MACHINE = "tests.bus.os_machine"
NEW = "16.2"
BOARDS = (
    InstalledPlugin("yellow", lambda: Yellow, group=GROUP),
    InstalledPlugin("green", lambda: Green, group=GROUP),
)


@define
class VersionServer:
    """Serves the version file, and bundles."""

    url: str = ""
    file: dict[str, Any] = field(factory=dict)
    broken: bool = False
    silent: bool = False
    asked: list[str] = field(factory=list)
    status: int = 200
    short: bool = False
    """Whether the connection breaks in the middle of a bundle."""
    gate: asyncio.Event = field(factory=asyncio.Event)
    """A bundle stops half way until this is set."""

    async def _versions(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.silent:
            await asyncio.Event().wait()
        if self.broken:
            return web.Response(text="<html>Sign in to the hotel's network</html>")
        return web.json_response(self.file)

    async def _bundle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.status != 200:
            raise web.HTTPNotFound if self.status == 404 else web.HTTPInternalServerError
        body = f"bundle {request.match_info['version']}\n".encode() + bytes(100_000)
        answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        await answer.write(body[:50_000])
        if self.short:
            assert request.transport is not None
            request.transport.abort()
            return answer
        await self.gate.wait()
        await answer.write(body[50_000:])
        return answer

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[VersionServer]:
        """A server on loopback."""
        server = cls()
        server.gate.set()
        app = web.Application()
        app.router.add_get("/{channel}.json", server._versions)
        app.router.add_get("/{version}/{board}/{file}", server._bundle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            server.file = {
                "channel": "stable",
                "hassos": {"yellow": NEW, "green": NEW},
                "ota": server.url + "/{version}/{board}/{os_name}_{board}-{version}.raucb",
            }
            yield server
        finally:
            server.gate.set()
            await runner.cleanup()


@define
class Surroundings:
    """What is around a system: the bus, what is on it, the server."""

    folder: Path
    bus: PrivateBus
    versions: VersionServer
    parts: Services

    @property
    def settings(self) -> dict[str, object]:
        """Those with which a system is there."""
        return {
            "plugins.host.bus": self.bus.address,
            "plugins.supervisor.version_file": self.versions.url + "/{channel}.json",
        }

    @asynccontextmanager
    async def system(
        self,
        *more: type[Plugin] | EntryPoint,
        boards: Iterable[EntryPoint] = BOARDS,
        settings: Mapping[str, object] | None = None,
        without: str | None = None,
    ) -> AsyncIterator[Haos]:
        """A system there; the same data folder each time.

        :param without: one of the settings that it would have
        """
        chosen = {**self.settings, **(settings or {})}
        chosen.pop(without or "", None)
        plugins = [SupervisorPlugin, HostPlugin, OsPlugin, *boards, *more]
        async with (
            running_system(self.folder, plugins=plugins, settings=chosen) as system,
            Client.over_unix(system) as client,
        ):
            yield Haos(system, client, self)


@define
class Haos:
    """The running system."""

    system: System
    client: Client
    around: Surroundings

    @property
    def parts(self) -> Services:
        """The services on the bus."""
        return self.around.parts

    @property
    def versions(self) -> VersionServer:
        """The server."""
        return self.around.versions

    async def get(self, path: str) -> Any:
        """What is answered, which must be a success."""
        answer = await self.client.get(path)
        assert answer.status == 200, answer.text
        return answer.data

    async def post(self, path: str, body: object = None) -> Answer:
        """The answer."""
        return await self.client.post(path, json=body or {})

    async def done(self, path: str, body: object = None) -> None:
        """Post, which must be a success."""
        answer = await self.post(path, body)
        assert answer.status == 200, answer.text

    def problems(self) -> dict[str, str]:
        """By type, and severity where that is no issue."""
        return {
            problem.type if problem.severity == "issue" else f"{problem.severity} {problem.type}": problem.message
            for problem in self.system.problems
        }

    async def settled(self) -> Haos:
        """The same, once the version file was read and what runs was marked."""

        async def ready() -> bool:
            known = (await self.get("/os/info"))["version_latest"] is not None
            return known and (await self.get("/os/info"))["boot_slots"]["A"]["status"] == "good"

        await until(ready, within_s=10, what="the version file, and a marked slot")
        await self.parts.calls()
        return self

    async def called(self, *names: str) -> list[tuple[str, list[Any]]]:
        """The calls of these methods since this was asked last."""
        return [(name, arguments) for name, arguments in await self.parts.calls() if name in names]


@asynccontextmanager
async def surroundings(folder: Path, *names: str, machine: str = MACHINE) -> AsyncIterator[Surroundings]:
    """A bus with the services of that name (all, if none is named), and a server."""
    sockets = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="rooftree-")  # short, for sockets
    async with AsyncExitStack() as stack:
        stack.callback(sockets.cleanup)
        bus = PrivateBus(Path(sockets.name))
        await bus.start()
        stack.push_async_callback(bus.kill)
        versions = await stack.enter_async_context(VersionServer.serving())
        parts = await stack.enter_async_context(services(bus.address, *names, machine=machine))
        yield Surroundings(folder, bus, versions, parts)
