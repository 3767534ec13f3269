"""The watchdog by address, against real servers: two misses in a row are a restart, and nobody waits for the others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import evolve

from rooftree import Kernel, Plugin
from rooftree.interfaces.containers import OWN_ADDRESS, AddonNetwork
from rooftree.testing import FakeClock
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import address_probe
from rooftree_containers.watchdog import Watchdog
from tests.plugins.addons.house import HELLO, House, done, house
from tests.rig.waiting import until

type Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture(autouse=True)
def at_home(engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add-ons on the host's network are reached at the gateway: here, on loopback."""
    ordinary = engine.network

    async def network() -> AddonNetwork:
        return evolve(await ordinary(), gateway="127.0.0.1")

    monkeypatch.setattr(engine, "network", network)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A web server on loopback; its port."""
    app = web.Application()
    app.router.add_route("GET", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def answering(status: int) -> Handler:
    """Answers with that status; at ``/moved`` it says where else to ask."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/")
        return web.Response(status=status)

    return handler


def watchdog(home: House) -> Watchdog:
    """The watchdog of a house."""
    return home.addons.containers.watchdog


async def watched(home: House, template: str, name: str = "hello", **config: Any) -> str:
    """Run an add-on that is watched at that address; the id of its container."""
    slug = await home.run(name, config={"host_network": True, "watchdog": template, **config})
    await home.set_options(slug, watchdog=True)
    return await container_id(home, slug)


async def container_id(home: House, slug: str = HELLO) -> str:
    """The id of an add-on's container."""
    container = await home.engine.container(f"app_{slug}")
    assert container is not None
    return container.id


async def restarted(home: House, before: str, slug: str = HELLO) -> None:
    """Wait until an add-on has another container."""

    async def another() -> bool:
        container = await home.engine.container(f"app_{slug}")
        return container is not None and container.id != before

    await until(another, within_s=10, what=f"restart of {slug}")


async def looked(home: House, times: int = 2) -> None:
    """Let the watchdog look."""
    for _ in range(times):
        await watchdog(home).ask()


@pytest.mark.parametrize("template", ["http://[HOST]:{}/", "tcp://[HOST]:{}", "http://[HOST]:{}/moved"])
async def test_add_on_that_answers_is_left_alone(home: House, template: str) -> None:
    async with serving(answering(204)) as port:
        before = await watched(home, template.format(port))

        await looked(home, times=3)

    assert not watchdog(home).restarting
    assert await container_id(home) == before


class OurAddress(Plugin):
    """Has one that is not the host's own."""

    name = "our_address"
    provides = (OWN_ADDRESS,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(OWN_ADDRESS, self)

    async def own_socket(self) -> socket.socket:
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        line.bind(("127.0.0.2", 0))
        return line


@pytest.mark.parametrize(("on_host", "expected"), [(False, "127.0.0.2"), (True, "127.0.0.1")])
@pytest.mark.parametrize("path", ["", "moved"])
async def test_add_on_is_asked_from_where_ingress_comes_unless_it_is_on_the_hosts_network(
    tmp_path: Path,
    engine: FakeContainerEngine,
    monkeypatch: pytest.MonkeyPatch,
    on_host: bool,
    expected: str,
    path: str,
) -> None:
    callers: list[str | None] = []

    async def notes(request: web.Request) -> web.Response:
        callers.append(request.remote)
        return await answering(204)(request)

    async with house(tmp_path, engine, plugins=[OurAddress]) as home, serving(notes) as port:
        monkeypatch.setattr(home.addons, "address", lambda _: "127.0.0.1")
        await watched(home, f"http://[HOST]:{port}/{path}", host_network=on_host)

        await looked(home, times=1)

    assert set(callers) == {expected}


async def test_port_is_asked_for_from_where_ingress_comes(
    tmp_path: Path, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, engine, plugins=[OurAddress]) as home:
        monkeypatch.setattr(home.addons, "address", lambda _: "127.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(10)
            await watched(home, f"tcp://[HOST]:{listening.getsockname()[1]}", host_network=False)

            await looked(home, times=1)

            accepted, caller = await asyncio.to_thread(listening.accept)
            accepted.close()

    assert caller[0] == "127.0.0.2"


@pytest.mark.parametrize("status", [400, 500])
async def test_second_miss_in_a_row_is_a_restart(home: House, status: int) -> None:
    async with serving(answering(status)) as port:
        before = await watched(home, f"http://[HOST]:{port}/")

        await looked(home, times=1)
        after_one = await container_id(home), watchdog(home).restarting
        await looked(home, times=1)
        await restarted(home, before)

    assert after_one == (before, frozenset())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_add_on_that_sends_us_to_another_host_is_well_and_nobody_is_asked_there(home: House, status: int) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=500)

    async with serving(elsewhere) as other:

        async def sends(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"http://localhost:{other}/secret"})

        async with serving(sends) as port:
            before = await watched(home, f"http://[HOST]:{port}/")

            await looked(home, times=3)

    assert asked == []
    assert not watchdog(home).restarting
    assert await container_id(home) == before


async def test_add_on_that_sends_us_round_is_not_well(home: House) -> None:
    count = 0

    async def sends(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(status=302, headers={"Location": "/again"})

    async with serving(sends) as port:
        before = await watched(home, f"http://[HOST]:{port}/")

        await looked(home)
        await restarted(home, before)

    assert count == 2 * (address_probe.MOST_REDIRECTIONS + 1)


async def test_miss_is_forgotten_when_the_next_answer_is_good(home: House) -> None:
    statuses = iter([500, 200, 500, 200])

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses))

    async with serving(handler) as port:
        before = await watched(home, f"http://[HOST]:{port}/")

        await looked(home, times=4)

    assert not watchdog(home).restarting
    assert await container_id(home) == before


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_port_that_nobody_listens_on_is_a_miss(home: House, scheme: str) -> None:
    async with serving(answering(200)) as port:
        pass
    before = await watched(home, f"{scheme}://[HOST]:{port}")

    await looked(home)

    await restarted(home, before)


async def test_one_that_hangs_holds_up_nobody(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_probe, "ANSWER_S", 0.2)
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with serving(hang) as hanging, serving(answering(500)) as broken, serving(answering(200)) as good:
        before = {
            name: await watched(home, f"http://[HOST]:{port}/", name)
            for name, port in {"a": hanging, "b": broken, "c": hanging, "d": good}.items()
        }

        await looked(home)
        for name in "abc":
            await restarted(home, before[name], f"local_{name}")
        released.set()

    assert await container_id(home, "local_d") == before["d"]


async def test_certificate_of_an_add_on_is_not_asked_for_its_name(home: House, tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(await asyncio.to_thread(self_signed, tmp_path / "elsewhere.pem"))
    async with serving(answering(200), tls) as port:
        config = {"options": {"ssl": True}, "schema": {"ssl": "bool"}, "ports": {"80/tcp": port}}
        before = await watched(home, "[PROTO:ssl]://[HOST]:[PORT:80]/", **config)

        await looked(home)

    assert not watchdog(home).restarting
    assert await container_id(home) == before


def self_signed(file: Path) -> Path:
    """A certificate that nobody vouches for, with its key."""
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=elsewhere.example -days 1"
    subprocess.run([*command.split(), "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


async def test_add_on_of_the_add_on_network_is_asked_at_its_own_address(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(answering(500)) as port:
        before = await watched(home, f"http://[HOST]:[PORT:{port}]/", host_network=None, ports={f"{port}/tcp": 9})
        monkeypatch.setattr(home.addons, "address", lambda slug: "127.0.0.1")

        await looked(home)

        await restarted(home, before)


@pytest.mark.parametrize("reason", ["switched off", "stopped", "no template"])
async def test_nobody_is_asked_who_is_not_to_be(home: House, reason: str) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=500)

    async with serving(note) as port:
        if reason == "no template":
            await home.run()
            await home.set_options(HELLO, watchdog=True)
        else:
            await watched(home, f"http://[HOST]:{port}/")
        if reason == "switched off":
            await home.set_options(HELLO, watchdog=False)
        elif reason == "stopped":
            done(await home.post(HELLO, "stop"))

        await looked(home)

    assert asked == []


async def test_watchdog_looks_every_two_minutes(tmp_path: Path, engine: FakeContainerEngine) -> None:
    clock = FakeClock()
    async with house(tmp_path, engine, clock=clock) as home, serving(answering(500)) as port:
        before = await watched(home, f"http://[HOST]:{port}/")

        await clock.advance(timedelta(seconds=239))
        early = await container_id(home)
        await clock.advance(timedelta(seconds=2))
        await restarted(home, before)

    assert early == before


async def test_port_that_cannot_be_is_a_miss_and_no_end_of_the_look(home: House) -> None:
    async with serving(answering(500)) as port:
        impossible = await watched(home, "tcp://[HOST]:99999", "impossible")
        before = await watched(home, f"http://[HOST]:{port}/")

        await watchdog(home).ask()
        await watchdog(home).ask()

        await restarted(home, before)
        await restarted(home, impossible, "local_impossible")
