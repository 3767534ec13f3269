"""All our plugins in a running system whose handlers are replaced: a request gets as far as the door and is told which
route it reached. So every route can be knocked at by everybody, and nothing is installed, wiped or switched off.

Listeners, tokens, matching and authorisation are the real ones. A plugin that cannot run here (it needs a bus that is
not there) has its routes all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import orjson
from aiohttp import web
from attrs import evolve, field, frozen, mutable

from rooftree import Kernel, Plugin, Principal, Role, Routes
from rooftree.http import ANY_METHOD
from rooftree.http.answers import envelope, json_response
from rooftree.http.binding import Call
from rooftree.http.table import Entry, RouteTable
from rooftree.interfaces.containers import CONTAINER_ENGINE
from rooftree.plugins.loading import GROUP
from rooftree.process.system import System
from rooftree.testing import running_system, token_for
from rooftree.testing.containers import FakeContainerEngine, FakeEnginePlugin
from rooftree_docker.options import DOCKER, Docker, DockerOptions
from rooftree_docker.registry_logins import RegistryLogins, StoredLogin
from tests.workspace import plugins

SETTINGS: Mapping[str, object] = {
    "plugins.store.repositories": [],
    "plugins.supervisor.version_file": "off",
    "plugins.homeassistant.install": False,
}
"""Nobody is asked over the network."""

CALLERS: Mapping[str, Principal] = {
    "addon-no-api": Principal("addon", "local_none"),
    "default": Principal("addon", "local_default", Role.DEFAULT),
    "homeassistant": Principal("addon", "local_homeassistant", Role.HOMEASSISTANT),
    "backup": Principal("addon", "local_backup", Role.BACKUP),
    "manager": Principal("addon", "local_manager", Role.MANAGER),
    "admin": Principal("addon", "local_admin", Role.ADMIN),
    "observer": Principal("observer", "observer"),
    "cli": Principal("cli", "cli", Role.ADMIN),
    "core": Principal("core", "homeassistant", Role.ADMIN),
}
"""The callers of the reference that have a token, as the plugins that own their kinds make them."""
EVERYBODY = ("anonymous", "unknown", *CALLERS)
"""The columns of the reference."""
ANOTHER = "local_other"
"""An add-on that is none of the callers."""


@frozen
class Reached:
    """Stands where a route's handler was."""

    entry: Entry
    streams: bool = False
    answers_text: bool = False
    may_begin: bool = False

    async def __call__(self, call: Call, boot_id: str) -> web.StreamResponse:
        """Tell which route it is, and with which parts of the path."""
        route = self.entry.route
        return json_response(envelope({"reached": f"{route.method} {route.path}", "parts": dict(call.parts)}))


@asynccontextmanager
async def house_with_closed_rooms(folder: Path) -> AsyncIterator[System]:
    """The system; wait for nothing in it to happen."""
    plugins = await asyncio.to_thread(lambda: [*our_plugins(FakeContainerEngine())])
    async with running_system(folder, plugins=plugins, settings=SETTINGS) as system:
        table = system.server.table
        system.server.table = RouteTable(evolve(entry, endpoint=Reached(entry)) for entry in table.entries)
        yield system


def our_plugins(engine: FakeContainerEngine) -> Iterator[type[Plugin] | EntryPoint]:
    """Every plugin of this house, with that engine in Docker's place. Reads files: call it in a thread."""
    for domain in plugins():
        for name, value in domain.entry_points.get(GROUP, {}).items():
            entry_point = EntryPoint(name, value, GROUP)
            yield _without_docker(entry_point, engine) if name == "docker" else entry_point


def _without_docker(real: EntryPoint, engine: FakeContainerEngine) -> type[Plugin]:
    """The routes of the real engine's plugin, with the fake engine behind them."""
    plugin: type[Plugin] = real.load()

    class DockerWithFakeEngine(FakeEnginePlugin):
        name = "docker"
        provides = (CONTAINER_ENGINE, DOCKER)

        async def setup(self, kernel: Kernel) -> None:
            await super().setup(kernel)
            logins = RegistryLogins(kernel, await kernel.collection(StoredLogin))
            options = await kernel.collection(DockerOptions)
            kernel.provide(DOCKER, Docker(kernel, engine, logins, options, lambda **_: None))

        def routes(self) -> Routes:
            return plugin().routes()

    return DockerWithFakeEngine.serving(engine)


async def tokens_of_callers(system: System) -> Mapping[str, str]:
    """A token of each caller that has one, and one that is nobody's."""
    return {name: await token_for(system, who) for name, who in CALLERS.items()} | {"unknown": "f" * 112}


@frozen
class Knock:
    """What came back."""

    status: int
    reached: str | None
    """The route whose handler would have run, as ``GET /info``; it is named after its path, not after an alias."""
    parts: Mapping[str, str] = field(factory=dict)
    message: str = ""


@mutable
class Wire:
    """A connection that is kept, on which requests are sent byte by byte; it is opened anew when it was closed.

    :param address: where it comes from: wrong tokens are counted by that
    """

    port: int
    address: str = "127.0.0.1"
    _line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def knock(self, method: str, target: bytes, token: str | None = None) -> Knock:
        """Send one request and read its answer; a GET to a route for any method."""
        lines = [b"Host: rooftree"]
        if token is not None:
            lines.append(b"X-Supervisor-Token: " + token.encode())
        verb = "GET" if method == ANY_METHOD else method
        sent = verb.encode() + b" " + target + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
        async with asyncio.timeout(10):
            if self._line is None:
                self._line = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
            reader, writer = self._line
            writer.write(sent)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            body = orjson.loads(await reader.readexactly(length))
        status = int(head.split()[1])
        if "connection: close" in head or head.startswith("http/1.0"):
            self.close()
        data = body.get("data", {})
        return Knock(status, data.get("reached"), data.get("parts", {}), body.get("message", ""))

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line[1].close()
            self._line = None


def paths_of(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    """Every path of every route, aliases too; sorted."""
    found = [(entry, path) for entry in entries for path in entry.route.paths]
    yield from sorted(found, key=lambda one: (one[1], one[0].route.method))
