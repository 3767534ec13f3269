"""What ``/network/info`` costs beside a ping while nothing changes, with a NetworkManager on the bus."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from beside_ping import beside_ping
from keepalive import ask, get
from rows import Bench, Row, Skipped
from servers import Installation

from tests.bus.private_bus import PrivateBus, services

PATH = "/network/info"
KNOWN = b'"host_internet":true,"supervisor_internet":true'
"""Stands in an answer that nothing changes any more."""
SETTLES_S = 20.0


def network_info(bench: Bench) -> Iterator[Row]:
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rt-")))
        runner = closing.enter_context(asyncio.Runner())
        bus = PrivateBus(folder)
        try:
            runner.run(bus.start())
        except FileNotFoundError:
            raise Skipped("dbus-daemon, of the package dbus") from None
        closing.callback(lambda: runner.run(bus.kill()))
        machine = services(bus.address, machine="tests.bus.network_machine")
        runner.run(machine.__aenter__())
        closing.callback(lambda: runner.run(machine.__aexit__(None, None, None)))
        daemon, token = closing.enter_context(Installation(folder, bus=bus.address).running())
        authorized = {"Authorization": f"Bearer {token}"}
        until = time.monotonic() + SETTLES_S
        while KNOWN not in ask(daemon.port, get(PATH, **authorized)).body:
            if time.monotonic() > until:
                raise TimeoutError(f"what NetworkManager says was not known within {SETTLES_S:g} s")
            time.sleep(0.05)
        yield beside_ping(bench, daemon.port, authorized, PATH)
