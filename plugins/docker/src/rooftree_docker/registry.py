"""How much a pull will fetch, asked of the registry itself: the engine tells it only while it pulls.

The protocol is that of the OCI distribution specification, 1.1: a manifest lists an image's layers with their sizes; an
index in front of it has one manifest for each platform. Registries answer 401 with where a token is to be had (the
Docker registry token specification) or with ``Basic``. What can't be found out in time is not known, and no error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Any, Final

import aiohttp
import orjson
import structlog
from yarl import URL

from rooftree_docker.image_reference import DOCKER_HUB, AuthInfo, ImageReference

log = structlog.get_logger(__name__)

DEADLINE_S: Final = 3.0
"""Seconds for all questions together: somebody who looks at a plan waits for the answer, or a job that begins."""
LARGEST_BYTES: Final = 4 * 1024 * 1024
"""No manifest is longer."""

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_HUB_HOST: Final = "registry-1.docker.io"
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


class _Unknown(Exception):
    """The registry does not say, or not in words that we know."""


async def size_of_pull(reference: ImageReference, platform: str, login: AuthInfo | None) -> int | None:
    """Bytes that the image's layers have as they travel, for an engine that has none of them; ``None`` if not known.

    :param platform: as in ``linux/arm64``
    """
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            aiohttp.ClientSession(trust_env=True, headers={"User-Agent": "rooftree"}) as session,
        ):
            return await _Registry(session, reference, login).size(platform)
    except (_Unknown, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.debug("size_of_pull_not_known", image=str(reference), reason=str(error) or type(error).__name__)
        return None


class _Registry:
    """One image's registry."""

    def __init__(self, session: aiohttp.ClientSession, reference: ImageReference, login: AuthInfo | None) -> None:
        self._session = session
        self._login = login
        self._wanted = reference.digest or reference.tag or "latest"
        name = reference.name
        if reference.registry == DOCKER_HUB:
            name = name.removeprefix(f"{DOCKER_HUB}/")
            name, host = name if "/" in name else f"library/{name}", _HUB_HOST
        else:
            name, host = name.removeprefix(f"{reference.registry}/"), reference.registry
        self._plain = _is_this_machine(host)
        self._manifests = URL(f"{'http' if self._plain else 'https'}://{host}/v2/{name}/manifests/")
        self._authorization: str | None = None

    async def size(self, platform: str) -> int:
        manifest = await self._manifest(self._wanted)
        if "manifests" in manifest:
            manifest = await self._manifest(_for_platform(manifest["manifests"], platform))
        parts = [manifest.get("config"), *manifest.get("layers", ())]
        sizes = [part["size"] for part in parts if isinstance(part, dict) and type(part.get("size")) is int]
        if not manifest.get("layers") or len(sizes) != len(parts) or min(sizes) < 0:
            raise _Unknown("the manifest does not tell the sizes of its layers")
        return sum(sizes)

    async def _manifest(self, wanted: str) -> dict[str, Any]:
        headers = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
        for _ in range(2):
            if self._authorization:
                headers["Authorization"] = self._authorization
            async with self._session.get(self._manifests / wanted, headers=headers, allow_redirects=False) as answer:
                if answer.status == 401 and self._authorization is None:
                    self._authorization = await self._authorized(answer.headers.get("WWW-Authenticate", ""))
                    continue
                return await _json(answer)
        raise _Unknown("the registry refuses us")

    async def _authorized(self, challenge: str) -> str:
        """The ``Authorization`` that a refusal asks for."""
        scheme, _, rest = challenge.partition(" ")
        basic = aiohttp.encode_basic_auth(self._login.username, self._login.password) if self._login else None
        if scheme.lower() == "basic" and basic is not None:
            return basic
        asked = dict(_PARAMETER.findall(rest))
        realm = URL(asked.pop("realm", ""))
        if scheme.lower() != "bearer" or (realm.scheme != "https" and not (self._plain and realm.scheme == "http")):
            raise _Unknown("the registry wants a login")
        query = {name: value for name, value in asked.items() if name in {"service", "scope"}}
        headers = {"Authorization": basic} if basic else {}
        async with self._session.get(realm.update_query(query), headers=headers, allow_redirects=False) as answer:
            granted = await _json(answer)
        token = granted.get("token") or granted.get("access_token")
        if not isinstance(token, str):
            raise _Unknown("no token was granted")
        return f"Bearer {token}"


async def _json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    if answer.status != 200:
        raise _Unknown(f"the registry answered {answer.status}")
    content = await answer.content.read(LARGEST_BYTES)
    if not answer.content.at_eof():
        raise _Unknown("the answer is too long")
    found = orjson.loads(content)
    if not isinstance(found, dict):
        raise _Unknown("the answer is no object")
    return found


def _for_platform(manifests: Any, platform: str) -> str:
    """The digest of the manifest for a platform, whatever its variant."""
    system, _, architecture = platform.partition("/")
    for one in manifests if isinstance(manifests, list) else ():
        on = one.get("platform") if isinstance(one, dict) else None
        if isinstance(on, dict) and (on.get("os"), on.get("architecture")) == (system, architecture.partition("/")[0]):
            return str(one.get("digest"))
    raise _Unknown(f"there is none for {platform}")


def _is_this_machine(host: str) -> bool:
    """Whether the engine would talk to that registry without TLS, as it does on loopback."""
    name = host.rpartition(":")[0] or host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
