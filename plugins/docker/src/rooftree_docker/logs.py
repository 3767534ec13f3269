"""The logs of containers, as the engine streams them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from aiodocker.exceptions import DockerError
from aiohttp import ClientResponse

from rooftree.errors import RooftreeError
from rooftree.interfaces.containers import ContainerNotFound, EngineUnavailable, LogLine
from rooftree_docker.engine_client import EngineClient, Explanation, Json, blocks, refusal
from rooftree_docker.log_stream import FramedLog, LogParser, TerminalLog
from rooftree_docker.log_text import FramedText, TerminalText, TextReader


class Logs:
    """The logs of one engine.

    :param find: the engine's description of our container of a logical name; raises ``ContainerNotFound``
    :param inspect: that of anybody's container by its id, or ``None``
    """

    def __init__(
        self,
        client: EngineClient,
        find: Callable[[str], Awaitable[Json]],
        inspect: Callable[[str], Awaitable[Json | None]],
    ) -> None:
        self._client = client
        self._find = find
        self._inspect = inspect

    async def lines(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncGenerator[LogLine]:
        """What it wrote, line by line."""
        async with self._log(name, follow=follow, tail=tail, since=since, times=True) as (response, terminal):
            parser: LogParser = TerminalLog() if terminal else FramedLog()
            async for block in blocks(response, None if follow else self._client.deadlines.answer):
                for line in parser.feed(block):
                    yield line
        for line in parser.end():
            yield line

    async def text(
        self, name: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncGenerator[bytes]:
        async with self._log(name, follow=follow, tail=tail, since=since, times=False) as (response, terminal):
            reader: TextReader = TerminalText() if terminal else FramedText()
            async for block in blocks(response, None if follow else self._client.deadlines.answer):
                if text := reader.feed(block):
                    yield text
        if text := reader.end():
            yield text

    @asynccontextmanager
    async def _log(
        self, name: str, *, follow: bool, tail: int | None, since: datetime | None, times: bool
    ) -> AsyncIterator[tuple[ClientResponse, bool]]:
        """A log as the engine streams it, and whether it comes from a terminal."""
        details = await self._find(name)
        params = {"stdout": "1", "stderr": "1", "tail": "all" if tail is None else str(tail)}
        if times:
            params["timestamps"] = "1"
        if follow:
            params["follow"] = "1"
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        path = f"containers/{details['Id']}/logs"
        # The engine sends a chunk for every line, which is dear to read: more than all that is done with it.
        doing = f"show the log of {name}"
        stream = self._client.stream(
            doing, "GET", path, params=params, chunked=False, explain=_gone_refusal(name, doing)
        )
        async with stream as response:
            yield response, bool(details["Config"].get("Tty"))
            if response.content.at_eof():
                await self._refuse_cut_log(name, details, follow=follow)

    async def _refuse_cut_log(self, name: str, details: Json, *, follow: bool) -> None:
        """Raise :class:`EngineUnavailable` where a log ended with the engine, or though its container runs on."""
        described = await self._inspect(details["Id"])
        before, now = details["State"], described["State"] if described is not None else {}
        same_run = before.get("StartedAt") == now.get("StartedAt")
        if follow and same_run and before.get("Running") and now.get("Running"):
            raise EngineUnavailable(
                f"The container engine ended the log of {name}, which runs on. It may have been restarted: "
                "follow the log again."
            )


def _gone_refusal(name: str, doing: str) -> Explanation:
    """For a container that has gone, or is just being removed, since it was looked at."""

    def explain(error: DockerError) -> RooftreeError:
        if error.status in {404, 409}:
            return ContainerNotFound(f"There is no container {name} any more. Start what it belongs to again.")
        return refusal(doing)(error)

    return explain
