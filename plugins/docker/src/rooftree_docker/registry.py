"""An image's registry, asked by ourselves: for what the engine does not tell, or is not to be trusted with.

The protocol is that of the OCI distribution specification, 1.1. Registries answer 401 with where a token is to be had
(the Docker registry token specification) or with ``Basic``. Every answer is bounded in size and in time, and is taken
as it travels: nothing is unpacked. All questions of one conversation together are bounded in time.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
from attrs import field, frozen
from yarl import URL

from rooftree_docker.image_reference import DOCKER_HUB, AuthInfo, ImageReference
from rooftree_docker.retry_after import seconds_in_header

LARGEST_BYTES: Final = 4 * 1024 * 1024
"""No manifest is longer; the specification asks of registries that they take as much."""
MOST_REDIRECTS: Final = 5
WHOLE_WITHIN_S: Final = 20.0
"""Seconds that an answer may take from its beginning to its end."""
_LONGEST_REASON_BYTES: Final = 16 * 1024
LONGEST_TOKEN: Final = 16 * 1024
"""Characters; the header that it travels in could not be longer anyway."""

_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_HUB_HOST: Final = "registry-1.docker.io"
_PARAMETER: Final = re.compile(r'\b(\w++)="([^"]*+)"')
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class RegistryError(Exception):
    """The registry does not give what it was asked for, or not in words that we know.

    :param status: the HTTP status of its answer; 0 where that is not the reason
    :param wait_s: seconds after which it may be asked again, where it says so
    """

    def __init__(self, reason: str, status: int = 0, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.wait_s = wait_s


class AnswerRefused(RegistryError):
    """The registry gives more than, or something else than, any registry has reason to."""


@frozen
class Content:
    """What a registry sent."""

    raw: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """Of the bytes that came, whatever the registry says that they are."""
        return f"sha256:{hashlib.sha256(self.raw).hexdigest()}"

    def json(self) -> dict[str, Any]:
        """As a JSON object. Raises :class:`RegistryError` where it is none."""
        try:
            content = orjson.loads(self.raw)
        except ValueError:
            raise RegistryError("the answer is no JSON") from None
        if not isinstance(content, dict):
            raise RegistryError("the answer is no object")
        return content


@asynccontextmanager
async def registry_of(reference: ImageReference, login: AuthInfo | None, deadline_s: float) -> AsyncIterator[Registry]:
    """The registry of an image, for some questions.

    What is asked raises :class:`RegistryError`, and where no answer comes ``aiohttp.ClientError`` or ``OSError``; the
    whole raises ``TimeoutError`` after that many seconds.
    """
    async with (
        asyncio.timeout(deadline_s),
        aiohttp.ClientSession(
            trust_env=True,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "rooftree", "Accept-Encoding": "identity"},
        ) as session,
    ):
        yield Registry(session, reference, login)


class Registry:
    """One image's registry."""

    def __init__(self, session: aiohttp.ClientSession, reference: ImageReference, login: AuthInfo | None) -> None:
        self._session = session
        self._login = login
        host, _, name = reference.repository.partition("/")
        host = _HUB_HOST if host == DOCKER_HUB else host
        self._plain = _is_this_machine(host)
        self.address = URL(f"{'http' if self._plain else 'https'}://{host}/v2/{name}")
        """Below which everything of the image lies."""
        self._authorization: str | None = None

    async def manifest(self, wanted: str) -> Content:
        """The manifest, or the index of manifests, that a tag or a digest stands for."""
        return await self._get(
            self.address / "manifests" / wanted, {"Accept": ", ".join(_MANIFESTS)}, LARGEST_BYTES, elsewhere=True
        )

    async def referrers(self, digest: str) -> Content:
        """The index of what refers to a digest.

        Where the registry knows no such question, what lies under the tag that stands in for it ("referrers tag
        schema" of the specification).
        """
        try:
            return await self._get(
                self.address / "referrers" / digest, {"Accept": _MANIFESTS[0]}, LARGEST_BYTES, elsewhere=False
            )
        except RegistryError as error:
            # What registries without it answer differs: 404, 400, 403, 405, a redirect to some page.
            if not 300 <= error.status < 500 or error.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise
        return await self.manifest(digest.replace(":", "-"))

    async def blob(self, digest: str, largest_bytes: int) -> Content:
        """What has that digest, which is checked."""
        content = await self._get(self.address / "blobs" / digest, {}, largest_bytes, elsewhere=True)
        if content.digest != digest:
            raise AnswerRefused(f"the registry sent something else than {digest}")
        return content

    async def _get(self, url: URL, headers: dict[str, str], largest_bytes: int, *, elsewhere: bool) -> Content:
        """:param elsewhere: whether the registry may send us to where it keeps things"""
        for _ in range(2):
            if self._authorization:
                headers["Authorization"] = self._authorization
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED and self._authorization is None:
                    self._authorization = await self._authorized(answer.headers.get("WWW-Authenticate", ""))
                    continue
                if answer.status not in _REDIRECTS or not elsewhere:
                    return await _content(answer, largest_bytes)
                place = _address(answer.headers.get("Location", ""), beside=url)
            return await self._redirected(place, headers, largest_bytes)
        raise RegistryError("the registry refuses us", HTTPStatus.UNAUTHORIZED)

    async def _redirected(self, place: URL, asked: dict[str, str], largest_bytes: int) -> Content:
        for _ in range(MOST_REDIRECTS):
            if not self._may_lead_to(place):
                raise AnswerRefused("the registry sends us to an address without TLS")
            # The authorization is for the registry itself; other addresses bring their own.
            headers = {name: value for name, value in asked.items() if name != "Authorization"}
            if self._authorization and place.origin() == self.address.origin():
                headers["Authorization"] = self._authorization
            async with self._session.get(place, headers=headers, allow_redirects=False) as answer:
                if answer.status not in _REDIRECTS:
                    return await _content(answer, largest_bytes)
                place = _address(answer.headers.get("Location", ""), beside=place)
        raise AnswerRefused(f"the registry sends us on more than {MOST_REDIRECTS} times")

    def _may_lead_to(self, place: URL) -> bool:
        """Without TLS only a registry on this machine leads anywhere, and to this machine only."""
        return place.scheme == "https" or (
            self._plain and place.scheme == "http" and _is_this_machine(place.host_subcomponent or "")
        )

    async def _authorized(self, challenge: str) -> str:
        """The ``Authorization`` that a refusal asks for."""
        scheme, _, rest = challenge.partition(" ")
        basic = aiohttp.encode_basic_auth(self._login.username, self._login.password) if self._login else None
        if scheme.lower() == "basic" and basic is not None:
            return basic
        if scheme.lower() != "bearer":
            raise RegistryError("the registry wants a login", HTTPStatus.UNAUTHORIZED)
        asked = dict(_PARAMETER.findall(rest))
        realm = _address(asked.pop("realm", ""))
        if not self._may_lead_to(realm):
            raise RegistryError("the registry wants the login at an address without TLS", HTTPStatus.UNAUTHORIZED)
        query = {name: value for name, value in asked.items() if name in {"service", "scope"}}
        headers = {"Authorization": basic} if basic else {}
        async with self._session.get(realm.update_query(query), headers=headers, allow_redirects=False) as answer:
            granted = (await _content(answer, LARGEST_BYTES)).json()
        token = granted.get("token") or granted.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > LONGEST_TOKEN:
            raise RegistryError("no token was granted", HTTPStatus.UNAUTHORIZED)
        return f"Bearer {token}"


async def _content(answer: aiohttp.ClientResponse, largest_bytes: int) -> Content:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait_s = seconds_in_header(answer.headers.get("Retry-After", ""), datetime.now(UTC))
        raise RegistryError(f"the registry answered HTTP 429{await _own_words(answer)}", answer.status, wait_s)
    if answer.status != HTTPStatus.OK:
        raise RegistryError(f"the registry answered HTTP {answer.status}", answer.status)
    return await _body(answer, largest_bytes)


async def _own_words(answer: aiohttp.ClientResponse) -> str:
    """Why the registry refuses, as the specification has it said; empty where it does not say."""
    try:
        errors = (await _body(answer, _LONGEST_REASON_BYTES)).json().get("errors")
    except (RegistryError, aiohttp.ClientError, OSError):  # of which TimeoutError is one
        return ""
    first = errors[0] if isinstance(errors, list) and errors else None
    message = first.get("message") if isinstance(first, dict) else None
    return f": {' '.join(message.split())}" if isinstance(message, str) else ""


async def _body(answer: aiohttp.ClientResponse, largest_bytes: int) -> Content:
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise AnswerRefused("the answer is compressed, which nobody has asked for")
    came = bytearray()
    try:
        async with asyncio.timeout(WHOLE_WITHIN_S):
            async for block in answer.content.iter_any():
                came += block
                if len(came) > largest_bytes:
                    raise AnswerRefused(f"the answer is longer than {largest_bytes} bytes")
    except TimeoutError:
        if not came:
            raise
        raise AnswerRefused(f"the answer was not whole after {WHOLE_WITHIN_S:g} s") from None
    return Content(bytes(came))


def _address(text: str, *, beside: URL | None = None) -> URL:
    """An address that the registry names, relative to another one where that is given."""
    try:
        place = beside.join(URL(text)) if beside else URL(text)
        place.origin()
    except ValueError:
        kind = AnswerRefused if beside else RegistryError
        raise kind("the registry names an address that is none") from None
    return place


def _is_this_machine(host: str) -> bool:
    """Whether the engine would talk to that registry without TLS, as it does on loopback."""
    name = host.rpartition(":")[0] or host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
