"""A system that publishes events on demand, as a process of its own, so that its memory and its answers are nobody
else's; and its readers as another.

``python -m tests.plugins.supervisor.bell_process serve FOLDER`` prints its port and a token, and serves until its
standard input ends. ``… read PORT TOKEN LINES SOCKETS EVENTS`` follows with so many clients, prints ``ready`` when all
do, and for each how many events it got when all have got that many.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import aiohttp
from attrs import frozen

from rooftree import PUBLIC, Event, Kernel, Plugin, Principal, Role, Routes
from rooftree.daemon import configure
from rooftree.testing import running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin

START_S = 30.0
CORES = sorted(os.sched_getaffinity(0))
EVENTS = "/kernel/v1/events?types=bell_rang"
MARK = b'"type":"bell_rang"'


@frozen
class BellRang(Event):
    """About as long as events are."""

    number: int
    bell: str = "front door"
    note: str = "an event of usual length has a few fields, and here and there a sentence for people"


class BellPlugin(Plugin):
    """Rings ``count`` times, ``per_second``."""

    name = "bell"
    kernel: ClassVar[Kernel]

    async def setup(self, kernel: Kernel) -> None:
        """Remember the kernel."""
        type(self).kernel = kernel

    def routes(self) -> Routes:
        """One."""
        found = Routes()
        found.post("/ring", access=PUBLIC)(_ring)
        return found


async def _ring(count: int = 1, per_second: int = 1000) -> dict[str, int]:
    clock = asyncio.get_running_loop().time
    began, rung = clock(), 0
    while rung < count:
        due = min(count, int((clock() - began) * per_second) + 1)
        for number in range(rung, due):
            BellPlugin.kernel.publish(BellRang(number))
        rung = due
        await asyncio.sleep(0.005)
    return {"rung": rung}


@frozen
class Bell:
    """The process, from outside."""

    pid: int
    port: int
    token: str

    @property
    def resident_bytes(self) -> int:
        """What it holds in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def open_files(self) -> int:
        """How many file descriptors it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


@asynccontextmanager
async def _child(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    name = __spec__.name if __spec__ else __name__
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", name, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        yield child, child.stdout
    finally:
        child.stdin.close()
        await child.wait()


@asynccontextmanager
async def bell_process(folder: Path) -> AsyncIterator[Bell]:
    """The system, started and stopped."""
    async with _child("serve", str(folder)) as (child, said):
        async with asyncio.timeout(START_S):
            port, token = (await said.readline()).split()
        yield Bell(child.pid, int(port), token.decode())


class Readers:
    """The process of readers, from outside."""

    def __init__(self, said: asyncio.StreamReader) -> None:
        self._said = said

    async def counts(self) -> list[int]:
        """How many events each has got, when all have got as many as they were to wait for."""
        return [int(word) for word in (await self._said.readline()).split()]


@asynccontextmanager
async def readers_process(bell: Bell, lines: int, sockets: int, events: int) -> AsyncIterator[Readers]:
    """So many clients, when all of them follow."""
    numbers = (str(number) for number in (bell.port, bell.token, lines, sockets, events))
    async with _child("read", *numbers) as (_, said):
        assert await said.readline() == b"ready\n"
        yield Readers(said)


# --- inside the processes ---------------------------------------------------------------------------------------------


async def _serve(folder: Path) -> None:
    logs = configure("warning", "text")
    chosen = [SupervisorPlugin, BellPlugin]
    async with running_system(folder, plugins=chosen, logs=logs) as system:
        print(system.port, await token_for(system, Principal("token", "reader", Role.MANAGER)), flush=True)
        await asyncio.to_thread(sys.stdin.read)


class _Line(asyncio.Protocol):
    """A reader of server-sent events that does as little as it can."""

    def __init__(self, request: bytes, events: int) -> None:
        self._request = request
        self._events = events
        self._tail = b""
        self.follows = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.follows.done():
            if b"event: hello" in data:
                self.follows.set_result(None)
            return
        text = self._tail + data
        self.count += text.count(MARK)
        self._tail = text[-(len(MARK) - 1) :]
        if self.count >= self._events and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.follows, self.done):
            if not future.done():
                future.set_exception(error or ConnectionResetError("the stream ended"))


async def _read(port: int, token: str, lines: int, sockets: int, events: int) -> None:
    loop = asyncio.get_running_loop()
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    made = []
    for _ in range(lines):
        _, line = await loop.create_connection(lambda: _Line(head, events), "127.0.0.1", port)
        await line.follows
        made.append(line)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {token}"}) as session:
        opened = [await session.ws_connect(f"http://127.0.0.1:{port}{EVENTS}") for _ in range(sockets)]
        for socket in opened:
            assert "hello" in await socket.receive_str()

        async def count(socket: aiohttp.ClientWebSocketResponse) -> int:
            got = 0
            while got < events:
                got += (await socket.receive_str()).count(MARK.decode())
            return got

        print("ready", flush=True)
        counts = await asyncio.gather(*map(count, opened))
        await asyncio.gather(*(line.done for line in made))
        print(*(line.count for line in made), *counts, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        os.sched_setaffinity(0, {CORES[0]})
        asyncio.run(_serve(Path(sys.argv[2])))
    else:  # on the other core, and behind whoever measures there
        os.sched_setaffinity(0, {CORES[-1]})
        os.nice(19)
        asyncio.run(_read(int(sys.argv[2]), sys.argv[3], *(int(word) for word in sys.argv[4:])))
