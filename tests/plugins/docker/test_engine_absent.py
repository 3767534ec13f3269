"""Without an engine, or with one that hangs, every call says so in time and nothing stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import orjson
import pytest
from aiohttp import web

from rooftree.context import looking
from rooftree.errors import Invalid
from rooftree.events.bus import Event
from rooftree.interfaces.containers import (
    ContainerEngine,
    ContainerSpec,
    DataPath,
    EngineConnected,
    EngineLost,
    EngineUnavailable,
    StdinBusy,
    StdinNotRead,
)
from rooftree_docker.engine import DockerEngine
from rooftree_docker.engine_client import Deadlines, EngineClient, spoken_version
from rooftree_docker.events import EventWatch
from rooftree_docker.specification import INSTANCE_LABEL, NAME_LABEL, Naming

QUICK = Deadlines(answer=0.2, change=0.2, stall=0.2, heartbeat=0.1, first_retry=0.02, last_retry=0.05)


@asynccontextmanager
async def engine_at(path: Path, data_dir: Path, publish: Callable[[Event], None]) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(f"unix://{path}", data_dir=data_dir, instance_id="test", publish=publish, deadlines=QUICK)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def silent_server(path: Path) -> AsyncIterator[None]:
    """Accepts everything and answers nothing, as a stopped process does."""
    asked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_unix_server(handle, path)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def exhausted[T](messages: AsyncIterator[T]) -> None:
    async for _ in messages:
        pass


CALLS: dict[str, Callable[[ContainerEngine], Awaitable[object]]] = {
    "info": lambda engine: engine.info(),
    "network": lambda engine: engine.network(),
    "pull": lambda engine: exhausted(engine.pull("hello:1")),
    "build": lambda engine: exhausted(
        engine.build("hello:1", DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={})
    ),
    "image": lambda engine: engine.image("hello:1"),
    "remove_image": lambda engine: engine.remove_image("hello:1"),
    "containers": lambda engine: engine.containers(),
    "container": lambda engine: engine.container("app_x"),
    "create": lambda engine: engine.create(ContainerSpec(name="app_x", image="hello:1")),
    "start": lambda engine: engine.start("app_x"),
    "stop": lambda engine: engine.stop("app_x", 1),
    "remove": lambda engine: engine.remove("app_x"),
    "execute": lambda engine: engine.execute("app_x", ["true"]),
    "write_stdin": lambda engine: engine.write_stdin("app_x", b"x"),
    "logs": lambda engine: exhausted(engine.logs("app_x")),
    "stats": lambda engine: engine.stats("app_x"),
}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data" / "app").mkdir(parents=True)
    (tmp_path / "data" / "app" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path / "data"


@pytest.mark.parametrize("name", CALLS)
async def test_call_without_an_engine_says_how_to_get_one(name: str, tmp_path: Path, data_dir: Path) -> None:
    async with engine_at(tmp_path / "docker.sock", data_dir, lambda _: None) as engine:
        with pytest.raises(EngineUnavailable, match=r"cannot be reached to .* Start it"):
            await CALLS[name](engine)

        assert engine.available is False


@pytest.mark.parametrize("name", CALLS)
async def test_call_to_a_hanging_engine_ends_and_names_itself(name: str, tmp_path: Path, data_dir: Path) -> None:
    socket = tmp_path / "docker.sock"
    async with silent_server(socket), engine_at(socket, data_dir, lambda _: None) as engine:
        begun = monotonic()

        with pytest.raises(EngineUnavailable, match=r"did not answer in time .* when asked to "):
            await CALLS[name](engine)

        assert monotonic() - begun < 5


async def test_loss_is_told_once_however_often_it_is_tried(tmp_path: Path, data_dir: Path) -> None:
    events: list[Event] = []
    attempts = asyncio.Semaphore(0)

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        attempts.release()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "docker.sock")
    async with server, engine_at(tmp_path / "docker.sock", data_dir, events.append) as engine:
        watching = asyncio.create_task(engine.watch())
        async with asyncio.timeout(5):
            for _ in range(6):
                await attempts.acquire()
        watching.cancel()
        await asyncio.wait([watching])

    (lost,) = events
    assert isinstance(lost, EngineLost)
    assert "cannot be reached" in lost.reason


async def test_socket_that_may_not_be_opened_is_told_apart(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "docker.sock").write_text("not a socket")
    async with engine_at(tmp_path / "docker.sock", data_dir, lambda _: None) as engine:
        with pytest.raises(EngineUnavailable, match="Connection refused"):
            await engine.info()


def test_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not the address of a container engine"):
        DockerEngine("ftp://host", data_dir=tmp_path, instance_id="test", publish=lambda _: None)


async def test_closed_engine_refuses_calls_instead_of_opening_a_new_line(tmp_path: Path, data_dir: Path) -> None:
    async with engine_at(tmp_path / "docker.sock", data_dir, lambda _: None) as engine:
        await engine.close()

        with pytest.raises(EngineUnavailable, match="is closed"):
            await engine.info()


@pytest.mark.parametrize(
    ("oldest", "newest", "spoken"),
    [("1.12", "1.41", "v1.41"), ("1.24", "1.50", "v1.44"), ("1.44", "1.52", "v1.44"), ("1.48", "1.60", "v1.48")],
)
def test_version_of_the_api_is_one_that_both_know(oldest: str, newest: str, spoken: str) -> None:
    assert spoken_version({"ApiVersion": newest, "MinAPIVersion": oldest}) == spoken


def test_engine_that_is_too_old_is_refused_with_the_version_needed() -> None:
    with pytest.raises(EngineUnavailable, match=r"needs 1\.41"):
        spoken_version({"ApiVersion": "1.40", "Version": "19.03"})


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def engine_that_does_not_read(path: Path) -> AsyncIterator[None]:
    """Has one container, and takes nothing of what is sent to its standard input."""
    described = orjson.dumps(
        {
            "Id": "c0ffee",
            "Name": "/app_x",
            "Config": {"OpenStdin": True, "Labels": {INSTANCE_LABEL: "test", NAME_LABEL: "app_x"}},
            "State": {"Running": True},
        }
    )
    bodies = {b"/version": b'{"ApiVersion":"1.41","Version":"20.10"}', b"/json": described}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].partition(b"?")[0]
                if line.endswith(b"/attach"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.sleep(60)
                body = next(body for end, body in bodies.items() if line.endswith(end))
                writer.write(HEAD % len(body) + body)
        writer.close()

    server = await asyncio.start_unix_server(handle, path)
    handlers_before = asyncio.all_tasks()
    try:
        yield
    finally:
        for task in asyncio.all_tasks() - handlers_before:
            task.cancel()
        server.close()
        await server.wait_closed()


def open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            count += file.readlink().name.startswith("socket:")
    return count


async def test_what_a_container_does_not_read_goes_with_its_connection(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    async with engine_that_does_not_read(path), engine_at(path, tmp_path, lambda event: None) as engine:
        with pytest.raises(StdinNotRead, match="4194304 bytes"):
            await engine.write_stdin("app_x", bytes(4 * 1024 * 1024))
        before = open_sockets()
        for _ in range(3):
            with pytest.raises(StdinNotRead):
                await engine.write_stdin("app_x", bytes(4 * 1024 * 1024))
        await asyncio.sleep(0.05)

        assert open_sockets() <= before + 3  # the server's ends, which it keeps; ours are gone


async def test_one_call_at_a_time_writes_to_a_container_and_few_wait(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    async with engine_that_does_not_read(path), engine_at(path, tmp_path, lambda event: None) as engine:
        calls = (engine.write_stdin("app_x", bytes(1024 * 1024)) for _ in range(15))
        errors = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(error) for error in errors} == {StdinNotRead, StdinBusy}
    assert sum(type(error) is StdinNotRead for error in errors) <= 3


async def test_who_only_looks_does_not_wait_for_an_engine_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    patient = Deadlines(answer=30, glance=0.1)
    async with silent_server(path):
        engine = DockerEngine(
            f"unix://{path}", data_dir=tmp_path, instance_id="x", publish=lambda _: None, deadlines=patient
        )
        looking.set(True)
        for within_s in (1.0, 0.3):  # the second one knows already
            began = monotonic()
            with pytest.raises(EngineUnavailable, match="gives no sign of life"):
                await engine.stats("app_x")
            assert monotonic() - began < within_s
        await engine.close()


@asynccontextmanager
async def engine_of_version(path: Path, version: str, asked: list[str]) -> AsyncIterator[None]:
    """Tells its version, and notes that it was asked."""

    async def tell(_: web.Request) -> web.Response:
        asked.append(version)
        return web.json_response({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": version})

    app = web.Application()
    app.router.add_get("/version", tell)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_engine_is_asked_for_its_version_once_and_again_when_another_comes(tmp_path: Path) -> None:
    path, asked = tmp_path / "engine.sock", list[str]()
    client = EngineClient(str(path), QUICK)
    try:
        async with engine_of_version(path, "20.10", asked):
            told = [(await client.version("tell its version"))["Version"] for _ in range(3)]
        with pytest.raises(EngineUnavailable):
            await client.ping()
        with pytest.raises(EngineUnavailable):
            await client.version("tell its version")
        async with engine_of_version(path, "27.0", asked):
            told.append((await client.version("tell its version"))["Version"])
    finally:
        await client.close()

    assert told == ["20.10", "20.10", "20.10", "27.0"]
    assert asked == ["20.10", "27.0"]


async def test_engine_that_goes_and_comes_without_refusing_anybody_is_asked_for_its_version_again(
    tmp_path: Path,
) -> None:
    path, version, connected = tmp_path / "engine.sock", ["20.10"], asyncio.Semaphore(0)
    goes = asyncio.Event()

    async def tell(_: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": version[-1]})

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await goes.wait()
        return response  # its end, as an orderly stop of the engine ends it

    app = web.Application()
    app.router.add_get("/version", tell)
    app.router.add_get("/v1.41/events", events)
    app.router.add_get("/_ping", tell)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    client = EngineClient(str(path), QUICK)

    def note(event: Event) -> None:
        if isinstance(event, EngineConnected):
            connected.release()

    watch = asyncio.create_task(EventWatch(client, Naming("test"), note).run())
    try:
        async with asyncio.timeout(10):
            await connected.acquire()
            before = (await client.version("tell its version"))["Version"]
            version.append("27.0")
            goes.set()
            await connected.acquire()
        after = (await client.version("tell its version"))["Version"]
    finally:
        watch.cancel()
        await asyncio.wait([watch])
        await client.close()
        await runner.cleanup()

    assert (before, after) == ("20.10", "27.0")
