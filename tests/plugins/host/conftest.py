"""A journal and its gateway, a bus and its client, as the tests of this domain use them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rooftree_host import system_bus
from rooftree_host.system_bus import HostBus
from tests.bus.private_bus import PrivateBus, Services, services
from tests.plugins.host.bus_client import Told
from tests.plugins.host.journal import GatewayProcess, gateway


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A short path: that of a socket has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="rooftree-") as folder:
        yield Path(folder)


@pytest.fixture
def served(tmp_path: Path, socket_folder: Path) -> Iterator[GatewayProcess]:
    """The gateway to the journal in ``tmp_path / "journal"``, which is empty."""
    folder = tmp_path / "journal"
    folder.mkdir(exist_ok=True)
    with gateway(folder, socket_folder) as process:
        yield process


@pytest.fixture
async def bus(socket_folder: Path) -> AsyncIterator[PrivateBus]:
    """A bus of the test's own."""
    bus = PrivateBus(socket_folder)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.kill()


@pytest.fixture
async def machine(bus: PrivateBus) -> AsyncIterator[Services]:
    """The services on it."""
    async with services(bus.address) as running:
        yield running


@pytest.fixture
def told() -> Told:
    """What the client publishes."""
    return Told()


@pytest.fixture
async def client(socket_folder: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HostBus]:
    """A client that keeps connected."""
    monkeypatch.setattr(system_bus, "RETRY_S", 0.05)
    client = HostBus(f"unix:path={socket_folder / 'bus'}", told)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        await client.close()
