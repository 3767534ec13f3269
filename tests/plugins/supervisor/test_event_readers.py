"""Many readers of events cost the others nothing: measured from outside, with each side a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import aiohttp
from attrs import frozen

from tests.plugins.supervisor.bell_process import EVENTS, Bell, Readers, bell_process, readers_process

MIB = 1024 * 1024
PER_READER = 40 * 1024
"""Bytes that a reader may cost, its connection included, while it keeps up."""
PER_STALLED_READER = 256 * 1024
"""Bytes that one may cost who takes nothing."""
RECORD = 16 * MIB
"""What the record, full, may add."""
NOTICEABLE_S = 0.010
"""What is quicker than this is quick, however much quicker it was without readers: the scheduler alone takes that."""


@frozen
class Latencies:
    """How long calls took, in seconds."""

    took: list[float]

    @property
    def p99(self) -> float:
        """What all but a hundredth took at most."""
        return sorted(self.took)[math.ceil(len(self.took) * 0.99) - 1]

    def __str__(self) -> str:
        return f"median {median(self.took) * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms of {len(self.took)}"

    def is_felt_beside(self, alone: Latencies) -> bool:
        """Whether these are beyond twice those."""
        return median(self.took) > 2 * median(alone.took) or self.p99 > max(2 * alone.p99, NOTICEABLE_S)


async def ask(bell: Bell, is_over: Callable[[], bool]) -> Latencies:
    """Call one after another, with pauses, until it is over."""
    took: list[float] = []
    async with aiohttp.ClientSession() as session:
        while not is_over() or len(took) < 100:
            began = time.perf_counter()
            async with session.get(f"http://127.0.0.1:{bell.port}/supervisor/ping") as answer:
                assert answer.status == 200
                await answer.read()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)
    return Latencies(took)


async def ask_for(bell: Bell, seconds: float) -> Latencies:
    """Call while nothing else happens."""
    until = time.monotonic() + seconds
    return await ask(bell, lambda: time.monotonic() > until)


async def ring(bell: Bell, count: int, per_second: int) -> None:
    """Let so many events be published."""
    url = f"http://127.0.0.1:{bell.port}/ring?count={count}&per_second={per_second}"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert (await answer.json())["data"] == {"rung": count}


@contextlib.contextmanager
def stalled_readers(bell: Bell, count: int) -> Iterator[None]:
    """Clients that ask for the events and take nothing, with as small a buffer as there is."""
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bell.token}\r\n\r\n".encode()
    with contextlib.ExitStack() as closing:
        for _ in range(count):
            one = closing.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", bell.port))
            one.sendall(head)
        yield


async def all_read_all(bell: Bell, readers: Readers, events: int, per_second: int) -> Latencies:
    """Publish, and call meanwhile, until every reader has every event."""
    counting = asyncio.create_task(readers.counts())
    ringing = asyncio.create_task(ring(bell, events, per_second))
    latencies = await ask(bell, counting.done)
    await ringing
    assert set(await counting) == {events}
    return latencies


async def readers_are_borne(
    folder: Path, *, lines: int, sockets: int, stalled: int, events: int, per_second: int, alone_s: float
) -> str:
    """Measure with readers and without, three times at most, because others on this machine disturb; the figures."""
    count = lines + sockets
    async with bell_process(folder) as bell:
        await ask_for(bell, 0.5)
        files, memory = bell.open_files, bell.resident_bytes
        for _ in range(3):
            alone = await ask_for(bell, alone_s)
            with stalled_readers(bell, stalled):
                async with readers_process(bell, lines, sockets, events) as readers:
                    idle = bell.resident_bytes
                    during = await all_read_all(bell, readers, events, per_second)
                    full = bell.resident_bytes
            async with asyncio.timeout(60):
                while bell.open_files > files:
                    await asyncio.sleep(0.05)
            if not during.is_felt_beside(alone):
                break
        figures = (
            f"{count} readers ({sockets} of them WebSockets), {stalled} stalled, {events} events at {per_second}/s: "
            f"{during}; alone {alone}; "
            f"memory {memory / MIB:.0f} MiB, {idle / MIB:.0f} with readers, {full / MIB:.0f} after the events"
        )
        assert not during.is_felt_beside(alone), figures
        assert full - memory < count * PER_READER + stalled * PER_STALLED_READER + RECORD, figures
        return figures


async def test_a_hundred_readers_get_all_events_and_nobody_else_notices(tmp_path: Path) -> None:
    print(await readers_are_borne(tmp_path, lines=90, sockets=10, stalled=5, events=1_000, per_second=500, alone_s=1.0))
