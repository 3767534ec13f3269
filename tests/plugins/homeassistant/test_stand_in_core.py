"""The stand-in for Core (:mod:`tests.rig.core_process`) has Core's rules."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.rig.core_process import CoreProcess, core_process


@asynccontextmanager
async def over_socket(core: CoreProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(core.socket))) as session:
        yield session


@asynccontextmanager
async def over_tcp(core: CoreProcess, token: str = "none") -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(core.url, headers={"Authorization": f"Bearer {token}"}) as session:
        yield session


async def test_who_is_on_the_socket_needs_no_token(tmp_path: Path) -> None:
    async with core_process(tmp_path) as core, over_socket(core) as session:
        async with session.get("/api/core/state") as response:
            assert await response.json() == {
                "state": "RUNNING",
                "recorder_state": {"migration_in_progress": False, "migration_is_live": False},
            }
        async with session.ws_connect("/api/websocket") as websocket:
            assert await websocket.receive_json() == {"type": "auth_ok", "ha_version": "2026.11.0"}
            await websocket.send_json({"id": 1, "type": "supervisor/event", "data": {"event": "store_reloaded"}})
            assert (await websocket.receive_json())["success"] is True

        assert stat.S_IMODE(core.socket.stat().st_mode) == 0o600
        assert await core.is_sent("store_reloaded") == {"event": "store_reloaded"}


async def test_tcp_wants_an_access_token_for_which_it_takes_the_refresh_token(tmp_path: Path) -> None:
    async with core_process(tmp_path, version="2026.3.1") as core:
        assert not core.socket.exists()
        async with over_tcp(core) as session, session.get("/api/config") as response:
            assert response.status == 401
        form = {"grant_type": "refresh_token", "refresh_token": core.refresh_token}
        async with over_tcp(core) as session, session.post("/auth/token", data=form) as response:
            token = (await response.json())["access_token"]
        async with over_tcp(core, token) as session:
            async with session.get("/api/config") as response:
                assert (await response.json())["version"] == "2026.3.1"
            async with session.get("/api/core/http_config") as response:
                assert response.status == 404
            async with session.ws_connect("/api/websocket") as websocket:
                assert (await websocket.receive_json())["type"] == "auth_required"
                await websocket.send_json({"type": "auth", "access_token": token})
                assert (await websocket.receive_json())["type"] == "auth_ok"


async def test_it_asks_the_supervisor_back_when_something_is_pushed(tmp_path: Path) -> None:
    async def message(request: web.Request) -> web.Response:
        return web.json_response({"result": "ok", "data": {"token": request.headers["Authorization"]}})

    supervisor = web.Application()
    supervisor.router.add_route("*", "/{path:.*}", message)
    runner = web.AppRunner(supervisor)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with core_process(tmp_path, supervisor=f"{host}:{port}", token="t0ken") as core:
            reported = await core.is_told("called_back", path="/core/options", status=200)
            body = {"addon": "core_mosquitto", "service": "mqtt", "uuid": "b" * 32}
            path = f"/api/hassio_push/discovery/{'b' * 32}"
            async with over_socket(core) as session, session.post(path, json=body) as response:
                assert response.status == 200

            assert reported["answer"]["data"]["token"] == "Bearer t0ken"
            await core.is_told("push", what="discovery", method="POST", body=body)
            await core.is_told("called_back", path=f"/discovery/{'b' * 32}")
            await core.is_told("called_back", path="/addons/core_mosquitto/info")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("password", "status"), [("the right one", 200), ("another", 404)])
async def test_it_knows_its_users_passwords(tmp_path: Path, password: str, status: int) -> None:
    body = {"username": "anna", "password": password, "addon": "local_broker"}
    async with (
        core_process(tmp_path) as core,
        over_socket(core) as session,
        session.post("/api/hassio_auth", json=body) as response,
    ):
        assert response.status == status


async def test_it_can_hang_crash_and_come_back(tmp_path: Path) -> None:
    async with core_process(tmp_path) as core, over_socket(core) as session:
        await core.become(hangs=True)
        with pytest.raises(TimeoutError):
            await session.get("/api/config", timeout=aiohttp.ClientTimeout(0.3))
        await core.end(3)
        assert await core.ended() == 3
        await core.start(hangs=False, migration="offline")
        async with session.get("/api/core/state") as response:
            assert (await response.json())["recorder_state"]["migration_in_progress"] is True


async def test_who_subscribed_hears_what_happens(tmp_path: Path) -> None:
    async with (
        core_process(tmp_path) as core,
        over_socket(core) as session,
        session.ws_connect("/api/websocket") as websocket,
    ):
        await websocket.receive_json()
        await websocket.send_json({"id": 1, "type": "subscribe_events", "event_type": "user_removed"})
        await websocket.receive_json()
        await core.fire("user_removed", user_id="a" * 32)
        event = {"event_type": "user_removed", "data": {"user_id": "a" * 32}}
        assert await websocket.receive_json() == {"id": 1, "type": "event", "event": event}
