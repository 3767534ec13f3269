"""``/kernel/v1/events``: what happens, as server-sent events and on a WebSocket, over a real listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from attrs import frozen

from rooftree import Event, Plugin, Principal, Problem, Role
from rooftree.http import connection
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.testing import Client, InstalledPlugin, running_system, token_for
from rooftree_supervisor import event_feed, event_stream
from rooftree_supervisor.event_stream import EVENTS as STREAM
from rooftree_supervisor.plugin import SupervisorPlugin

EVENTS = "/kernel/v1/events"
DEADLINE_S = 20


@frozen
class Rang(Event):
    """The bell rang."""

    times: int


@frozen
class Filled(Event):
    """Something long."""

    text: str


class Feed:
    """A client of the events; each event is a dictionary, a comment ``None``."""

    async def next(self) -> dict[str, Any] | None:
        raise NotImplementedError

    async def take(self, count: int) -> list[dict[str, Any]]:
        """So many events, without comments."""
        taken: list[dict[str, Any]] = []
        while len(taken) < count:
            event = await self.next()
            if event is not None:
                taken.append(event)
        return taken


class Lines(Feed):
    """Server-sent events, read as the specification says; ``place`` is what a browser would resume at."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.place = ""

    async def next(self) -> dict[str, Any] | None:
        fields: dict[str, str] = {}
        while (line := (await self.response.content.readuntil(b"\n")).decode().rstrip("\n")) != "":
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        if "data" not in fields:
            assert fields == {"": "still here"}
            return None
        event: dict[str, Any] = orjson.loads(fields["data"])
        assert fields["event"] == event["type"]
        assert fields["id"] == f"{event['boot']}-{event['sequence']}"
        self.place = fields["id"]
        return event


class Messages(Feed):
    """A WebSocket."""

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        self.opened = opened
        self._left: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any] | None:
        while not self._left:
            self._left += orjson.loads(await self.opened.receive_str())
        return self._left.pop(0)


@asynccontextmanager
async def lines(system: System, query: str = "", headers: Mapping[str, str] | None = None) -> AsyncIterator[Feed]:
    """Follow as server-sent events."""
    async with (
        asyncio.timeout(DEADLINE_S),
        Client.over_unix(system) as client,
        client.streaming("GET", EVENTS + query, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        yield Lines(response)


@asynccontextmanager
async def messages(system: System, query: str = "", headers: Mapping[str, str] | None = None) -> AsyncIterator[Feed]:
    """Follow on a WebSocket."""
    connector = aiohttp.UnixConnector(path=str(system.settings.kernel.socket))
    async with (
        asyncio.timeout(DEADLINE_S),
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"http://rooftree{EVENTS}{query}", headers=headers) as opened,
    ):
        yield Messages(opened)


type Follow = Callable[..., Any]
on_both = pytest.mark.parametrize("follow", [lines, messages])


def types_of(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def until_readers(system: System, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while system.services.get(STREAM).readers != count:
            await asyncio.sleep(0.005)


# --- both transports --------------------------------------------------------------------------------------------------


@on_both
async def test_what_happens_is_told_as_it_happens(system: System, follow: Follow) -> None:
    async with follow(system) as feed:
        (hello,) = await feed.take(1)
        system.bus.publish(Rang(1))
        (rang,) = await feed.take(1)
        system.problems.report(Problem("free_space", message="The disk is nearly full"))
        (reported,) = await feed.take(1)

    assert (hello["type"], hello["boot"], hello["data"]) == ("hello", system.services.get(STREAM).boot, None)
    assert (rang["type"], rang["data"], rang["sequence"]) == ("rang", {"times": 1}, hello["sequence"] + 1)
    assert rang["time"].endswith("+00:00")
    assert (reported["type"], reported["data"]["problem"]["type"]) == ("problem_reported", "free_space")


@on_both
async def test_only_the_types_that_were_asked_for_come(system: System, follow: Follow) -> None:
    async with follow(system, "?types=rang,problem_reported") as feed:
        await feed.take(1)
        for event in (Filled("x"), Rang(1), Filled("x"), Rang(2)):
            system.bus.publish(event)

        assert [event["data"]["times"] for event in await feed.take(2)] == [1, 2]


@on_both
@pytest.mark.parametrize("asked", ["?types=rangg", "?types=rang,rangg,rang"])
async def test_type_that_no_event_has_is_refused_with_those_there_are(
    system: System, client: Client, follow: Follow, asked: str
) -> None:
    headers = {} if follow is lines else {"Upgrade": "websocket", "Connection": "Upgrade"}

    answer = await client.get(EVENTS + asked, headers=headers)

    assert answer.status == 400
    assert answer.text.startswith("types: there is no event rangg; the plugins that are loaded have ")
    assert {"job_changed,", "problem_reported,", "rang,"} <= set(answer.text.split())
    assert system.services.get(STREAM).readers == 0


@on_both
async def test_client_resumes_where_it_was(system: System, follow: Follow) -> None:
    async with follow(system) as feed:
        await feed.take(1)
        system.bus.publish(Rang(1))
        (seen,) = await feed.take(1)
    for times in range(2, 302):
        system.bus.publish(Rang(times))

    async with follow(system, f"?since={seen['boot']}-{seen['sequence']}") as feed:
        hello, *missed = await feed.take(301)

    assert hello["sequence"] == seen["sequence"]
    assert [event["data"]["times"] for event in missed] == list(range(2, 302))


@on_both
async def test_client_that_was_away_too_long_is_told_that_it_lost_something(
    system: System, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEPT", 10)
    place = str(system.services.get(STREAM).now)
    for times in range(11):
        system.bus.publish(Rang(times))

    async with follow(system, f"?types=rang&since={place}") as feed:
        hello, lost = await feed.take(2)
        system.bus.publish(Rang(99))
        (next_one,) = await feed.take(1)

    assert types_of([hello, lost]) == ["hello", "events_lost"]
    assert "is not kept any more" in lost["data"]["reason"]
    assert next_one["data"] == {"times": 99}


@on_both
async def test_place_of_before_a_restart_is_told_to_be_lost(tmp_path: Path, logs: RecentLogs, follow: Follow) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin], logs=logs) as system:
        system.bus.publish(Rang(1))
        place = str(system.services.get(STREAM).now)
        boot = system.services.get(STREAM).boot

    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin], logs=logs) as system,
        follow(system, f"?since={place}") as feed,
    ):
        hello, lost = await feed.take(2)

    assert hello["boot"] != boot
    assert lost["type"] == "events_lost"


@pytest.mark.parametrize("place", ["17", "0a1b2c3d-", "0A1B2C3D-5", "x"])
async def test_place_that_is_none_is_refused_naming_where_it_was_given(client: Client, place: str) -> None:
    asked = await client.get(f"{EVENTS}?since={place}")
    sent = await client.get(EVENTS, headers={"Last-Event-ID": place})

    said = f"must be a boot and a sequence number such as 0a1b2c3d-17, not '{place}'"
    assert (asked.status, asked.text) == (400, f"since: {said}")
    assert (sent.status, sent.text) == (400, f"Last-Event-ID: {said}")


async def test_browser_that_reconnects_goes_on_from_what_it_saw_last(system: System) -> None:
    first = str(system.services.get(STREAM).now)
    for times in range(5):
        system.bus.publish(Rang(times))
    async with lines(system, f"?since={first}") as feed:
        await feed.take(4)
        assert isinstance(feed, Lines)
        seen = feed.place

    async with lines(system, f"?since={first}", {"Last-Event-ID": seen}) as feed:  # it sends both
        _, *missed = await feed.take(3)

    assert [event["data"]["times"] for event in missed] == [3, 4]


async def test_silence_is_broken_by_a_comment(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "KEEP_ALIVE_S", 0.02)
    async with lines(system) as feed:
        assert await feed.next() is not None
        assert [await feed.next() for _ in range(3)] == [None] * 3
        system.bus.publish(Rang(1))
        assert (await feed.take(1))[0]["data"] == {"times": 1}


@pytest.mark.parametrize(("who", "status"), [(Role.MANAGER, 200), (Role.BACKUP, 403), (None, 401)])
async def test_events_are_for_managers(system: System, who: Role | None, status: int) -> None:
    token = await token_for(system, Principal("token", "program", who)) if who else None

    async with Client.over_tcp(system, token) as program, program.streaming("GET", EVENTS) as response:
        assert response.status == status


async def test_head_ends_at_once_and_leaves_no_reader(system: System, client: Client) -> None:
    answer = await client.request("HEAD", EVENTS)

    assert (answer.status, answer.body) == (200, b"")
    await until_readers(system, 0)


@on_both
async def test_one_client_too_many_is_refused(
    system: System, client: Client, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "READERS", 1)
    headers = {} if follow is lines else {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with follow(system) as feed:
        await feed.take(1)

        answer = await client.get(EVENTS, headers=headers)

        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "1 clients follow the events already" in answer.text


# --- clients that are slow, and clients that go -----------------------------------------------------------------------


@on_both
async def test_client_that_goes_frees_everything(system: System, client: Client, follow: Follow) -> None:
    await client.get("/supervisor/ping")
    before = len(asyncio.all_tasks())
    for _ in range(20):
        async with follow(system) as feed:
            await feed.take(1)
            await until_readers(system, 1)
            assert len(asyncio.all_tasks()) > before
        system.bus.publish(Rang(1))
        await until_readers(system, 0)

    async with asyncio.timeout(DEADLINE_S):
        while len(asyncio.all_tasks()) != before:
            await asyncio.sleep(0.005)


async def fall_behind(system: System, reader: socket.socket) -> None:
    """Publish until the reader's buffers are full and the record has moved past its place."""
    await until_readers(system, 1)
    while system.services.get(STREAM)._first < 3000:  # many times what is kept
        for _ in range(20):
            system.bus.publish(Filled("x" * 10_000))
        await asyncio.sleep(0.01)


def raw_client(system: System, headers: str = "") -> socket.socket:
    """A client with little room, which reads only when it is told to."""
    opened = socket.socket(socket.AF_UNIX)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(str(system.settings.kernel.socket))
    opened.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    opened.setblocking(False)
    return opened


async def read_to_the_end(opened: socket.socket) -> bytes:
    """All that still comes."""
    loop = asyncio.get_running_loop()
    pieces = []
    async with asyncio.timeout(DEADLINE_S):
        while piece := await loop.sock_recv(opened, 1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize("headers", ["Connection: close\r\n", UPGRADE], ids=["lines", "messages"])
async def test_slow_reader_is_told_why_it_is_dropped_and_little_is_kept_for_it(
    system: System, client: Client, headers: str
) -> None:
    reader = raw_client(system, headers)
    try:
        await fall_behind(system, reader)
        assert system.services.get(STREAM).readers == 1
        assert waiting_bytes(system) < 300_000

        rest = await read_to_the_end(reader)
    finally:
        reader.close()

    assert b"this reader was too slow; ask anew for all that you show" in rest
    assert (system.services.get(STREAM).dropped, system.services.get(STREAM).readers) == (1, 0)
    if headers is UPGRADE:
        assert rest[-12:] == b"\x88\x0a" + (1013).to_bytes(2) + b"too slow"
    assert (await client.get("/supervisor/ping")).status == 200


def waiting_bytes(system: System) -> int:
    """What waits in our process to be sent, over all connections."""
    runner = system.server._runner
    assert runner is not None and runner.server is not None
    transports = [one.transport for one in runner.server.connections]
    return sum(one.get_write_buffer_size() for one in transports if isinstance(one, asyncio.WriteTransport))


async def test_socket_whose_client_takes_nothing_is_dropped_and_told_why(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_feed, "WRITE_S", 0.1)
    monkeypatch.setattr(event_feed, "GOODBYE_S", 0.1)
    reader = raw_client(system, UPGRADE)
    try:
        await until_readers(system, 1)
        for _ in range(200):
            system.bus.publish(Filled("x" * 10_000))
        await until_readers(system, 0)
    finally:
        reader.close()

    assert system.services.get(STREAM).dropped == 1


async def test_stream_whose_client_takes_nothing_is_let_go(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FLOW_S", 0.3)
    monkeypatch.setattr(connection, "LOOK_S", 0.02)
    reader = raw_client(system)
    try:
        await until_readers(system, 1)
        for _ in range(200):
            system.bus.publish(Filled("x" * 10_000))
        await until_readers(system, 0)
    finally:
        reader.close()


# --- secrets, and the end ---------------------------------------------------------------------------------------------


@on_both
async def test_no_secret_is_told(system: System, client: Client, follow: Follow) -> None:
    async with follow(system, f"?since={system.services.get(STREAM).boot}-0") as feed:
        await feed.take(1)
        made = (await client.post("/kernel/v1/tokens", json={"name": "grafana", "role": "manager"})).data
        async with Client.over_tcp(system, made["token"]) as program:
            assert (await program.get("/kernel/v1/plugins")).status == 200
            await program.get("/supervisor/ping", token="not-a-token")
        await client.post("/supervisor/options", json={"addons_repositories": ["https://me:hunter2@example.org/x"]})
        await client.delete(f"/kernel/v1/tokens/{made['id']}")
        system.bus.publish(Rang(1))
        await system.bus.drained()

        told = b"".join(one.body for one in system.services.get(STREAM)._record)

    assert b"rang" in told
    for secret in (made["token"], "hunter2", (system.data.path / "admin-token").read_text().strip()):
        assert secret.encode() not in told


@on_both
async def test_stop_ends_the_streams_at_once(tmp_path: Path, logs: RecentLogs, follow: Follow) -> None:
    async with running_system(tmp_path, plugins=[SupervisorPlugin], logs=logs) as system:
        async with follow(system) as feed:
            await feed.take(1)
            stream = system.services.get(STREAM)
            stopping = asyncio.create_task(system.stop())
            if isinstance(feed, Messages):
                goodbye = await feed.opened.receive()
                assert (goodbye.type, goodbye.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
            else:
                assert isinstance(feed, Lines)
                with pytest.raises(aiohttp.ClientPayloadError):
                    await feed.response.read()
            async with asyncio.timeout(3):
                await stopping

        assert stream.readers == 0


async def test_socket_whose_client_does_not_say_goodbye_does_not_hold_up_the_stop(system: System) -> None:
    reader = raw_client(system, UPGRADE)
    try:
        await until_readers(system, 1)
        async with asyncio.timeout(5):  # half of what calls may take
            await system.plugins.disable("supervisor")
    finally:
        reader.close()


async def test_streams_end_when_the_plugin_that_serves_them_is_restarted_or_disabled(
    system: System, client: Client
) -> None:
    for change in (system.plugins.restart, system.plugins.disable):
        async with lines(system) as feed, messages(system) as other:
            await feed.take(1)
            await other.take(1)
            assert isinstance(feed, Lines) and isinstance(other, Messages)
            stream = system.services.get(STREAM)
            changing = asyncio.create_task(change("supervisor"))

            with pytest.raises(aiohttp.ClientPayloadError):
                await feed.response.read()
            assert (await other.opened.receive()).data == aiohttp.WSCloseCode.GOING_AWAY
            await changing
            assert stream.readers == 0

    assert (await client.get(EVENTS)).status == 503


async def test_events_of_plugins_that_are_switched_off_and_on_are_told(tmp_path: Path, logs: RecentLogs) -> None:
    class Bell(Plugin):
        name = "bell"

    bell = InstalledPlugin("bell", lambda: Bell)
    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin, bell], logs=logs) as system,
        lines(system, "?types=plugin_health_changed") as feed,
        Client.over_unix(system) as client,
    ):
        await feed.take(1)
        await client.post("/kernel/v1/plugins/bell/disable")
        await client.post("/kernel/v1/plugins/bell/enable")

        told = [(event["data"]["name"], event["data"]["health"]) for event in await feed.take(4)]

    assert told == [("bell", "stopped"), ("bell", "disabled"), ("bell", "starting"), ("bell", "ok")]
