"""A client that follows our log and takes nothing in: it is dropped, and costs little until then."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from datetime import UTC, datetime

import pytest

from rooftree import Principal, Role
from rooftree.http import connection
from rooftree.process import RecentLogs
from rooftree.process.system import System
from rooftree.testing import token_for

LINE = "x" * 8000
BURST = 50
"""Lines between two looks: less than the log keeps, so that a reader who keeps up would miss none."""
ENOUGH = 4000
"""Lines that would be noticed if they were kept for the reader: 32 MB."""
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is too slow is let go within a second."""
    monkeypatch.setattr(connection, "FLOW_S", 0.3)
    monkeypatch.setattr(connection, "LOOK_S", 0.05)


async def test_reader_of_a_followed_log_that_takes_nothing_in_is_dropped_and_costs_little(
    system: System, logs: RecentLogs
) -> None:
    token = await token_for(system, Principal("token", "reader", Role.MANAGER))
    runner = system.server._runner
    assert runner is not None and runner.server is not None
    for _ in range(1000):
        logs.append(datetime.now(UTC), LINE)  # what is kept anyway is kept before it is measured
    reader = socket.socket()
    tracemalloc.start()
    try:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", system.port))
        reader.sendall(f"GET /supervisor/logs/follow HTTP/1.1\r\nHost: x\r\nX-Hassio-Key: {token}\r\n\r\n".encode())
        lines = 0
        async with asyncio.timeout(30):
            while not runner.server.connections:
                await asyncio.sleep(0.01)
            while runner.server.connections or lines < ENOUGH:
                for _ in range(BURST):
                    logs.append(datetime.now(UTC), LINE)
                lines += BURST
                await asyncio.sleep(0.01)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        reader.close()

    assert peak_bytes < 8 * MIB
