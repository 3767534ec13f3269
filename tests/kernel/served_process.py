"""A kernel with a few routes as a process of its own, so that its memory and its answers are nobody else's.

``python -m tests.kernel.served_process FOLDER '{"HEAD_S": 3}'`` prints its port and serves until its standard input
ends. The second argument changes constants of ``rooftree.http.connection``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import frozen

from rooftree import PUBLIC, Binary, Plugin, RawBody, Routes, Stream, Text
from rooftree.daemon import configure
from rooftree.http import connection, server
from rooftree.testing import running_system

routes = Routes()
START_S = 30.0
LARGE_BYTES = 512 * 1024
"""What a large public answer has: the API's document has about as many."""
_LISTENS = "0A"
"""The state of a listening socket in ``/proc/net/tcp`` (proc(5); the kernel's ``tcp_states.h``)."""


@routes.get("/quick", access=PUBLIC)
def quick() -> dict[str, str]:
    return {"says": "hello"}


@routes.post("/take", access=PUBLIC)
async def take(body: RawBody) -> dict[str, int]:
    return {"bytes": len(await body.read())}


@routes.get("/flood", access=PUBLIC)
def flood() -> Stream:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    return Stream(forever())


@routes.get("/quiet", access=PUBLIC)
def quiet() -> Stream:
    async def hardly_ever() -> AsyncIterator[bytes]:
        yield b"hello"
        await asyncio.Event().wait()

    return Stream(hardly_ever())


@routes.get("/kept", access=PUBLIC, revision=lambda: "always")
def kept() -> Text:
    return Text("x" * LARGE_BYTES)


@routes.get("/made", access=PUBLIC)
def made() -> Binary:
    return Binary(bytes(LARGE_BYTES))


class Served(Plugin):
    name = "served"

    def routes(self) -> Routes:
        return routes


@frozen
class Process:
    """The process that serves, from outside."""

    pid: int
    port: int

    @property
    def resident_bytes(self) -> int:
        """What it holds in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def open_files(self) -> int:
        """How many file descriptors it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    @property
    def connections(self) -> int:
        """How many connections it has taken and not closed yet, whatever their other end did."""
        its = set()
        for file in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                its.add(file.readlink().name)
        rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
        here = f":{self.port:04X}"
        return sum(1 for row in rows if row[1].endswith(here) and row[3] != _LISTENS and f"socket:[{row[9]}]" in its)


@asynccontextmanager
async def served_process(folder: Path, constants: Mapping[str, float] = {}) -> AsyncIterator[Process]:
    """The process, started and stopped."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name if __spec__ else __name__, str(folder), json.dumps(dict(constants)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            port = int(await child.stdout.readline())
        yield Process(child.pid, port)
    finally:
        child.stdin.close()
        await child.wait()


async def _serve(folder: Path, constants: Mapping[str, float]) -> None:
    for name, value in constants.items():
        for module in (connection, server):
            if hasattr(module, name):
                setattr(module, name, value)
    logs = configure("warning", "text")
    async with running_system(folder, plugins=[Served], logs=logs) as system:
        print(system.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), json.loads(sys.argv[2])))
