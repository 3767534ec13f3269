"""Ports of this machine, taken by the tests' own process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve

from rooftree.interfaces.containers import AddonNetwork
from rooftree.testing.containers import FakeContainerEngine

FAMILIES = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1")}


@contextmanager
def listening(protocol: str = "tcp", family: str = "4", port: int = 0) -> Iterator[int]:
    """A socket of this process that listens on a port of loopback, any free one with 0."""
    version, address = FAMILIES[family]
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(version, kind) as taken:
        try:
            taken.bind((address, port))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        if protocol == "tcp":
            taken.listen()
        yield taken.getsockname()[1]


def let_it_have(interface: str, engine: FakeContainerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's network has that interface, on whichever machine it is."""
    ordinary = engine.network

    async def network() -> AddonNetwork:
        return evolve(await ordinary(), interface=interface)

    monkeypatch.setattr(engine, "network", network)
