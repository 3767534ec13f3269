"""An image's manifests, looked at by ourselves before the engine reads them.

The engine reads what a registry sends until it ends: an endless manifest or configuration fills its memory, and takes
every container of the host down with it. So they are fetched here first, with limits, and the engine is told the digest
of what was seen.

Only what a registry *gives* is refused. A registry that we can't talk to (no connection, no trust in its certificate,
no login, an error) is left to the engine, whose own settings may know a way: mirrors, registries without TLS,
certificates and proxies are the operator's to set there, and such pulls worked before. Nothing is lost by that: a
registry that treats us and the engine differently could as well show us something good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from rooftree.interfaces.containers import PullFailed
from rooftree_docker.image_reference import ImageReference
from rooftree_docker.platforms import Platform
from rooftree_docker.registry import LARGEST_BYTES, AnswerRefused, Content, Registry, RegistryError
from rooftree_docker.signature_check import DIGEST

MOST_MANIFESTS: Final = 1000
"""In an index: platforms, and what is known about each."""
MOST_OF_A_PLATFORM: Final = 8
"""Manifests for one platform: its variants. The engine may choose any of them."""
MOST_LAYERS: Final = 500
"""Engines stop at 127."""


class ManifestRefused(PullFailed):
    """What the registry has as the image is nothing that the engine can be given. ``extra_fields``: ``image``."""

    status = 400
    error_key = "image_manifest_error"


def refused(reference: ImageReference, error: AnswerRefused) -> ManifestRefused:
    """The error for a pull that is not even begun."""
    return ManifestRefused(
        f"What the registry {reference.registry} has as {reference} was not fetched: {error}. "
        "Tell whoever offers the image",
        image=str(reference),
    )


@frozen
class CheckedManifest:
    """What the registry has, once all that the engine will read of it was read."""

    digest: str | None
    """``None`` for one in a form of old, which is not known by the digest of what travels (Docker's schema 1)."""
    made_for: Platform | None = None
    """``None`` for an index, from which the engine chooses."""


async def checked_manifest(registry: Registry, wanted: str, platform: Platform) -> CheckedManifest:
    """What ``wanted`` (a tag or a digest) stands for.

    Raises :class:`AnswerRefused`, and what :func:`~rooftree_docker.registry.registry_of` names.
    """
    content = await registry.manifest(wanted)
    if DIGEST.fullmatch(wanted) and content.digest != wanted:
        raise AnswerRefused(f"the registry sent something else than {wanted}")
    manifest = _object(content)
    if manifest.get("schemaVersion") != 2:
        return CheckedManifest(None)
    if "manifests" not in manifest:
        configuration = await _checked_configuration(registry, manifest)
        return CheckedManifest(content.digest, _made_for(configuration))
    for digest in _of_platform(manifest["manifests"], platform):
        below = await registry.manifest(digest)
        if below.digest != digest:
            raise AnswerRefused(f"the registry sent something else than {digest}")
        await _checked_configuration(registry, _object(below))
    return CheckedManifest(content.digest)


def _made_for(configuration: Content) -> Platform | None:
    try:
        return Platform.of(configuration.json(), "os", "architecture", "variant")
    except RegistryError:  # what is no image has a configuration of its own; the engine says so
        return None


async def _checked_configuration(registry: Registry, manifest: Mapping[str, Any]) -> Content:
    """The configuration that a manifest of one platform names. Raises :class:`AnswerRefused` for a manifest that the
    engine should not see."""
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise AnswerRefused("its manifest has no list of layers")
    if len(layers) > MOST_LAYERS:
        raise AnswerRefused(f"it has {len(layers)} layers; at most {MOST_LAYERS} are fetched")
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise AnswerRefused("its manifest names no configuration")
    return await registry.blob(digest, LARGEST_BYTES)


def _object(content: Content) -> Mapping[str, Any]:
    try:
        return content.json()
    except RegistryError as error:
        raise AnswerRefused(f"its manifest cannot be read: {error}") from None


def _of_platform(manifests: Any, platform: Platform) -> list[str]:
    """The digests of an index that the engine may choose from."""
    if not isinstance(manifests, list) or len(manifests) > MOST_MANIFESTS:
        raise AnswerRefused(f"its index is no list of at most {MOST_MANIFESTS} manifests")
    digests = [
        entry.get("digest")
        for entry in manifests
        if isinstance(entry, dict)
        and isinstance(on := entry.get("platform"), dict)
        and (on.get("os"), on.get("architecture")) == (platform.system, platform.architecture)
    ]
    if len(digests) > MOST_OF_A_PLATFORM:
        raise AnswerRefused(f"its index has more than {MOST_OF_A_PLATFORM} manifests for {platform}")
    checked = [digest for digest in digests if isinstance(digest, str) and DIGEST.fullmatch(digest)]
    if len(checked) != len(digests):
        raise AnswerRefused("its index names a manifest by something else than its digest")
    return checked
