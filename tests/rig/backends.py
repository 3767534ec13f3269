"""Servers as add-ons are, each a process of its own, and a client that sends what it likes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.rig.service_process import ServiceProcess, free_port
from tests.rig.waiting import until

RIG = Path(__file__).parent
DEADLINE_S = 10.0


class Line:
    """A client's connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """The head of the next answer."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def take(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All until the server hangs up."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read(-1)


@frozen
class Backend:
    """A server that writes down what it is sent."""

    port: int
    log: Path

    def facts(self) -> list[dict[str, Any]]:
        """All that was written down."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        return [fact for fact in self.facts() if "method" in fact]

    async def fact(self, kind: str) -> dict[str, Any]:
        """The first of a kind, as soon as there is one."""

        async def look() -> dict[str, Any] | None:
            return next((fact for fact in self.facts() if kind in fact), None)

        fact = await until(look, within_s=DEADLINE_S, what=f"a fact with {kind}")
        assert fact is not None
        return fact


@pytest.fixture(scope="session")
def backend_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp("backend")
    port, log = free_port(), folder / "log"
    log.touch()
    command: list[str | Path] = [sys.executable, RIG / "logging_backend.py", str(port), log]
    with ServiceProcess(command, port=port, log=folder / "output"):
        yield Backend(port, log)


@pytest.fixture
def backend(backend_process: Backend) -> Backend:
    """It has written down nothing yet."""
    backend_process.log.write_text("")
    return backend_process


@pytest.fixture(scope="session")
def websocket_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder, port = tmp_path_factory.mktemp("websockets"), free_port()
    with ServiceProcess([sys.executable, RIG / "websocket_backend.py", str(port)], port=port, log=folder / "output"):
        yield port
