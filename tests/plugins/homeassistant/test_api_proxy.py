"""Core's API for add-ons: what goes on to Core, what comes back, and what is closed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from rooftree.interfaces.core import CoreLost
from rooftree.testing import token_for
from rooftree_homeassistant import api_proxy
from tests.kernel.raw_http import send
from tests.plugins.homeassistant.proxied import HELLO, Proxied, proxied
from tests.plugins.homeassistant.running_core import core_engine, running_core, short_folder
from tests.rig.core_process import CoreProcess, core_process
from tests.rig.waiting import until


@frozen
class House:
    """Core, and the way to it."""

    core: CoreProcess
    proxied: Proxied

    async def echo(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """What Core saw of a request."""
        answer = await self.proxied.client.request(method, path, **options)
        assert answer.status == 200, answer.text
        seen: dict[str, Any] = (await self.core.told("echo"))[-1]
        return seen


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with core_process(tmp_path / "core") as core, proxied(tmp_path) as way:
        way.link.over_socket(core)
        await way.link.reached()
        yield House(core, way)


def fields(seen: dict[str, Any]) -> dict[str, str]:
    """The header fields that Core saw, but those of the connection."""
    return {name: value for name, value in seen["headers"] if name not in {"Host", "Content-Length", "Connection"}}


# --- what goes on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("root", ["/core/api", "/homeassistant/api"])
async def test_request_goes_on_as_it_was_spelt(house: House, method: str, root: str) -> None:
    path = "states/light.k%C3%BCche%2C1?a=%2F..&plan=1&b"

    seen = await house.echo(method, f"{root}/{path}", body=b'{"state": "on"}')

    assert (seen["method"], seen["path"], seen["body"]) == (method, f"/api/{path}", '{"state": "on"}')


async def test_core_sees_of_the_fields_what_its_api_needs_and_nothing_of_who_asks(house: House) -> None:
    needed = {
        "content-type": "application/json; charset=utf-8",
        "ACCEPT": "text/plain",
        "Last-event-id": "7",
        "x-speech-CONTENT": "format=wav",
        "mcp-session-id": "m",
        "Mcp-Protocol-Version": "2",
    }
    others = {
        "Cookie": "ingress_session=secret",
        "X-Supervisor-Token": house.proxied.token,
        "X-Forwarded-For": "127.0.0.1",
        "X-Hass-User-ID": "x",
        "X-Hass-Is-Admin": "1",
        "X-Ingress-Path": "/x",
        "X-Remote-User-Id": "x",
        "Accept_": "x",
        "X_Speech_Content": "x",
        "Connection": "keep-alive, Content-Type",
        "Origin": "http://evil.example",
    }

    seen = await house.echo("POST", "/core/api/echo", body=b"{}", headers=needed | others)

    assert {name.lower(): value for name, value in fields(seen).items()} == {
        name.lower(): value for name, value in needed.items()
    }
    assert house.proxied.token not in str(seen)


async def test_answer_comes_with_status_type_and_content(house: House) -> None:
    running = await house.proxied.client.get("/core/api/")
    bare = await house.proxied.client.get("/core/api")
    missing = await house.proxied.client.request("GET", "/core/api/blob?bytes=x")

    assert [answer.text for answer in (running, bare)] == ['{"message": "API running."}'] * 2
    assert running.headers["Content-Type"].startswith("application/json")
    assert missing.status == 500
    assert "Set-Cookie" not in running.headers


def peak_bytes() -> int:
    """The most memory that this process has had since it was last looked at."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")  # begin anew: proc_pid_clear_refs(5)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize(
    "count",
    [64, pytest.param(2048, marks=[pytest.mark.torture, pytest.mark.timeout(600)])],
    ids=["64 MiB", "2 GiB"],
)
async def test_large_bodies_stream_both_ways_and_take_no_memory(house: House, count: int) -> None:
    piece = bytes(range(256)) * 4096

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    await house.proxied.client.get("/core/api/")
    await asyncio.to_thread(peak_bytes)
    before = await asyncio.to_thread(peak_bytes)
    seen = await house.echo("POST", "/core/api/upload", body=pieces())
    digest, size = hashlib.sha256(), 0
    async with house.proxied.client.streaming("GET", f"/core/api/blob?bytes={count * len(piece)}") as response:
        async for chunk in response.content.iter_any():
            digest.update(chunk)
            size += len(chunk)
    grown = await asyncio.to_thread(peak_bytes) - before

    assert seen["bytes"] == size == count * len(piece)
    assert seen["sha256"] == digest.hexdigest()  # of what came to Core, and of what Core sent
    assert grown < 32 * 1024 * 1024


@pytest.mark.parametrize("root", ["/core/api", "/homeassistant/api"])
async def test_events_come_at_once_and_end_with_the_client(house: House, root: str) -> None:
    async with asyncio.timeout(20), house.proxied.client.streaming("GET", f"{root}/stream") as response:
        first = await response.content.readuntil(b"\n\n")
        await house.core.fire("lamp_on", brightness=7)
        second = await response.content.readuntil(b"\n\n")
        kind, unbuffered = response.headers["Content-Type"], response.headers["X-Accel-Buffering"]

    await house.core.is_told("stream_ended", within_s=5)
    assert (first, kind, unbuffered) == (b"data: ping\n\n", "text/event-stream", "no")
    assert b"lamp_on" in second


async def test_core_of_before_the_socket_is_asked_with_our_access_token(tmp_path: Path) -> None:
    async with core_process(tmp_path / "core", version="2026.3.1") as core, proxied(tmp_path) as way:
        way.link.over_tcp(core)
        await way.link.reached()

        seen = await House(core, way).echo("GET", "/core/api/states")

    assert fields(seen)["Authorization"].startswith("Bearer ")
    assert way.token not in str(seen)


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["Authorization: Bearer {}", "Authorization: {}", "Authorization: Token {}", "X-Ha-Access: {}", "x-ha-access: {}",
     "X-Supervisor-Token: {}", "X-Hassio-Key: {}"],
)  # fmt: skip
async def test_token_may_come_in_any_of_the_headers(house: House, header: str) -> None:
    assert await status_of(house, header.format(house.proxied.token)) == 200


async def status_of(house: House, *lines: str, target: str = "/core/api/", method: str = "GET") -> int:
    """The status that somebody is answered who sends these headers alone."""
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    body = b"{}" if method == "POST" else b""
    system = house.proxied.link.system
    return (await send(system, target.encode("latin-1"), method=method, headers=headers, body=body)).status


async def test_who_may_not_talk_to_core_is_refused_and_core_hears_nothing(house: House) -> None:
    before = len(await house.core.told("request"))
    client = house.proxied.client
    statuses = [
        await status_of(house),
        await status_of(house, f"Authorization: Bearer {'f' * 112}"),
        await status_of(house, f"X-Ha-Access: {house.proxied.other}"),
        (await client.get("/core/api/states", token=house.proxied.other)).status,
        (await client.get("/core/api/states", headers={"X-Ha-Access": house.proxied.other})).status,
    ]

    assert statuses == [401, 403, 403, 403, 401]
    assert len(await house.core.told("request")) == before


CLOSED = (
    "hassio", "hassio/", "hassio/app/entrypoint.js", "hassio_auth", "hassio_auth/password_reset", "hassio_push/panel/x",
    "hassio_auth;x", "%68assio_auth", "hassi%6f_auth", "%2568assio_auth", "hassio%5Fauth", "hassio%2Fx",
)  # fmt: skip


@pytest.mark.parametrize("root", ["/core/api", "/homeassistant/api"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS"])
async def test_what_is_between_core_and_its_supervisor_is_closed(house: House, root: str, method: str) -> None:
    before = len(await house.core.told("request"))
    client = house.proxied.client
    statuses = [(await client.request(method, f"{root}/{path}", body=b"{}")).status for path in CLOSED]

    assert (set(statuses[:7]), set(statuses) <= {400, 403}) == ({403}, True)
    assert len(await house.core.told("request")) == before


ROUND = (
    "/core/api/../hassio_auth", "/core/api/./hassio_auth", "/core/api//hassio_auth", "/core/api/x/../hassio_auth",
    "/core/api/%2e%2e/api/hassio_auth", "/core/api/x%2F..%2Fhassio_auth", "/core/api/..;/hassio_auth",
    "/core/api/x\\..\\hassio_auth", "/core/api/%09hassio_auth", "/core/api/%00", "/core//api/hassio_auth",
    "/core/api/%c0%af", "/core/%61pi/states", "http://core/core/api/hassio_auth",
)  # fmt: skip


async def test_way_round_is_refused(house: House) -> None:
    before = len(await house.core.told("request"))
    mine = f"Authorization: {house.proxied.token}"
    statuses = [await status_of(house, mine, target=target, method="POST") for target in ROUND]

    assert set(statuses) <= {400, 403, 404}
    assert len(await house.core.told("request")) == before


async def test_other_methods_are_not_offered(house: House) -> None:
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "QUERY"):
        assert (await house.proxied.client.request(method, "/core/api/states")).status == 405


@pytest.mark.parametrize("path", ["/core/api/states", "/core/api", "/core/api/"])
async def test_websocket_opens_where_it_is_and_nowhere_else(house: House, path: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with aiohttp.ClientSession(headers={"Authorization": house.proxied.token}) as session:
            await session.ws_connect(house.proxied.url + path)

    assert refusal.value.status == 400


# --- when Core is not there -------------------------------------------------------------------------------------------


async def test_core_that_is_not_there_is_a_bad_gateway(house: House) -> None:
    client = house.proxied.client
    await house.core.kill()
    await house.proxied.link.is_told(CoreLost)

    answers = [await client.get("/core/api/states"), await client.get("/core/websocket")]

    assert [answer.status for answer in answers] == [502, 502]


async def test_core_that_does_not_answer_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_proxy, "WITHIN_S", 0.2)
    await house.core.become(hangs=True)

    answer = await house.proxied.client.get("/core/api/states")

    assert (answer.status, "within 0.2 s" in answer.text) == (502, True)


async def test_answer_that_has_begun_takes_what_time_it_takes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_proxy, "WITHIN_S", 0.3)
    async with asyncio.timeout(20), house.proxied.client.streaming("GET", "/core/api/stream") as response:
        await response.content.readuntil(b"\n\n")
        await asyncio.sleep(0.5)  # longer than it may take to begin
        await house.core.fire("lamp_on")
        assert b"lamp_on" in await response.content.readuntil(b"\n\n")


async def test_core_in_its_container_is_reached_before_and_after_a_restart() -> None:
    async with short_folder() as folder, core_engine(folder) as engine, running_core(folder, engine) as home:
        token = await token_for(home.system, HELLO)

        async def answers() -> bool:
            answer = await home.client.get("/core/api/", headers={"X-Ha-Access": token})
            return (answer.status, answer.text) == (200, '{"message": "API running."}')

        await until(answers, within_s=15, what="Core's API")
        assert (await home.call("restart")).status == 200
        await until(answers, within_s=15, what="Core's API after its restart")
