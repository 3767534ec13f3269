"""The line to the Docker Engine: one client, a deadline for every exchange, and errors that say what to do.

Nothing here needs the engine to be there: the client is made at the first call and every call tries anew. Plain calls
go through aiodocker's objects (:meth:`EngineClient.call`); what streams (pull, build, logs, events) is read in blocks
from aiodocker's session (:meth:`EngineClient.stream`), because aiodocker leaves the response open when a reader stops.

Who only looks (a GET) does not wait for an engine that hangs: when an answer takes long, the engine is asked for a sign
of life, which a busy one gives at once. A connection that is given up is aborted: one that is merely closed is kept
open, with all that was to be sent, until the engine takes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from functools import partial
from typing import Any, Final

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from aiohttp.client_proto import ResponseHandler
from attrs import field, frozen
from attrs.validators import gt
from yarl import URL

from rooftree import only_looks
from rooftree.errors import Invalid, RooftreeError
from rooftree.interfaces.containers import EngineDiskFull, EngineRefused, EngineUnavailable

OLDEST_API: Final = (1, 41)
"""Docker Engine 20.10: the oldest engine we run on."""

NEWEST_API: Final = (1, 44)
"""The newest version of the engine's API whose answers we know; a newer engine is spoken to in this one."""

CANNOT_CONNECT: Final = 900
"""The status aiodocker gives an engine that cannot be reached."""

MOST_BYTES_OF_A_MESSAGE: Final = 16 * 1024 * 1024

READ_BYTES: Final = 128 * 1024
"""About how much of a log is read at a time."""
BLOCK_BYTES: Final = 64 * 1024
"""A block of a body that is as long is not joined to what comes behind it."""
SILENCE_S: Final = 1.0
"""Seconds after a sign of life that did not come in which who only looks is not kept waiting for the next."""
_SCHEMES: Final = frozenset({"unix", "tcp", "http", "https", "ssh"})

type Json = dict[str, Any]
type Explanation = Callable[[DockerError], RooftreeError]


@frozen(kw_only=True)
class Deadlines:
    """How long the engine, and what it asks for us, may take, in seconds."""

    answer: float = field(default=20, validator=gt(0))
    """To answer a question."""
    change: float = field(default=120, validator=gt(0))
    """To carry out a change: create, start, remove."""
    stall: float = field(default=300, validator=gt(0))
    """Without a sign of life during a pull, a build or a command inside a container."""
    build: float = field(default=3600, validator=gt(0))
    """To build an image, however much it tells meanwhile."""
    registry: float = field(default=30, validator=gt(0))
    """Of an image's registry, before the engine fetches it: to answer all questions of ours about it."""
    heartbeat: float = field(default=5, validator=gt(0))
    """To answer a ping, which is sent as often."""
    glance: float = field(default=0.4, validator=gt(0))
    """To answer who only looks, before a sign of life is asked for; and to give that."""
    first_retry: float = field(default=0.5, validator=gt(0))
    """Before the first attempt to reach an engine that was lost; doubled each time."""
    last_retry: float = field(default=10, validator=gt(0))
    """The longest wait between two attempts."""


class EngineClient:
    """An engine's address and the client that talks to it.

    :param url: as in ``DOCKER_HOST``: ``unix:///var/run/docker.sock``, ``tcp://host:port``; a bare path is a socket
    """

    def __init__(self, url: str, deadlines: Deadlines) -> None:
        self.url = url if "://" in url else f"unix://{url}"
        if self.url.partition("://")[0] not in _SCHEMES:
            raise Invalid(f"{url!r} is not the address of a container engine, such as unix:///var/run/docker.sock")
        self.deadlines = deadlines
        self.available = False
        """Whether the engine answered last time."""
        self._docker: aiodocker.Docker | None = None
        self._http10: aiohttp.ClientSession | None = None
        self._version: Json = {}
        """What the engine said of its version; empty until it has answered."""
        self._closed = False
        self._limits: set[asyncio.Timeout] = set()
        self._streams: set[aiohttp.ClientResponse] = set()
        self._sign_of_life: asyncio.Task[bool] | None = None
        self._silent_until = 0.0
        """Until when, on the loop's clock, it is taken for granted that the engine hangs."""

    async def close(self) -> None:
        """End every open exchange; they, and what is asked afterwards, raise :class:`EngineUnavailable`."""
        self._closed = True
        # Closing the session would leave its readers waiting for ever.
        if self._sign_of_life is not None:
            self._sign_of_life.cancel()
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)
        for response in self._streams:
            response.content.set_exception(aiohttp.ClientConnectionError("closed"))
        http10, self._http10 = self._http10, None
        if http10 is not None:
            await http10.close()
        docker, self._docker = self._docker, None
        if docker is not None:
            await docker.close()
            await docker.connector.close()  # ours, so it is left to us

    @asynccontextmanager
    async def call(
        self, doing: str, *, deadline: float | None = None, explain: Explanation | None = None
    ) -> AsyncIterator[aiodocker.Docker]:
        """The client, for one exchange that must end before its deadline.

        :param doing: what the exchange is for, as it follows "when asked to"
        :param deadline: seconds, :attr:`Deadlines.answer` unless told
        :param explain: the error for a refusal that the body does not catch itself
        """
        deadline = self.deadlines.answer if deadline is None else deadline
        with self._translated(doing, deadline, explain):
            async with self._limit(deadline):
                yield await self._client()

    @asynccontextmanager
    async def stream(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: object = None,
        deadline: float | None = None,
        explain: Explanation | None = None,
        chunked: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is read as it comes; only its beginning has the deadline. Closed when the block ends.

        :param chunked: without, a body of very many small parts costs less to read; but then it looks as if it had
            come to its end when the engine dies
        """
        deadline = self.deadlines.answer if deadline is None else deadline
        with self._translated(doing, deadline, explain):
            async with self._limit(deadline):
                docker = await self._client()
                url = URL(f"{docker.docker_host}/{docker.api_version}/{path}")
                session = docker.session if chunked else self._without_chunks(docker)
                response = await session.request(method, url, params=params, headers=headers, data=body)
            self._streams.add(response)
            try:
                if response.status >= 400:
                    async with self._limit(deadline):
                        raise DockerError(response.status, _message(await response.read()))
                self._answered()
                yield response
            finally:
                self._streams.discard(response)
                response.close()

    def _without_chunks(self, docker: aiodocker.Docker) -> aiohttp.ClientSession:
        """A session that speaks HTTP/1.0, over the same connector."""
        if self._http10 is None:
            self._http10 = aiohttp.ClientSession(
                connector=docker.connector,
                connector_owner=False,
                timeout=docker.session.timeout,
                version=aiohttp.HttpVersion10,
                read_bufsize=READ_BYTES,
            )
        return self._http10

    async def ping(self) -> None:
        """Raise :class:`EngineUnavailable` unless the engine answers within a heartbeat."""
        async with (
            self.call("answer a ping", deadline=self.deadlines.heartbeat) as docker,
            docker.session.get(f"{docker.docker_host}/_ping") as response,
        ):
            await response.read()

    async def version(self, doing: str) -> Json:
        """What the engine said of its version when we met it (``/version``): it stays as long as the engine does, which
        starts two programs to tell it. Raises as :meth:`call` does where it is away.

        :param doing: as for :meth:`call`
        """
        if not self._version:
            async with self.call(doing):
                pass
        return self._version

    @property
    def api_version(self) -> tuple[int, int]:
        """The version of the API that is spoken with the engine; known once it has answered."""
        if self._docker is None or not self._version:
            return OLDEST_API
        return parse_version(self._docker.api_version.removeprefix("v"))

    @asynccontextmanager
    async def _limit(self, deadline: float) -> AsyncIterator[None]:
        if only_looks() and self._silent_until and not await self._lives():
            raise self._stuck()
        async with asyncio.timeout(deadline) as limit:
            self._limits.add(limit)
            doubts: list[asyncio.Task[None]] = []
            loop = asyncio.get_running_loop()

            def doubt() -> None:
                doubts.append(loop.create_task(self._give_up_when_stuck(limit), context=Context()))

            timer = loop.call_later(self.deadlines.glance, doubt) if only_looks() else None
            try:
                yield
            finally:
                self._limits.discard(limit)
                if timer is not None:
                    timer.cancel()
                for task in doubts:
                    task.cancel()

    async def _give_up_when_stuck(self, limit: asyncio.Timeout) -> None:
        """End a wait as soon as the engine gives no sign of life."""
        while True:
            if not await self._lives():
                limit.reschedule(asyncio.get_running_loop().time())
                return
            await asyncio.sleep(self.deadlines.glance)

    async def _lives(self) -> bool:
        """Whether the engine gives a sign of life; all who want to know wait for the same one."""
        if asyncio.get_running_loop().time() < self._silent_until:
            return False
        if self._sign_of_life is None or self._sign_of_life.done():
            self._sign_of_life = asyncio.get_running_loop().create_task(self._ask_for_sign_of_life(), context=Context())
        return await asyncio.shield(self._sign_of_life)

    async def _ask_for_sign_of_life(self) -> bool:
        try:
            async with asyncio.timeout(self.deadlines.glance):
                docker = await self._client()
                async with docker.session.get(f"{docker.docker_host}/_ping") as response:
                    await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError, DockerError, RooftreeError):
            self._silent_until = asyncio.get_running_loop().time() + SILENCE_S
            return False
        self._answered()
        return True

    def _answered(self) -> None:
        self.available = True
        self._silent_until = 0.0

    def _stuck(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"The container engine at {self.url} gives no sign of life. "
            "It may be overloaded or stuck: look at its log, and restart it if it stays so."
        )

    async def _client(self) -> aiodocker.Docker:
        if self._closed:
            raise _closed()
        if self._docker is None:
            self._docker = _docker_at(self.url)
        docker = self._docker
        if not self._version:
            async with docker.session.get(f"{docker.docker_host}/version") as response:
                if response.status != 200:
                    raise DockerError(response.status, _message(await response.read()))
                version = await response.json(content_type=None)
            docker.api_version = spoken_version(version)
            self._version = version
        return docker

    @contextmanager
    def _translated(self, doing: str, deadline: float, explain: Explanation | None) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.lost()
            if self._closed:
                raise _closed() from error
            if not isinstance(error, TimeoutError):
                raise self._unreachable(doing, error) from error
            if only_looks() and self._silent_until:
                raise self._stuck() from error
            raise EngineUnavailable(
                f"The container engine at {self.url} did not answer in time ({deadline:g} s) when asked to {doing}. "
                "It may be overloaded or stuck: look at its log, and restart it if it stays so."
            ) from error
        except DockerError as error:
            if error.status == CANNOT_CONNECT:
                self.lost()
                raise self._unreachable(doing, error) from error
            self.available = True
            raise (explain or refusal(doing))(error) from error
        else:
            self._answered()

    def lost(self) -> None:
        """The engine is gone: what comes back may be another version."""
        self.available = False
        self._version = {}

    def _unreachable(self, doing: str, error: BaseException) -> EngineUnavailable:
        reason = _operating_system_error(error)
        if isinstance(reason, PermissionError):
            advice = "Run Rooftree as root, or as a member of the group that owns the socket."
        else:
            advice = "Start it, for example with 'systemctl start docker'."
        said = reason.strerror if reason is not None and reason.strerror else str(error) or type(error).__name__
        return EngineUnavailable(f"The container engine at {self.url} cannot be reached to {doing} ({said}). {advice}")


def _closed() -> EngineUnavailable:
    return EngineUnavailable("The line to the container engine is closed: Rooftree is stopping.")


def refusal(doing: str) -> Explanation:
    """The error for a refusal that means nothing more telling."""

    def explain(error: DockerError) -> RooftreeError:
        if "no space left on device" in error.message:
            return EngineDiskFull(
                f"The container engine has no space left on its disk to {doing}. "
                "Free some: remove images and add-ons that are not used."
            )
        return EngineRefused(f"The container engine refused to {doing}: {error.message.strip()}")

    return explain


def parse_version(text: str) -> tuple[int, int]:
    """``1.41`` as numbers that compare."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def spoken_version(facts: Json) -> str:
    """The version of the API to speak with an engine, from its ``/version``. Raises EngineUnavailable if it is old."""
    newest = parse_version(facts["ApiVersion"])
    oldest = parse_version(facts.get("MinAPIVersion") or "1.12")
    if newest < OLDEST_API:
        raise EngineUnavailable(
            f"The container engine {facts.get('Version', '')} is too old: it speaks API {facts['ApiVersion']}, and "
            f"Rooftree needs {OLDEST_API[0]}.{OLDEST_API[1]} or newer. Update Docker to 20.10 or newer."
        )
    major, minor = max(oldest, min(newest, NEWEST_API))
    return f"v{major}.{minor}"


async def blocks(response: aiohttp.ClientResponse, stall: float | None = None) -> AsyncIterator[bytes]:
    """The body in blocks as they come; ``TimeoutError`` when none comes for ``stall`` seconds.

    What comes right behind a block is joined to it, up to :data:`BLOCK_BYTES`: the engine writes a log line by line,
    and what is done for each block is then done for many lines.
    """
    body = response.content
    while True:
        async with asyncio.timeout(stall):
            block = await body.readany()
        if not block:
            return
        parts, size = [block], len(block)
        while size < BLOCK_BYTES and (more := await _right_behind(body)):
            parts.append(more)
            size += len(more)
        yield b"".join(parts)


async def _right_behind(body: aiohttp.StreamReader) -> bytes:
    """What has come meanwhile; nothing is waited for."""
    for _ in range(2):  # the loop looks at its sockets in the first turn, and hands over what came in the second
        await asyncio.sleep(0)
    return b"" if body.exception() else body.read_nowait()


async def json_lines(response: aiohttp.ClientResponse, stall: float | None = None) -> AsyncIterator[Json]:
    """The JSON messages of a body, one per line."""
    rest = b""
    async for block in blocks(response, stall):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.strip():
                yield _decoded(line)
        if len(rest) > MOST_BYTES_OF_A_MESSAGE:
            raise aiohttp.ClientPayloadError("a message without an end")
    if rest.strip():
        yield _decoded(rest)


def _decoded(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise aiohttp.ClientPayloadError(f"not JSON: {line[:100]!r}") from error
    if not isinstance(message, dict):
        raise aiohttp.ClientPayloadError(f"not a message: {line[:100]!r}")
    return message


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


class _Aborting(ResponseHandler):
    """A connection that is gone when it is closed. aiohttp closes what it gives up (an exchange that was cancelled, a
    body that was not read to its end), and asyncio would keep what is still to be sent until it is taken."""

    def close(self) -> None:
        """Close at once."""
        self.abort()


def _docker_at(url: str) -> aiodocker.Docker:
    if url.startswith("unix://"):
        # Followed logs hold a connection each: with aiohttp's limit of 100 the calls behind them would wait for ever.
        connector = aiohttp.UnixConnector(url.removeprefix("unix://"), limit=0)
        docker = aiodocker.Docker(url="unix://localhost", connector=connector)
    else:
        docker = aiodocker.Docker(url=url)
    # It has no public name; tests/plugins/docker/test_engine_absent.py fails where it changes its meaning.
    docker.connector._factory = partial(_Aborting, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    return docker


def _operating_system_error(error: BaseException | None) -> OSError | None:
    while error is not None:
        inner = getattr(error, "os_error", error)
        if isinstance(inner, OSError) and inner.strerror:
            return inner
        error = error.__cause__ or error.__context__
    return None
