"""A stand-in for Home Assistant Core: a small server behind Core's real interfaces, run as a process of its own.

``python -m tests.rig.core_program`` beside a unit test (:mod:`tests.rig.core_process`), ``python3 -m homeassistant``
in an image (:mod:`tests.rig.core_image`), so it needs nothing but the standard library and aiohttp. It listens on the
unix socket with Core's rules (whoever is on it is the supervisor's user) and on TCP (refresh and access tokens), does
what Core does when it is told something (it calls back), and remembers what it was told.

What it is like is a :class:`Character`: from the environment variable ``CORE_CHARACTER`` (of an image), then from
``stand-in.json`` in its folder, and changed while it runs by ``POST /stand-in/character``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

CHARACTER = "CORE_CHARACTER"
SOCKET_SINCE = (2026, 4)
"""The first version that listens on the unix socket."""
HTTP_CONFIG_SINCE = (2026, 8)
SOCKET_ONLY_SINCE = (2026, 11)
"""The first version that takes no refresh token of the supervisor's any more."""
STARTS = "starts.txt"
"""In its folder: the version of each start, a line each. What is put back of the folder takes lines away."""
CONTROL = "/stand-in/"
"""Below this a test steers it; Core has nothing there, and it is not remembered."""
COMPONENTS = ("api", "auth", "config", "frontend", "hassio", "http", "recorder", "usb", "websocket_api")
REFUSED_CONFIGURATION = "broken:"
"""A line in ``configuration.yaml`` that begins like this makes the check of it fail."""
LARGEST_BODY = 64 * 2**20
SAID_BYTES = 10_000
"""Of a body so much is remembered."""


@dataclass(frozen=True)
class Character:
    """How this Core behaves."""

    version: str = "2026.11.0"
    port: int = 8123
    state: str = "RUNNING"
    """What it says of itself once it is there; it refuses nothing because of it."""
    crashes: int | None = None
    """It ends at once with this status."""
    hangs: bool = False
    """It accepts connections and never answers."""
    slow_s: float = 0.0
    """So long each answer takes."""
    fails: int | None = None
    """Each answer of its API has this status instead."""
    migration: str | None = None
    """``live`` or ``offline``, while the database is migrated."""
    recovery_mode: bool = False
    components: tuple[str, ...] | None = COMPONENTS
    frontend: bool = True
    """Whether there is a page at its root."""
    websocket: bool = True
    """Whether a WebSocket begins as it should."""
    listens_on_socket: bool = True
    server_host: tuple[str, ...] = ("0.0.0.0", "::")
    passwords: tuple[tuple[str, str], ...] = (("anna", "the right one"),)
    """Who may log in by ``hassio_auth``."""
    users: tuple[dict[str, Any], ...] = (
        {
            "id": "a" * 32, "username": "anna", "name": "Anna", "is_owner": True, "is_active": True,
            "local_only": False, "system_generated": False, "group_ids": ["system-admin"],
            "credentials": [{"type": "homeassistant"}],
        },
    )  # fmt: skip
    reports: bool = True
    """Whether it tells the supervisor of its port when it starts, as Core does."""

    def __post_init__(self) -> None:
        """JSON has no tuples."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(tuple(v) if isinstance(v, list) else v for v in value))

    @property
    def release(self) -> tuple[int, int]:
        """Year and month of the version."""
        year, month, *_ = self.version.split(".")
        return int(year), int(month)


def _changed(character: Character, changes: dict[str, Any]) -> Character:
    if unknown := changes.keys() - {known.name for known in fields(Character)}:
        raise ValueError(f"no such trait: {', '.join(sorted(unknown))}")
    return replace(character, **changes)


@dataclass
class Memory:
    """What it was told, in order."""

    told: list[dict[str, Any]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, kind: str, **facts: Any) -> None:
        """Remember one thing, and wake who waits for it."""
        self.told.append({"kind": kind, **facts})
        self.changed.set()
        self.changed = asyncio.Event()

    async def after(self, count: int, within_s: float) -> list[dict[str, Any]]:
        """What there is beyond the first ``count``; waits until there is something, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(self.told) <= count:
                    await self.changed.wait()
        return self.told[count:]


class StandIn:
    """The server. ``folder`` is Core's ``/config``."""

    def __init__(self, folder: Path, character: Character) -> None:
        self.folder = folder
        self.character = character
        self.memory = Memory()
        self.sockets: set[web.WebSocketResponse] = set()
        self.listens: dict[web.WebSocketResponse, list[tuple[int, str | None]]] = {}
        self.refresh_tokens = {os.environ.get("CORE_REFRESH_TOKEN", secrets.token_hex(64))}
        self.access_tokens: set[str] = set()
        self.ends: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.safe_mode = (folder / "safe-mode").exists()
        (folder / "safe-mode").unlink(missing_ok=True)

    # --- what is asked ------------------------------------------------------------------------------------------------

    def application(self, *, trusted: bool) -> web.Application:
        """Its routes, for one listener. On a trusted one every caller is the supervisor's user."""

        @web.middleware
        async def behave(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path.startswith(CONTROL):
                return await handler(request)
            return await self._behave(request, handler, trusted=trusted)

        application = web.Application(middlewares=[behave], client_max_size=LARGEST_BODY)
        routes = application.router
        routes.add_get(CONTROL + "told", self._told)
        routes.add_post(CONTROL + "character", self._change)
        routes.add_post(CONTROL + "fire", self._fire)
        routes.add_post(CONTROL + "end", self._end)
        routes.add_get("/", self._frontend)
        routes.add_post("/auth/token", self._token)
        routes.add_get("/api/websocket", lambda request: self._websocket(request, trusted=trusted))
        routes.add_get("/api/", self._running)
        routes.add_get("/api/core/state", self._state)
        routes.add_get("/api/config", self._config)
        routes.add_get("/api/core/http_config", self._http_config)
        routes.add_post("/api/hassio_auth", self._login)
        routes.add_post("/api/hassio_auth/password_reset", self._reset_password)
        routes.add_route("*", "/api/hassio_push/{what}/{name}", self._pushed)
        routes.add_get("/api/stream", self._stream)
        routes.add_get("/api/blob", self._blob)
        routes.add_route("*", "/api/{rest:.*}", self._echo)
        return application

    async def _behave(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
        *,
        trusted: bool,
    ) -> web.StreamResponse:
        self.memory.add(
            "request", method=request.method, path=request.raw_path, by="socket" if trusted else "tcp",
            headers=[[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers],
        )  # fmt: skip
        if self.character.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.character.slow_s)
        if self.character.fails is not None:
            return web.Response(status=self.character.fails)
        if request.path.startswith("/api/") and request.path != "/api/websocket" and not trusted:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.access_tokens:
                return web.Response(status=401, text="401: Unauthorized")
        return await handler(request)

    async def _frontend(self, request: web.Request) -> web.Response:
        if not self.character.frontend:
            return web.Response(status=404)
        return web.Response(text="<!DOCTYPE html><title>Home Assistant</title>", content_type="text/html")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") not in self.refresh_tokens:
            return web.json_response({"error": "invalid_grant"}, status=400)
        token = secrets.token_hex(32)
        self.access_tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 1800})

    async def _running(self, request: web.Request) -> web.Response:
        return web.json_response({"message": "API running."})

    async def _state(self, request: web.Request) -> web.Response:
        migration = self.character.migration
        recorder = {"migration_in_progress": migration is not None, "migration_is_live": migration == "live"}
        return web.json_response({"state": self.character.state, "recorder_state": recorder})

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response(self._configuration())

    def _configuration(self) -> dict[str, Any]:
        character = self.character
        return {
            "components": None if character.components is None else list(character.components),
            "version": character.version, "state": character.state,
            "recovery_mode": character.recovery_mode, "safe_mode": self.safe_mode, "config_dir": "/config",
            "time_zone": "Europe/Zurich", "country": "CH",
        }  # fmt: skip

    async def _http_config(self, request: web.Request) -> web.Response:
        if self.character.release < HTTP_CONFIG_SINCE:
            return web.Response(status=404)
        port, hosts = self.character.port, list(self.character.server_host)
        return web.json_response({"port": port, "ssl": False, "ssl_peer_certificate": None, "server_host": hosts})

    async def _login(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.memory.add("login", body=body)
        right = (body.get("username"), body.get("password")) in self.character.passwords
        return web.Response(status=200 if right else 404)

    async def _reset_password(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.memory.add("password_reset", body=body)
        passwords = dict(self.character.passwords)
        if body.get("username") not in passwords:
            return web.Response(status=404)
        passwords[body["username"]] = body["password"]
        self.character = replace(self.character, passwords=tuple(passwords.items()))
        return web.Response(status=200)

    async def _pushed(self, request: web.Request) -> web.Response:
        what, name = request.match_info["what"], request.match_info["name"]
        body = await request.read()
        said = json.loads(body) if body else None
        self.memory.add("push", what=what, name=name, method=request.method, body=said)
        if what == "discovery":
            await self._ask_for_discovery(name, said, new=request.method == "POST")
        elif request.method == "POST":
            _, answer = await self._call_back("GET", "/ingress/panels")
            panel = (answer or {}).get("data", {}).get("panels", {}).get(name, {})
            return web.Response(status=200 if panel.get("enable") else 400)
        return web.Response(status=200)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Core's event stream: one event at once, then whatever is fired, until the client goes."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: ping\n\n")
        try:
            for count in iter(lambda: len(self.memory.told), None):
                for entry in await self.memory.after(count, within_s=50.0):
                    if entry["kind"] == "fired":
                        await response.write(f"data: {json.dumps(entry['event'])}\n\n".encode())
        finally:
            self.memory.add("stream_ended")
        return response

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        """So many bytes, in pieces."""
        size = int(request.query["bytes"])
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        piece = bytes(range(256)) * 256
        while size:
            await response.write(piece[:size])
            size -= min(size, len(piece))
        return response

    async def _echo(self, request: web.Request) -> web.Response:
        """Any other path of its API: what arrived."""
        digest, size, begin = hashlib.sha256(), 0, b""
        async for block in request.content.iter_chunked(2**16):
            digest.update(block)
            size += len(block)
            begin += block[: SAID_BYTES - len(begin)]
        seen = {
            "method": request.method, "path": request.raw_path, "bytes": size, "sha256": digest.hexdigest(),
            "body": begin.decode("latin-1"), "headers": [[k, v] for k, v in request.headers.items()],
        }  # fmt: skip
        self.memory.add("echo", **seen)
        return web.json_response(seen)

    # --- the WebSocket ------------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request, *, trusted: bool) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=LARGEST_BODY)
        await websocket.prepare(request)
        version = {"ha_version": self.character.version}
        if not self.character.websocket:
            await asyncio.Event().wait()
        if not trusted:
            await websocket.send_json({"type": "auth_required", **version})
            said = await websocket.receive_json(timeout=10)
            if said.get("type") != "auth" or said.get("access_token") not in self.access_tokens:
                await websocket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
                await websocket.close()
                return websocket
        await websocket.send_json({"type": "auth_ok", **version})
        self.sockets.add(websocket)
        self.memory.add("connected", by="socket" if trusted else "tcp")
        try:
            async for message in websocket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    said = json.loads(message.data)
                    for command in said if isinstance(said, list) else [said]:
                        await self._command(websocket, command)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self.memory.add("binary", body=message.data.decode("latin-1"))
                    await websocket.send_bytes(message.data)
        finally:
            self.sockets.discard(websocket)
            self.listens.pop(websocket, None)
            self.memory.add("disconnected")
        return websocket

    async def _command(self, websocket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        self.memory.add("command", type=message.get("type"), message=message)
        match message:
            case {"type": "ping"}:
                await websocket.send_json({"id": message["id"], "type": "pong"})
                return
            case {"type": "get_config"}:
                result: Any = self._configuration()
            case {"type": "config/auth/list"}:
                result = list(self.character.users)
            case {"type": "subscribe_events"}:
                self.listens.setdefault(websocket, []).append((message["id"], message.get("event_type")))
                result = None
            case {"type": "supervisor/event" | "usb/scan" | "backup/start" | "backup/end" | "hassio/update/addon"}:
                result = None
            case {"type": "stand_in/echo"}:
                result = message
            case _:
                error = {"code": "unknown_command", "message": "Unknown command."}
                await websocket.send_json({"id": message["id"], "type": "result", "success": False, "error": error})
                return
        await asyncio.sleep(self.character.slow_s)
        await websocket.send_json({"id": message["id"], "type": "result", "success": True, "result": result})

    # --- what it does by itself ---------------------------------------------------------------------------------------

    async def report(self) -> None:
        """Tell the supervisor of its port, and ask what was discovered while it was away: what Core does at a start."""
        token = None if self.character.release >= SOCKET_ONLY_SINCE else next(iter(self.refresh_tokens))
        options = {"ssl": False, "port": self.character.port, "refresh_token": token}
        await self._call_back("GET", "/supervisor/ping")
        await self._call_back("POST", "/core/options", options)
        await self._call_back("GET", "/discovery")

    async def _ask_for_discovery(self, uuid: str, said: Any, *, new: bool) -> None:
        status, _ = await self._call_back("GET", f"/discovery/{uuid}")
        if new and status == 200:
            await self._call_back("GET", f"/addons/{said['addon']}/info")

    async def _call_back(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the supervisor, as it says in the environment; status and answer, 0 where nobody answers."""
        if "SUPERVISOR" not in os.environ:
            return 0, None
        url = f"http://{os.environ['SUPERVISOR']}{path}"
        headers = {"Authorization": f"Bearer {os.environ['SUPERVISOR_TOKEN']}", "X-Hass-Source": "core.handler"}
        status, answer = 0, None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(10)) as session,
                session.request(method, url, json=body) as response,
            ):
                status = response.status
                answer = await response.json(content_type=None)
        self.memory.add("called_back", method=method, path=path, status=status, answer=answer)
        return status, answer

    # --- how a test steers it -----------------------------------------------------------------------------------------

    async def _told(self, request: web.Request) -> web.Response:
        query = request.query
        return web.json_response(await self.memory.after(int(query["after"]), float(query["within_s"])))

    async def _change(self, request: web.Request) -> web.Response:
        self.character = _changed(self.character, await request.json())
        return web.Response()

    async def _fire(self, request: web.Request) -> web.Response:
        event = await request.json()
        self.memory.add("fired", event=event)
        for websocket, subscriptions in list(self.listens.items()):
            for number, event_type in subscriptions:
                if event_type in {None, event["event_type"]}:
                    await websocket.send_json({"id": number, "type": "event", "event": event})
        return web.Response()

    async def _end(self, request: web.Request) -> web.Response:
        self.ends.set_result((await request.json())["status"])
        return web.Response()


async def serve(folder: Path, character: Character) -> int:
    """Be Core, until a signal comes or a test ends it; the exit status."""
    print(f"Home Assistant {character.version} begins", flush=True)
    (folder / ".HA_VERSION").write_text(character.version, encoding="utf-8")
    database = folder / "home-assistant_v2.db"
    database.write_text(f"schema of {character.version}\n", encoding="utf-8")
    with (folder / STARTS).open("a", encoding="utf-8") as starts:
        starts.write(f"{character.version}\n")
    if character.crashes is not None:
        print("Fatal Python error: this version crashes on purpose", flush=True)
        return character.crashes
    stand_in = StandIn(folder, character)
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stand_in.ends.done():
            stand_in.ends.set_result(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    async with contextlib.AsyncExitStack() as stack:
        for trusted in (True, False):  # TCP last: who can steer it finds the socket there
            runner = web.AppRunner(
                stand_in.application(trusted=trusted),
                shutdown_timeout=0.5,
                access_log=None,
                handler_cancellation=True,  # a stream ends with its client
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            if not trusted:
                await web.TCPSite(runner, port=character.port, reuse_address=True).start()
                continue
            if path := _socket_path(character):
                path.unlink(missing_ok=True)
                await web.UnixSite(runner, str(path)).start()
                path.chmod(0o600)
                stack.callback(path.unlink, missing_ok=True)
        print("Home Assistant is there", flush=True)
        if character.reports:
            reporting = loop.create_task(stand_in.report())
            stack.callback(reporting.cancel)
        status = await stand_in.ends
        for websocket in list(stand_in.sockets):
            await websocket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        return status


def _socket_path(character: Character) -> Path | None:
    path = os.environ.get("SUPERVISOR_CORE_API_SOCKET")
    wanted = path and character.listens_on_socket and character.release >= SOCKET_SINCE
    return Path(path) if path and wanted else None


def _character(folder: Path) -> Character:
    character = _changed(Character(), json.loads(os.environ.get(CHARACTER, "{}")))
    with contextlib.suppress(FileNotFoundError):
        character = _changed(character, json.loads((folder / "stand-in.json").read_text(encoding="utf-8")))
    return character


def _refused(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / "configuration.yaml").read_text(encoding="utf-8").splitlines():
            if line.startswith(REFUSED_CONFIGURATION):
                yield line


def main(arguments: list[str]) -> int:
    """``--config FOLDER`` runs it; ``--script check_config`` checks the configuration, as Core's script does."""
    folder = Path(arguments[arguments.index("--config") + 1] if "--config" in arguments else "/config")
    if "check_config" in arguments:
        print(f"Testing configuration at {folder}")
        faults = list(_refused(folder))
        for fault in faults:
            print(f"\033[31mGeneral Errors:\033[0m\n  - Integration error: {fault} - Integration not found.")
        return 1 if faults else 0
    return asyncio.run(serve(folder, _character(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
