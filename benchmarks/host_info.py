"""What ``/host/info`` costs: beside a ping while nothing changes, and beside the calls to the bus when all is asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from dbus_fast import Message
from dbus_fast.aio import MessageBus
from keepalive import HOST, TIMEOUT_S, Clients, ask, ask_again, get
from rows import TIMES, Bench, Row, Skipped
from servers import Installation

from rooftree_host.facts import SOURCES
from tests.bus.private_bus import PrivateBus, services

CONNECTIONS = 8
TURN_S = 0.1
ASKED_EACH_ROUND = 100


def host_info(bench: Bench) -> Iterator[Row]:
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rt-")))
        runner = closing.enter_context(asyncio.Runner())
        bus = PrivateBus(folder)
        try:
            runner.run(bus.start())
        except FileNotFoundError:
            raise Skipped("dbus-daemon, of the package dbus") from None
        closing.callback(lambda: runner.run(bus.kill()))
        machine = services(bus.address)
        runner.run(machine.__aenter__())
        closing.callback(lambda: runner.run(machine.__aexit__(None, None, None)))
        installation = Installation(folder, bus=bus.address)
        daemon, token = closing.enter_context(installation.running())
        authorized = {"Authorization": f"Bearer {token}"}
        yield _beside_ping(bench, daemon.port, authorized)
        yield _beside_bus(bench, daemon.port, authorized, runner, bus.address)


def _beside_ping(bench: Bench, port: int, authorized: dict[str, str]) -> Row:
    rounds = []
    with contextlib.ExitStack() as closing:
        clients = {}
        for path in ("/host/info", "/supervisor/ping"):
            request = get(path, **authorized)
            clients[path] = Clients(port, request, ask(port, request), CONNECTIONS)
            closing.callback(clients[path].close)
        for counts in bench.rounds():
            turns: dict[str, list[float]] = {path: [] for path in clients}
            until = time.perf_counter() + bench.pace.seconds
            while time.perf_counter() < until:
                for path, client in clients.items():
                    part = client.load(TURN_S)
                    turns[path].append(len(part.latencies_s) / part.seconds)
            if counts:
                rounds.append({path: median(each) for path, each in turns.items()})
    ratios = [each["/host/info"] / each["/supervisor/ping"] for each in rounds]
    ours, theirs = (median(each[path] for each in rounds) for path in ("/host/info", "/supervisor/ping"))
    against = f"GET /supervisor/ping of the same daemon: {ours / 1000:.1f} k of {theirs / 1000:.1f} k/s"
    return Row("GET /host/info, nothing changed", ratios, TIMES, 0.6, True, against, None)


def _beside_bus(bench: Bench, port: int, authorized: dict[str, str], runner: asyncio.Runner, address: str) -> Row:
    info = get("/host/info", **authorized)
    reload = get("/host/reload", **authorized).replace(b"GET", b"POST", 1)
    bus = runner.run(_connected(address))
    ratios, times = [], []
    with contextlib.ExitStack() as closing:
        closing.callback(bus.disconnect)
        daemon = closing.enter_context(socket.create_connection((HOST, port), TIMEOUT_S))
        for counts in bench.rounds():
            ours, direct = [], []
            for _ in range(ASKED_EACH_ROUND):
                ask_again(daemon, reload)
                began = time.perf_counter()
                ask_again(daemon, info)
                ours.append(time.perf_counter() - began)
                direct.append(runner.run(_directly(bus)))
            if counts:
                times.append((median(ours), median(direct)))
                ratios.append(times[-1][0] / times[-1][1])
    ours_ms, direct_ms = (median(each) * 1000 for each in zip(*times, strict=True))
    against = f"the calls to the bus, side by side: {ours_ms:.1f} against {direct_ms:.1f} ms"
    return Row("GET /host/info, all asked anew", ratios, TIMES, 2.0, False, against, None)


async def _connected(address: str) -> MessageBus:
    return await MessageBus(bus_address=address).connect()


async def _directly(bus: MessageBus) -> float:
    """Seconds that the same questions take without us."""
    messages = [
        Message(
            destination=at.service,
            path=at.path,
            interface="org.freedesktop.DBus.Properties",
            member="GetAll",
            signature="s",
            body=[at.interface],
        )
        for _, at in SOURCES
    ]
    began = time.perf_counter()
    await asyncio.gather(*(bus.call(message) for message in messages))
    return time.perf_counter() - began
