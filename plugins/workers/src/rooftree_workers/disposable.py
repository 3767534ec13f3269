"""Programs that may never end, such as those that ask a server that is gone.

The kernel does not let go of a process that waits for such a server: not even SIGKILL ends it before the server, or a
timeout of the file system, does. So nobody waits for one. It is killed, left behind, and as long as it is there no
other one is started for the same thing: a server that is gone costs one process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, override

from attrs import frozen

from rooftree_workers.child_processes import confined

MOST_BYTES: Final = 4 * 2**20
"""Of what a program prints that are read."""
ENDS_S: Final = 0.5
"""Seconds that a program may take to end once it was killed; they do so at once, unless the kernel holds them."""


class Hanging(TimeoutError):
    """The program did not end in time, or one for the same thing still has not."""


@frozen
class Ended:
    """How a program ended."""

    code: int
    """Its exit status; negative for a signal."""
    output: bytes
    errors: bytes

    @property
    def reason(self) -> str:
        """The first line that it printed about what went wrong."""
        lines = self.errors.decode(errors="replace").strip().splitlines()
        return lines[0][:300] if lines else f"it ended with {self.code}"


class _Collector(asyncio.SubprocessProtocol):
    """Gathers what a program prints."""

    def __init__(self) -> None:
        self.printed = {1: bytearray(), 2: bytearray()}
        self.gone = asyncio.get_running_loop().create_future()

    @override
    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.printed[fd]
        kept += data[: MOST_BYTES - len(kept)]

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class DisposableProcesses:
    """Runs programs, one at a time for each thing, and leaves behind those that do not end."""

    def __init__(self) -> None:
        self._left: dict[asyncio.SubprocessTransport, str] = {}

    @property
    def left_behind(self) -> int:
        """How many programs were killed and are still there."""
        return len(self._left)

    async def run(self, about: str, *command: str, within_s: float, pass_fds: Sequence[int] = ()) -> Ended:
        """Run a program to its end.

        :param about: what it is asked about; while one hangs, another about the same is not started
        :raises Hanging: where it does not end in time
        :raises FileNotFoundError: where there is no such program
        """
        if about in self._left.values():
            raise Hanging(f"a process that looked at {about} before still hangs")
        whole = await confined(command)
        transport, collector = await asyncio.get_running_loop().subprocess_exec(
            _Collector,
            *whole,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            cwd="/",
        )
        try:
            async with asyncio.timeout(within_s):
                await asyncio.shield(collector.gone)
        except TimeoutError:
            raise Hanging(f"{command[0]} did not answer within {within_s:g} s") from None
        finally:
            if not collector.gone.done():
                await self._leave(about, transport, collector)
            else:
                transport.close()
        code = transport.get_returncode()
        assert code is not None, "its end was told"
        return Ended(code, bytes(collector.printed[1]), bytes(collector.printed[2]))

    async def _leave(self, about: str, transport: asyncio.SubprocessTransport, collector: _Collector) -> None:
        """Kill it; where that does not end it, go on without it."""
        with suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        self._left[transport] = about
        collector.gone.add_done_callback(lambda _: self._has_ended(transport))
        await asyncio.wait({collector.gone}, timeout=ENDS_S)

    def _has_ended(self, transport: asyncio.SubprocessTransport) -> None:
        transport.close()
        self._left.pop(transport, None)

    def close(self) -> None:
        """Forget those that were left behind; they end when the kernel lets go of them."""
        for transport in list(self._left):
            transport.close()
        self._left.clear()
