"""The client of Core: one WebSocket that is kept open while Core runs, and its HTTP API.

Core is reached as soon as it says that it runs and its WebSocket is open, and is lost when that closes; both are
events. It is tried again with growing pauses, and at once when Core is somewhere else than before (:meth:`look_again`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from socket import socket as Socket
from typing import Any, Final

import orjson
import structlog
from aiohttp import ClientWebSocketResponse
from attrs import field, frozen

from rooftree import Kernel, Secret
from rooftree.interfaces.containers import OWN_ADDRESS
from rooftree.interfaces.core import (
    CoreAnswer,
    CoreLost,
    CoreReached,
    CoreRefused,
    CoreUnavailable,
    CoreUser,
)
from rooftree_homeassistant.core_certificates import CoreCertificates
from rooftree_homeassistant.core_session import WITHIN_S, CoreAccess, CoreSession
from rooftree_homeassistant.core_socket import CoreEventListener, CoreSocket
from rooftree_homeassistant.core_state import CoreHttpConfig, CoreState
from rooftree_homeassistant.whereabouts import CoreAddress, CoreWhereabouts

log = structlog.get_logger(__name__)

PAUSES_S: Final = (1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 10.0, 10.0, 15.0, 30.0)
"""Pauses between tries; the last is repeated. A Core takes half a minute to start, on slow machines some minutes."""

_NOT_RUNNING: Final = "Core does not run"
_NOT_REACHED: Final = "Core's API is not there: it does not run, or is still starting"


@frozen
class _Place:
    """What tells one way to a Core from another: while it stays the same, what is open can stay open."""

    container_id: str
    socket: str | None
    url: str | None = None
    refresh_token: Secret | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: CoreAddress) -> _Place:
        if address.socket is not None:
            return cls(address.container_id, str(address.socket))
        return cls(address.container_id, None, address.url, address.refresh_token)


class CoreClient:
    """Core, for all who ask it something; see :class:`rooftree.interfaces.core.Core`.

    :param whereabouts: knows where Core is
    """

    def __init__(self, kernel: Kernel, whereabouts: CoreWhereabouts) -> None:
        self._kernel = kernel
        self._whereabouts = whereabouts
        self._certificates = CoreCertificates(kernel.data.path / "ssl")
        self._session: CoreSession | None = None
        self._opening = asyncio.Lock()
        self._socket: CoreSocket | None = None
        self._version: str | None = None
        self._listeners: dict[str, CoreEventListener] = {}
        self._moved = asyncio.Event()
        self._failures = 0

    # --- for everybody -----------------------------------------------------------------------------------------------

    @property
    def answers(self) -> bool:
        """Whether Core's API was there when it was last asked; from memory."""
        return self._socket is not None

    @property
    def version(self) -> str | None:
        """The version that Core said it was; ``None`` while it does not answer."""
        return self._version

    async def request(
        self, method: str, path: str, *, content: object | None = None, within_s: float = WITHIN_S
    ) -> CoreAnswer:
        """Call Core's HTTP API with our own rights; it need not have started altogether for that.

        Raises :class:`CoreUnavailable`, and ``ValueError`` for a path that is not canonical.
        """
        session = await self._open_session()
        return await session.request(method, path, content=content, within_s=within_s)

    async def command(self, kind: str, /, *, within_s: float = WITHIN_S, **fields: Any) -> Any:
        """Send a command through Core's WebSocket and wait for its result.

        Raises :class:`CoreRefused`, and :class:`CoreUnavailable`.
        """
        if self._socket is None:
            raise CoreUnavailable(_NOT_REACHED)
        return await self._socket.command(kind, fields, within_s)

    async def users(self) -> Sequence[CoreUser]:
        """Core's users, those that Core made for itself left out."""
        rows = await self.command("config/auth/list")
        people = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [_user(row) for row in people if row.get("system_generated") is not True]

    async def access(self) -> CoreAccess:
        """How Core is reached with our own rights just now, for who proxies what others ask; raises
        :class:`CoreUnavailable`. Ask for it anew for each exchange."""
        return await (await self._open_session()).access()

    async def websocket(self) -> tuple[ClientWebSocketResponse, str]:
        """Another WebSocket with our own rights, for who proxies what others say, and Core's version as it says it.
        Who gets it closes it. Raises :class:`CoreUnavailable`."""
        return await (await self._open_session()).websocket()

    def listen(self, event_type: str, listener: CoreEventListener) -> None:
        """Have ``listener`` called with the data of each event of Core's of a type, whenever Core is there. To be
        called before :meth:`run`."""
        self._listeners[event_type] = listener

    # --- for who looks after Core ------------------------------------------------------------------------------------

    async def state(self) -> CoreState:
        """Where Core is on its way; raises :class:`CoreUnavailable`."""
        answer = await self.request("GET", "api/core/state")
        if not answer.ok:  # of before 2023.8, and of one that has not got so far
            answer = await self.request("GET", "api/config")
        return CoreState.of(_content(answer, "api/core/state"))

    async def config(self) -> Mapping[str, Any]:
        """Core's configuration: ``version``, ``components``, ``recovery_mode`` … Raises :class:`CoreUnavailable`."""
        return _content(await self.request("GET", "api/config"), "api/config")

    async def http_config(self) -> CoreHttpConfig | None:
        """How Core's web server is set; ``None`` for a Core that does not tell. Raises :class:`CoreUnavailable`."""
        answer = await self.request("GET", "api/core/http_config")
        return CoreHttpConfig.of(_content(answer, "api/core/http_config")) if answer.ok else None

    def look_again(self) -> None:
        """Core may be somewhere else, or gone: to be called when something of its container changed."""
        self._moved.set()

    async def run(self) -> None:
        """Keep the connection; for a task of the plugin."""
        try:
            while True:
                self._moved.clear()
                address = self._whereabouts.address()
                try:
                    if address is not None:
                        await self._follow(address)
                    else:
                        await self._close_session()
                except (CoreUnavailable, CoreRefused) as error:
                    log.debug("core_not_reached", reason=error.message)
                await self._pause()
        finally:
            await self._close_session()

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _follow(self, address: CoreAddress) -> None:
        """Be connected to the Core at ``address`` until that is over; raises where it can't be."""
        state = await self.state()
        if not state.runs:
            raise CoreUnavailable(f"Core is {state.state}")
        raw, version = await (await self._open_session()).websocket()
        socket = CoreSocket(raw)
        place = _Place.of(address)
        receiving = asyncio.create_task(socket.receive(), name="receive from Core")
        try:
            for event_type, listener in self._listeners.items():
                await socket.subscribe(event_type, listener, WITHIN_S)
            self._socket, self._version, self._failures = socket, version, 0
            log.info("core_reached", version=version)
            self._kernel.publish(CoreReached(version))
            await self._until_over(receiving, place)
        finally:
            if self._socket is socket:
                self._socket = self._version = None
                log.info("core_lost", version=version)
                self._kernel.publish(CoreLost())
            await socket.close()
            receiving.cancel()
            await asyncio.wait({receiving})

    async def _until_over(self, receiving: asyncio.Task[None], place: _Place) -> None:
        """Return when the WebSocket is closed, or Core is not at ``place`` any more."""
        while not receiving.done():
            moved = asyncio.create_task(self._moved.wait(), name="look where Core is")
            try:
                await asyncio.wait({receiving, moved}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()
            self._moved.clear()
            address = self._whereabouts.address()
            if address is None or _Place.of(address) != place:
                return

    async def _pause(self) -> None:
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        if await self._kernel.clock.wait(self._moved, pause_s):
            self._failures = 0

    async def _open_session(self) -> CoreSession:
        async with self._opening:
            address = self._whereabouts.address()
            if address is None:
                raise CoreUnavailable(_NOT_RUNNING)
            session = self._session
            if session is not None and _Place.of(session.address) == _Place.of(address):
                return session
            self._session = None
            if session is not None:
                await session.close()
            self._session = await CoreSession.open(address, self._certificates, self._kernel.clock, self._own_socket)
            return self._session

    async def _own_socket(self) -> Socket | None:
        own_address = self._kernel.find(OWN_ADDRESS)
        return await own_address.own_socket() if own_address is not None else None

    async def _close_session(self) -> None:
        async with self._opening:
            session, self._session = self._session, None
            if session is not None:
                with contextlib.suppress(OSError):
                    await session.close()


def _content(answer: CoreAnswer, path: str) -> Mapping[str, Any]:
    """The JSON object of an answer; raises :class:`CoreUnavailable` where it is none."""
    try:
        content = orjson.loads(answer.body) if answer.ok else None
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise CoreUnavailable(f"Core answered {path} with status {answer.status} and nothing that says how it is")
    return content


def _user(row: Mapping[str, Any]) -> CoreUser:
    username, name, groups = row.get("username"), row.get("name"), row.get("group_ids")
    return CoreUser(
        id=str(row.get("id", "")),
        name=None if name is None else str(name),
        username=None if username is None else str(username),
        is_owner=row.get("is_owner") is True,
        is_active=row.get("is_active") is True,
        local_only=row.get("local_only") is True,
        group_ids=tuple(map(str, groups if isinstance(groups, list) else ())),
    )
