"""What is done inside running containers: commands run there (exec), and their standard input written to (attach)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from aiodocker.exceptions import DockerError
from attrs import field, mutable

from rooftree.errors import Conflict, Failed, RooftreeError
from rooftree.interfaces.containers import ContainerNotRunning, ExecResult, StdinBusy, StdinNotRead
from rooftree_docker.engine_client import Deadlines, EngineClient, Explanation, Json, blocks, refusal
from rooftree_docker.log_stream import Frames

LARGEST_OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""What a command inside a container may print before it is cut off with an error."""


MOST_WAITING: Final = 8
"""Calls that may wait until a container has read what others sent to it."""


@mutable(eq=False)
class _StandardInput:
    """A container's standard input, while somebody writes to it."""

    free: asyncio.Lock = field(factory=asyncio.Lock)
    calls: int = 0


class ContainerExec:
    """The insides of one engine's containers. Each call names a container by its logical name, for errors, and by what
    the engine says of it."""

    def __init__(self, client: EngineClient, deadlines: Deadlines) -> None:
        self._client = client
        self._deadlines = deadlines
        self._inputs: dict[str, _StandardInput] = {}
        """By the container's id."""

    async def execute(self, name: str, details: Json, command: Sequence[str]) -> ExecResult:
        """Run a command and wait for its end; see :meth:`~rooftree.interfaces.containers.ContainerEngine.execute`."""
        doing = f"run a command in the container {name}"
        explain = running_refusal(name, doing)
        async with self._client.call(doing, explain=explain) as docker:
            inside = docker.containers.container(details["Id"])
            exec_id = (await inside.exec(list(command), stdout=True, stderr=True)).id
        output, frames = bytearray(), Frames()
        stream = self._client.stream(
            doing,
            "POST",
            f"exec/{exec_id}/start",
            params={},
            headers={"Content-Type": "application/json"},
            body=json.dumps({"Detach": False, "Tty": False}),
            deadline=self._deadlines.stall,
            explain=explain,
        )
        async with stream as response:
            async for block in blocks(response, self._deadlines.stall):
                for _, piece in frames.feed(block):
                    output += piece
                if len(output) > LARGEST_OUTPUT_BYTES:
                    raise Failed(f"A command in {name} printed more than {LARGEST_OUTPUT_BYTES // 1024**2} MiB.")
        async with self._client.call(doing, explain=explain) as docker:
            ended = await docker.containers.exec(exec_id).inspect()
        return ExecResult(exit_code=ended["ExitCode"], output=bytes(output))

    async def write_stdin(self, name: str, details: Json, data: bytes) -> None:
        """Feed the standard input, until the engine has taken everything; one caller at a time."""
        if not details["Config"].get("OpenStdin"):
            raise Conflict(f"{name} was created without a standard input that could be written to.")
        container_id: str = details["Id"]
        own = self._inputs.setdefault(container_id, _StandardInput())
        if own.calls > MOST_WAITING:
            raise self._busy(name)
        own.calls += 1
        try:
            try:
                async with asyncio.timeout(self._deadlines.answer):
                    await own.free.acquire()
            except TimeoutError:
                raise self._busy(name) from None
            try:
                await self._feed(name, container_id, data)
            finally:
                own.free.release()
        finally:
            own.calls -= 1
            if not own.calls:
                del self._inputs[container_id]

    def _busy(self, name: str) -> StdinBusy:
        return StdinBusy(
            f"{name} has not read yet what other calls sent to its standard input. Try again when it has; see its log, "
            "and restart it if it hangs.",
            wait_s=self._deadlines.answer,
        )

    async def _feed(self, name: str, container_id: str, data: bytes) -> None:
        doing = f"write to the standard input of {name}"
        stream = self._client.stream(
            doing,
            "POST",
            f"containers/{container_id}/attach",
            params={"stream": "1", "stdin": "1"},
            explain=running_refusal(name, doing),
        )
        async with stream as response:
            transport = response.connection.transport if response.connection else None
            if transport is None:
                raise ConnectionResetError("the engine closed the line at once")
            # From here on the engine passes on what we send, and ends its answer when it has passed on all.
            transport.write(data)
            if not transport.can_write_eof():  # TLS: there is no half close to wait for
                return
            transport.write_eof()
            try:
                async with asyncio.timeout(self._deadlines.change):
                    async for _ in blocks(response):
                        pass
            except TimeoutError as error:  # what is still unsent goes with the connection
                raise StdinNotRead(
                    f"{name} has not read its standard input for {self._deadlines.change:g} s. "
                    f"Of {len(data)} bytes, {transport.get_write_buffer_size()} were thrown away, and what it had not "
                    "read of the rest may be lost too; see its log, and restart it if it hangs."
                ) from error


def not_running(name: str) -> ContainerNotRunning:
    """The error for what takes a running container."""
    return ContainerNotRunning(f"The container {name} does not run. Start it first.")


def running_refusal(name: str, doing: str) -> Explanation:
    """For calls that need a running container, which may have ended since it was looked at."""

    def explain(error: DockerError) -> RooftreeError:
        return not_running(name) if error.status in {404, 409} else refusal(doing)(error)

    return explain
