"""A system with a proxy in it, and the servers that it passes requests on to, each a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree import (
    PUBLIC,
    Begun,
    CallerKind,
    Ending,
    Exchange,
    Kernel,
    Plugin,
    Principal,
    Proxied,
    Routes,
    Service,
    Tail,
    session,
)
from rooftree.process.system import System
from rooftree.testing import running_system
from rooftree_proxying import Address, ForwardedRequest, Upstreams, begin_forward, end_to_end, forward
from tests.rig.backends import Backend, Line, backend, backend_process, websocket_port

__all__ = ["backend", "backend_process", "websocket_port"]

GUEST = CallerKind("guest")
routes = Routes()


class Targets:
    """Where the proxy passes requests on to, for whom, and what went the long way."""

    def __init__(self) -> None:
        self.upstreams = Upstreams()
        self.addresses: dict[str, Address] = {}
        self.sessions = {"open-sesame": Principal("guest", "ali")}
        self.served: list[str] = []
        self.began = 0

    def request(self, name: str, path: Tail, exchange: Exchange) -> ForwardedRequest:
        fields = end_to_end(exchange.fields)
        return ForwardedRequest(self.addresses[name], f"/{path}{exchange.query}", fields, on_answer=self.on_answer)

    def on_answer(self) -> None:
        self.began += 1


TARGETS = Service[Targets]("targets/1")


@routes.route("*", "/to/{name}/{path...}", access=PUBLIC)
def pass_on(targets: Targets, name: str, path: Tail) -> Proxied:
    async def serve(exchange: Exchange) -> None:
        await forward(exchange, targets.upstreams, targets.request(name, path, exchange))

    return Proxied(serve)


@routes.route("*", "/briefly/{name}/{path...}", access=session("guest_session", GUEST))
def pass_on_briefly(targets: Targets, name: str, path: Tail) -> Proxied:
    async def serve(exchange: Exchange) -> None:
        targets.served.append(path)
        await forward(exchange, targets.upstreams, targets.request(name, path, exchange))

    def begin(exchange: Exchange, ending: Ending) -> Begun | None:
        return begin_forward(exchange, ending, targets.upstreams, targets.request(name, path, exchange))

    return Proxied(serve, begin)


class Proxy(Plugin):
    name = "proxy"
    provides = (TARGETS,)

    async def setup(self, kernel: Kernel) -> None:
        targets = Targets()
        kernel.defer(targets.upstreams.close)
        kernel.provide(TARGETS, targets)
        kernel.register_sessions(GUEST, targets.sessions.get)

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Proxy]) as system:
        yield system


@pytest.fixture
def targets(system: System) -> Targets:
    return system.services.get(TARGETS)


@pytest.fixture
async def line(
    system: System,
    targets: Targets,
    backend: Backend,  # a fixture
) -> AsyncIterator[Line]:
    """A connection to the proxy, which knows the backend as ``log``."""
    targets.addresses["log"] = Address.tcp("127.0.0.1", backend.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port)
    yield Line(reader, writer)
    writer.close()
