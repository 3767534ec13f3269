"""A client that says exactly what the test says, and answers with everything that came back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from attrs import field, frozen
from yarl import URL

from rooftree.process import System


@frozen
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def envelope(self) -> dict[str, Any]:
        """The body as the envelope; raises ``AssertionError`` when it is none."""
        content = orjson.loads(self.body)
        if not isinstance(content, dict) or content.get("result") not in {"ok", "error"}:
            raise AssertionError(f"this is no envelope: {self.text}")
        return content

    @property
    def data(self) -> Any:
        """The envelope's data; raises ``AssertionError``, with the message, when the answer is an error."""
        if self.status != 200:
            raise AssertionError(f"{self.status}: {self.text}")
        return self.envelope["data"]

    @property
    def message(self) -> str:
        """The sentence of an error; raises ``AssertionError`` when the answer is none."""
        envelope = self.envelope
        if envelope["result"] != "error":
            raise AssertionError(f"this is no error: {self.text}")
        return str(envelope["message"])


class Client:
    """Calls a running system. Made with :meth:`over_tcp` or :meth:`over_unix`, each for ``async with``.

    Paths are sent as they are written, without any normalisation. Redirects are not followed.
    """

    def __init__(self, session: aiohttp.ClientSession, origin: str, token: str | None) -> None:
        self._session = session
        self._origin = origin
        self._token = token

    @classmethod
    @asynccontextmanager
    async def over_tcp(cls, system: System, token: str | None = None) -> AsyncIterator[Client]:
        """A client of the TCP listener; ``token`` is sent with every call that has none of its own."""
        async with aiohttp.ClientSession() as session:
            yield cls(session, f"http://127.0.0.1:{system.port}", token)

    @classmethod
    @asynccontextmanager
    async def over_unix(cls, system: System, token: str | None = None) -> AsyncIterator[Client]:
        """A client of the unix socket: without a token, it is an administrator."""
        connector = aiohttp.UnixConnector(path=str(system.settings.kernel.socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(session, "http://rooftree", token)

    @asynccontextmanager
    async def streaming(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: object = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response as it comes; leaving the block closes the connection.

        :param json: sent as the body, as JSON
        :param body: sent as the body, as it is: bytes, or an async iterator of bytes (chunked)
        """
        sent = dict(headers or {})
        if token or self._token:
            sent["Authorization"] = f"Bearer {token or self._token}"
        if json is not None:
            sent.setdefault("Content-Type", "application/json")
            body = orjson.dumps(json)
        url = URL(self._origin + path, encoded=True)
        async with self._session.request(method, url, data=body, headers=sent, allow_redirects=False) as response:
            try:
                yield response
            finally:
                if not response.content.at_eof():
                    response.close()

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Call, and read the whole answer; options as for :meth:`streaming`."""
        async with self.streaming(method, path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        """POST."""
        return await self.request("POST", path, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path, **options)
