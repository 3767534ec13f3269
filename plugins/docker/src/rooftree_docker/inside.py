"""What is done inside running containers: commands run there (exec), and their standard input written to (attach)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from aiodocker.exceptions import DockerError

from rooftree.errors import Conflict, Failed, RooftreeError
from rooftree.interfaces.containers import ContainerNotRunning, ExecResult
from rooftree_docker.connection import Connection, Deadlines, Explanation, Json, blocks, refusal
from rooftree_docker.log_stream import Frames

LARGEST_OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""What a command inside a container may print before it is cut off with an error."""


class Inside:
    """The insides of one engine's containers. Each call names a container by its logical name, for errors, and by what
    the engine says of it."""

    def __init__(self, connection: Connection, deadlines: Deadlines) -> None:
        self._connection = connection
        self._deadlines = deadlines

    async def execute(self, name: str, found: Json, command: Sequence[str]) -> ExecResult:
        """Run a command and wait for its end; see :meth:`~rooftree.interfaces.containers.ContainerEngine.execute`."""
        doing = f"run a command in the container {name}"
        explain = running_refusal(name, doing)
        async with self._connection.call(doing, explain=explain) as docker:
            inside = docker.containers.container(found["Id"])
            exec_id = (await inside.exec(list(command), stdout=True, stderr=True)).id
        output, frames = bytearray(), Frames()
        stream = self._connection.stream(
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
        async with self._connection.call(doing, explain=explain) as docker:
            ended = await docker.containers.exec(exec_id).inspect()
        return ExecResult(exit_code=ended["ExitCode"], output=bytes(output))

    async def write_stdin(self, name: str, found: Json, data: bytes) -> None:
        """Feed the standard input, until the engine has taken everything."""
        if not found["Config"].get("OpenStdin"):
            raise Conflict(f"{name} was created without a standard input that could be written to.")
        doing = f"write to the standard input of {name}"
        stream = self._connection.stream(
            doing,
            "POST",
            f"containers/{found['Id']}/attach",
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
            except TimeoutError as error:
                raise Failed(
                    f"{name} has not read its standard input for {self._deadlines.change:g} s. "
                    "What was sent may have arrived in part; see its log, and restart it if it hangs."
                ) from error


def not_running(name: str) -> ContainerNotRunning:
    """The error for what takes a running container."""
    return ContainerNotRunning(f"The container {name} does not run. Start it first.")


def running_refusal(name: str, doing: str) -> Explanation:
    """For calls that need a running container, which may have ended since it was looked at."""

    def explain(error: DockerError) -> RooftreeError:
        return not_running(name) if error.status in {404, 409} else refusal(doing)(error)

    return explain
