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

from beside_ping import beside_ping
from dbus_fast import Message
from dbus_fast.aio import MessageBus
from keepalive import HOST, TIMEOUT_S, ask_again, get
from rows import TIMES, Bench, Row, Skipped
from servers import Installation

from rooftree_host.facts import SOURCES
from tests.bus.private_bus import PrivateBus, services

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
        yield beside_ping(bench, daemon.port, authorized, "/host/info")
        yield _beside_bus(bench, daemon.port, authorized, runner, bus.address)


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
