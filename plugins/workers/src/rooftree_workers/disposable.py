"""Programs that may never end, such as those that ask a server that is gone.

The kernel does not let go of a process that waits for such a server: not even SIGKILL ends it before the server, or a
timeout of the file system, does. So nobody waits for one. It is killed, left behind, and as long as it is there no
other one is started for the same thing: a server that is gone costs one process, and no thread. (asyncio's own
processes can't be let go: their transports belong to the loop until they end.)
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from attrs import define, field, frozen

from rooftree_workers.child_processes import confined

MOST_BYTES: Final = 4 * 2**20
"""Of what a program prints that are kept."""
ENDS_S: Final = 0.5
"""Seconds that a program may take to end once it was killed; they do so at once, unless the kernel holds them."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.1
"""Between looks at whether it has ended."""
_CHUNK_BYTES: Final = 2**16


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


@define(eq=False)
class _Child:
    """One process, and the pipes that it prints into, where what it prints is kept."""

    about: str
    pid: int
    pipes: dict[int, bytearray]
    """What was printed so far, by the descriptor of the pipe: the output, and the errors."""
    code: int | None = field(default=None)

    @classmethod
    def spawn_unheard(
        cls, about: str, command: Sequence[str], pass_fds: Sequence[int], env: Mapping[str, str]
    ) -> _Child:
        """One that prints nothing, and complains where we do."""
        pid = os.posix_spawnp(
            command[0], list(command), env, setsid=True, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                *((os.POSIX_SPAWN_DUP2, kept, kept) for kept in pass_fds),
            ],
        )  # fmt: skip
        return cls(about, pid, {})

    @classmethod
    def spawn(cls, about: str, command: Sequence[str], pass_fds: Sequence[int]) -> _Child:
        (out, out_end), (err, err_end) = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK), os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            for end in (out_end, err_end):
                os.set_blocking(end, True)
            pid = os.posix_spawnp(
                command[0], list(command), os.environ, setsid=True, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out_end, 1),
                    (os.POSIX_SPAWN_DUP2, err_end, 2),
                    *((os.POSIX_SPAWN_DUP2, kept, kept) for kept in pass_fds),
                ],
            )  # fmt: skip
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            os.close(out_end)
            os.close(err_end)
        return cls(about, pid, {out: bytearray(), err: bytearray()})

    def read(self) -> bool:
        """Take what was printed; whether anything was."""
        any_read = False
        for pipe, kept in self.pipes.items():
            with suppress(BlockingIOError):
                while chunk := os.read(pipe, _CHUNK_BYTES):
                    kept.extend(chunk[: MOST_BYTES - len(kept)])
                    any_read = True
        return any_read

    def has_ended(self) -> bool:
        """Whether it has; then its exit status is known."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    async def wait(self) -> None:
        """Until it has ended; not for what it has started, which may go on with its pipes."""
        for pause_s in self._pauses():
            await asyncio.sleep(pause_s)

    def _pauses(self) -> Iterator[float]:
        pause_s = FIRST_PAUSE_S
        while not self.has_ended():
            pause_s = FIRST_PAUSE_S if self.read() else min(1.5 * pause_s, LONGEST_PAUSE_S)
            yield pause_s
        self.read()

    def close(self) -> None:
        for pipe in self.pipes:
            os.close(pipe)


class DisposableProcesses:
    """Runs programs, and leaves behind those that do not end."""

    def __init__(self) -> None:
        self._stuck: list[_Child] = []

    def left_behind(self, about: str = "") -> int:
        """How many programs were killed and are still there, of those about what begins so."""
        self._stuck = [child for child in self._stuck if not child.has_ended()]
        return sum(child.about.startswith(about) for child in self._stuck)

    async def run(self, about: str, *command: str, within_s: float, pass_fds: Sequence[int] = ()) -> Ended:
        """Run a program to its end.

        :param about: what it is asked about; while one that was left behind hangs, none about the same is started
        :raises Hanging: where it does not end in time
        :raises FileNotFoundError: where there is no such program
        """
        self.left_behind()
        if any(child.about == about for child in self._stuck):
            raise Hanging(f"a process that was asked about {about} before still hangs")
        child = _Child.spawn(about, await confined(command), pass_fds)
        try:
            async with asyncio.timeout(within_s):
                await child.wait()
        except TimeoutError:
            raise Hanging(f"{command[0]} did not answer within {within_s:g} s") from None
        finally:
            if child.code is None:
                await self._leave(child)
            child.close()
        assert child.code is not None, "it has ended"
        output, errors = child.pipes.values()
        return Ended(child.code, bytes(output), bytes(errors))

    @asynccontextmanager
    async def running(
        self, about: str, *command: str, env: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> AsyncIterator[None]:
        """A program that runs for the length of the block, beside others about the same; it is talked to through
        ``pass_fds``. Raises ``FileNotFoundError`` where there is no such program.

        :param env: its environment
        """
        self.left_behind()
        child = _Child.spawn_unheard(about, await confined(command), pass_fds, env)
        try:
            yield
        finally:
            if not child.has_ended():
                await self._leave(child)

    async def _leave(self, child: _Child) -> None:
        """Kill it; where that does not end it, go on without it."""
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        self._stuck.append(child)
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDS_S):
                await child.wait()
        self.left_behind()
