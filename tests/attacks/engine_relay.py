"""A process between the daemon and the container engine, which a test can stop (SIGSTOP): the engine hangs then, for
this daemon alone. What connects is still taken by the kernel, and nothing is answered.

``python -m tests.attacks.engine_relay LISTENS_AT ENGINE`` prints a line when it listens, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

READ_BYTES = 65536


@frozen
class Relay:
    """The process, from outside."""

    pid: int
    path: Path

    def freeze(self) -> None:
        """The engine hangs from now on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.kill(self.pid, signal.SIGCONT)


@asynccontextmanager
async def engine_relay(path: Path, engine: str) -> AsyncIterator[Relay]:
    """The process, started and ended."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, str(path), engine, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            await child.stdout.readline()
        yield Relay(child.pid, path)
    finally:
        child.kill()
        await child.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(READ_BYTES):
            writer.write(block)
            await writer.drain()
        writer.write_eof()


async def _serve(path: str, engine: str) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(engine)
        try:
            answering = asyncio.create_task(_pass_on(engine_reader, writer))
            await _pass_on(reader, engine_writer)
            await answering
        finally:
            engine_writer.close()
            writer.close()

    async with await asyncio.start_unix_server(relay, path, backlog=1024) as server:
        print("listening", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
