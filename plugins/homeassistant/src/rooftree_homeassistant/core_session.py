"""HTTP and WebSockets to one Core: over its unix socket, on which Core knows who we are, or over TCP with an access
token, which Core gives for a refresh token, for the versions that have no socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from socket import socket as Socket
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from aiohttp import ClientWebSocketResponse
from attrs import field, frozen
from yarl import URL

from rooftree import Clock
from rooftree.interfaces.core import CoreAnswer, CoreUnavailable
from rooftree_homeassistant.core_certificates import CoreCertificates
from rooftree_homeassistant.whereabouts import CoreAddress

WITHIN_S: Final = 30.0
"""Seconds that an answer may take."""
LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024
LARGEST_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Of one WebSocket message of Core's."""
HANDSHAKE_S: Final = 10.0
HEARTBEAT_S: Final = 30.0
_EARLIER_S: Final = 30.0
"""Seconds before a token's end from which a new one is asked for."""
_LONGEST_SOCKET_PATH: Final = 107
"""Bytes; unix(7)."""
_OVER_SOCKET: Final = URL("http://localhost")
_LOGINS: Final = "api/hassio_auth"
"""Where Core, over TCP, listens to nobody who does not come from the address that it knows us by."""
_PATH: Final = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*/?")

type OwnSocket = Callable[[], Awaitable[Socket | None]]
"""Makes a socket that connects from our address on the add-on network; ``None`` where all do, or none can."""


@frozen(kw_only=True)
class CoreAccess:
    """How Core is reached with our own rights just now: for who passes on what others ask of it."""

    url: URL
    """The root of what Core serves; its host means nothing where there is a :attr:`socket`."""
    socket: Path | None
    """The unix socket to connect to."""
    tls: ssl.SSLContext | None
    access_token: str | None = field(repr=False)
    """For ``Authorization: Bearer``; ``None`` on the socket, which needs none."""


class CoreSession:
    """What is open to the Core at one address; made by :meth:`open`, and closed with it.

    Everything raises :class:`~rooftree.interfaces.core.CoreUnavailable` where Core does not answer.
    """

    def __init__(
        self,
        address: CoreAddress,
        socket: Path | None,
        folder: int | None,
        certificates: CoreCertificates,
        clock: Clock,
        own_socket: OwnSocket,
    ) -> None:
        self.address = address
        self._socket = socket
        self._folder = folder
        self._certificates = certificates
        self._clock = clock
        self._own_socket = own_socket
        self._url = _OVER_SOCKET if socket is not None else URL(address.url or "http://localhost")
        self._tls: ssl.SSLContext | None = None
        self._token: str | None = None
        self._token_until = 0.0
        self._asking = asyncio.Lock()
        self._http = _client(aiohttp.UnixConnector(str(socket)) if socket is not None else None)

    @classmethod
    async def open(
        cls, address: CoreAddress, certificates: CoreCertificates, clock: Clock, own_socket: OwnSocket
    ) -> CoreSession:
        """Get ready for the Core at ``address``; nothing is sent yet."""
        socket, folder = address.socket, None
        if socket is not None and len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
            try:
                flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                folder = await asyncio.to_thread(os.open, socket.parent, flags)  # ours: Core and we write there
            except OSError as error:
                raise CoreUnavailable(f"Core's socket is not there: {error.strerror}") from error
            socket = Path(f"/proc/self/fd/{folder}") / socket.name
        return cls(address, socket, folder, certificates, clock, own_socket)

    async def close(self) -> None:
        """End what is open."""
        await self._http.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    async def request(
        self, method: str, path: str, *, content: object | None = None, within_s: float = WITHIN_S
    ) -> CoreAnswer:
        """Call Core's HTTP API; see :meth:`rooftree.interfaces.core.Core.request`.

        Raises ``ValueError`` for a path that is not canonical.
        """
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is no canonical path below Core's root")
        body = None if content is None else orjson.dumps(content)
        try:
            async with asyncio.timeout(within_s):
                answer = await self._exchange(method, path, body)
                if answer.status == HTTPStatus.UNAUTHORIZED and self._token is not None:
                    self._token = None
                    answer = await self._exchange(method, path, body)
                return answer
        except TimeoutError as error:
            raise CoreUnavailable(f"Core did not answer {path} within {within_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def websocket(self) -> tuple[ClientWebSocketResponse, str]:
        """A WebSocket on which Core knows who we are, and Core's version as it says it."""
        try:
            async with asyncio.timeout(WITHIN_S):
                access = await self.access()
                socket = await self._http.ws_connect(
                    self._url / "api/websocket",
                    max_msg_size=LARGEST_MESSAGE_BYTES,
                    heartbeat=HEARTBEAT_S,
                    ssl=access.tls or True,
                )
                try:
                    return socket, await self._introduced(socket, access)
                except BaseException:
                    await socket.close()
                    raise
        except TimeoutError as error:
            raise CoreUnavailable(f"Core's WebSocket did not open within {WITHIN_S:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def access(self) -> CoreAccess:
        """How Core is reached just now; over TCP this may ask Core for an access token, and for its certificate."""
        if self._socket is not None:
            return CoreAccess(url=self._url, socket=self._socket, tls=None, access_token=None)
        async with self._asking:
            if self._token is None or self._clock.monotonic() >= self._token_until:
                await self._ask_for_token()
            return CoreAccess(url=self._url, socket=None, tls=self._tls, access_token=self._token)

    async def _introduced(self, socket: ClientWebSocketResponse, access: CoreAccess) -> str:
        message = await self._message(socket)
        if message.get("type") == "auth_required" and access.access_token is not None:
            await socket.send_json({"type": "auth", "access_token": access.access_token})
            message = await self._message(socket)
        if message.get("type") != "auth_ok":
            self._token = None
            raise CoreUnavailable(f"Core does not take us for its supervisor: {message.get('message', 'no reason')}")
        return str(message.get("ha_version", self.address.version))

    async def _message(self, socket: ClientWebSocketResponse) -> dict[str, Any]:
        async with asyncio.timeout(HANDSHAKE_S):
            frame = await socket.receive()
        try:
            message = orjson.loads(frame.data) if frame.type is aiohttp.WSMsgType.TEXT else None
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            raise CoreUnavailable("Core's WebSocket closed, or does not say what a WebSocket of Core's says first")
        return message

    async def _exchange(self, method: str, path: str, body: bytes | None) -> CoreAnswer:
        access = await self.access()
        headers = {} if body is None else {"Content-Type": "application/json"}
        if access.access_token is not None:
            headers["Authorization"] = f"Bearer {access.access_token}"
        return await self._send(method, path, headers, body)

    async def _send(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> CoreAnswer:
        async with (
            self._client_for(path) as client,
            client.request(
                method, self._url / path, data=body, headers=headers, allow_redirects=False, ssl=self._tls or True
            ) as response,
        ):
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > LARGEST_ANSWER_BYTES:
                    raise CoreUnavailable(f"Core answered {path} with more than {LARGEST_ANSWER_BYTES} bytes")
            return CoreAnswer(status=response.status, content_type=response.content_type, body=bytes(content))

    @contextlib.asynccontextmanager
    async def _client_for(self, path: str) -> AsyncIterator[aiohttp.ClientSession]:
        """What asks for a path: about logins from our own address, on a connection of its own."""
        own = await self._own_socket() if self._socket is None and path.startswith(_LOGINS) else None
        if own is None:
            yield self._http
            return
        spare = [own]
        try:
            async with _client(aiohttp.TCPConnector(socket_factory=lambda _: spare.pop(), force_close=True)) as client:
                yield client
        finally:
            for unused in spare:
                unused.close()

    async def _ask_for_token(self) -> None:
        refresh_token = self.address.refresh_token
        if self.address.url is None or refresh_token is None:
            raise CoreUnavailable("Core has not said yet how it is reached: it does so when it has started")
        form = urlencode({"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()})
        self._tls = await self._certificates.strict() if self._url.scheme == "https" else None
        answer = await self._send_checked("auth/token", form.encode())
        try:
            content = orjson.loads(answer.body) if answer.ok else {}
            self._token, lasts_s = str(content["access_token"]), float(content["expires_in"])
        except (ValueError, KeyError, TypeError):
            raise CoreUnavailable(
                f"Core gave no access token for its refresh token (status {answer.status}); when it has restarted it "
                "says which one is valid"
            ) from None
        self._token_until = self._clock.monotonic() + max(0.0, lasts_s - _EARLIER_S)

    async def _send_checked(self, path: str, form: bytes) -> CoreAnswer:
        """Send what begins every conversation, and with it have Core's certificate checked."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._send("POST", path, headers, form)
        except aiohttp.ClientConnectorCertificateError as error:
            self._tls = self._certificates.lenient(str(error.certificate_error))
            if self._tls is None:
                raise CoreUnavailable(
                    "Core shows a certificate that can't be checked, and had a better one before: "
                    f"{error.certificate_error}. Restart Rooftree if you have changed it on purpose"
                ) from error
            return await self._send("POST", path, headers, form)
        if self._tls is not None and self._tls.verify_mode is ssl.CERT_REQUIRED:
            self._certificates.note_good()
        return answer

    def _unreachable(self, error: Exception) -> CoreUnavailable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            self._token = None  # asking for the next one has the certificate checked anew
        where = "its socket" if self._socket is not None else self.address.url or "its address"
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
        return CoreUnavailable(f"Core does not answer at {where}: {reason}")


def _client(connector: aiohttp.BaseConnector | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "rooftree", "Accept-Encoding": "identity"},
    )
