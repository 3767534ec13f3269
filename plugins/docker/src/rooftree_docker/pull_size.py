"""How much a pull will fetch, asked of the registry itself: the engine tells it only while it pulls.

A manifest lists an image's layers with their sizes; an index in front of it has one manifest for each platform. What
can't be found out in time is not known, and no error.
"""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import structlog

from rooftree_docker.image_reference import AuthInfo, ImageReference
from rooftree_docker.platforms import Platform
from rooftree_docker.registry import Registry, RegistryError, registry_of

log = structlog.get_logger(__name__)

DEADLINE_S: Final = 3.0
"""Seconds for all questions together: somebody who looks at a plan waits for the answer, or a job that begins."""


async def size_of_pull(reference: ImageReference, platform: Platform, login: AuthInfo | None) -> int | None:
    """Bytes that the image's layers have as they travel, for an engine that has none of them; ``None`` if not known."""
    try:
        async with registry_of(reference, login, DEADLINE_S) as registry:
            return await _size(registry, reference.digest or reference.tag or "latest", platform)
    except (RegistryError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.debug("size_of_pull_not_known", image=str(reference), reason=str(error) or type(error).__name__)
        return None


async def _size(registry: Registry, wanted: str, platform: Platform) -> int:
    manifest = (await registry.manifest(wanted)).json()
    if "manifests" in manifest:
        manifest = (await registry.manifest(_for_platform(manifest["manifests"], platform))).json()
    parts = [manifest.get("config"), *manifest.get("layers", ())]
    sizes = [part["size"] for part in parts if isinstance(part, dict) and type(part.get("size")) is int]
    if not manifest.get("layers") or len(sizes) != len(parts) or min(sizes) < 0:
        raise RegistryError("the manifest does not tell the sizes of its layers")
    return sum(sizes)


def _for_platform(manifests: Any, platform: Platform) -> str:
    """The digest of the manifest for a platform, whatever its variant."""
    for manifest in manifests if isinstance(manifests, list) else ():
        on = manifest.get("platform") if isinstance(manifest, dict) else None
        if isinstance(on, dict) and (on.get("os"), on.get("architecture")) == (platform.system, platform.architecture):
            return str(manifest.get("digest"))
    raise RegistryError(f"there is none for {platform}")
