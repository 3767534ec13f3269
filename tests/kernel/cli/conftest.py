"""The command against a real HTTP server on a real unix socket, which answers as the daemon does.

It stands in for the daemon here, because these tests are about what the command makes of answers; the daemon's own
answers are tested where it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from rooftree.cli import rooftree

type Cli = Callable[..., Coroutine[Any, Any, Result]]

PLUGINS = [
    {
        "name": "store",
        "distribution": "rooftree-store",
        "version": "1.2.3",
        "state": "ok",
        "reason": None,
        "provides": ["addon_store/1"],
        "requires": [],
        "optional": [],
    },
    {
        "name": "addons",
        "distribution": "rooftree-addons",
        "version": "1.2.3",
        "state": "failed",
        "reason": "ValueError: a reason that is longer than a terminal is wide, which a table has to fold or let be",
        "provides": ["addons/1"],
        "requires": ["container_engine/1", "addon_store/1"],
        "optional": ["hardware/1"],
    },
]


DRIVERS = [
    {
        "name": "boards.acme",
        "distribution": "rooftree-board-acme",
        "version": "0.3",
        "state": "in_use",
        "reason": None,
        "plugin": "os",
    },
    {
        "name": "boards.box",
        "distribution": "rooftree-board-box",
        "version": "0.4",
        "state": "idle",
        "reason": "this machine is no such board",
        "plugin": "os",
    },
]


LEFT_BEHIND = [
    {
        "name": "clock",
        "distribution": "rooftree-clock",
        "collections": ["clock.count"],
        "documents": 3,
        "tokens": 0,
        "folder": "/data/plugins/clock",
    }
]


class StandIn:
    """A server that speaks the daemon's envelope, and remembers what it was asked."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.asked: list[tuple[str, str, bytes]] = []
        self.tokens: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self.log_goes_on = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, body))
        path = request.raw_path
        if path == "/kernel/v1/problems":
            return ok({"problems": self.problems})
        if path == "/kernel/v1/plugins":
            return ok({"plugins": PLUGINS, "drivers": DRIVERS, "left_behind": LEFT_BEHIND})
        if path == "/kernel/v1/plugins/clock" and request.method == "DELETE":
            return ok(LEFT_BEHIND[0])
        if path.startswith("/kernel/v1/tokens"):
            return self.token(request.method, path.removeprefix("/kernel/v1/tokens").removeprefix("/"), body)
        if path == "/echo":
            return ok({"method": request.method, "body": json.loads(body) if body else None, "ä": "ö"})
        if path == "/text":
            return web.Response(text="one\ntwo\n")
        if path == "/picture":
            return web.Response(body=bytes(range(256)), content_type="image/png")
        if path == "/logs/follow":
            return await self.follow(request)
        if path == "/breaks":
            response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "text/plain"})
            await response.prepare(request)
            await response.write(b"begin\n")
            assert request.transport is not None
            request.transport.close()
            return response
        if path == "/busy":
            return error(409, "Job ab12 holds the add-on", error_key="job_conflict", job_id="ab12")
        if path == "/plain-error":
            return web.Response(status=502, text="Bad gateway\n")
        if path == "/not-json":
            return web.Response(text="{", content_type="application/json")
        if path == "/document":
            return web.json_response({"openapi": "3.1.0"})
        return error(404, f"There is no path {path}")

    def token(self, method: str, id: str, body: bytes) -> web.Response:
        if method == "POST":
            made = {
                "id": f"id{len(self.tokens)}",
                "kind": "program",
                "created": "2026-01-31T09:00:00Z",
                **json.loads(body),
            }
            self.tokens.append(made)
            return ok({"id": made["id"], "name": made["name"], "role": made["role"], "token": "s3cret"})
        if method == "DELETE":
            self.tokens = [token for token in self.tokens if token["id"] != id]
            return ok({})
        return ok({"tokens": self.tokens})

    async def follow(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"first\n")
        await self.log_goes_on.wait()
        await response.write(b"second\n")
        return response


def ok(data: object) -> web.Response:
    return web.json_response({"result": "ok", "data": data})


def error(status: int, message: str, **more: str) -> web.Response:
    return web.json_response({"result": "error", "message": message, **more}, status=status)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[StandIn]:
    stand_in = StandIn(tmp_path / "rooftree.sock")
    server = web.Server(stand_in.answer)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.UnixSite(runner, str(stand_in.socket)).start()
    yield stand_in
    stand_in.log_goes_on.set()
    await runner.cleanup()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What commands see: the data folder of this test, and no settings file of this machine."""
    return {"ROOFTREE_CONFIG": "", "ROOFTREE_DATA_DIR": str(tmp_path), "_ROOFTREE_COMPLETE": ""}


@pytest.fixture
def cli(environment: Mapping[str, str]) -> Cli:
    """Run ``rooftree`` with these arguments, in a thread, as its own process would."""

    async def run(*arguments: str | Path, input: str | bytes | None = None, **more: str) -> Result:
        words = [str(argument) for argument in arguments]
        env = {**environment, **more}
        return await asyncio.to_thread(CliRunner().invoke, rooftree, words, input=input, env=env)

    return run
