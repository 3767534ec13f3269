"""Signatures as cosign 1 and 2 make them (``specs/SIGNATURE_SPEC.md`` of sigstore/cosign).

Under the tag ``sha256-….sig``, named after the image's digest, lies a manifest. Each of its layers is a statement about
an image in the form "simple signing", with the signature of its bytes as an annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from rooftree.errors import Invalid
from rooftree_docker.image_reference import ImageReference
from rooftree_docker.signature_check import (
    DIGEST,
    LONGEST_SIGNATURE,
    MOST_SIGNATURES,
    Doubt,
    Question,
    any_holds,
    decoded,
    fetched,
    parsed,
    table,
    tables,
)

LARGEST_PAYLOAD_BYTES: Final = 64 * 1024

_LAYER: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_TYPE: Final = "cosign container image signature"


async def check_simple_signing(question: Question) -> None:
    """Raise :class:`Doubt` unless a signature of this kind holds."""
    tag = f"{question.digest.replace(':', '-')}.sig"
    manifest = await fetched(question.registry.manifest(tag), missing="unsigned")
    await any_holds(partial(_check_layer, question, layer) for layer in signature_layers(manifest.raw))


async def _check_layer(question: Question, layer: Mapping[str, Any]) -> None:
    digest, signature = payload_and_signature(layer)
    payload = await fetched(question.registry.blob(digest, LARGEST_PAYLOAD_BYTES), missing="unreadable")
    question.signed(payload.raw, signature)  # nothing in the payload is looked at before
    check_payload(payload.raw, question.reference, question.digest)


def signature_layers(manifest: bytes) -> list[Mapping[str, Any]]:
    """The layers with signatures, not more than we look at. Raises :class:`Doubt`."""
    layers = tables(parsed(manifest).get("layers"))
    return [layer for layer in layers if layer.get("mediaType") == _LAYER][:MOST_SIGNATURES]


def payload_and_signature(layer: Mapping[str, Any]) -> tuple[str, bytes]:
    """The digest of a layer's payload, and the signature beside it. Raises :class:`Doubt`."""
    digest = layer.get("digest")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Doubt("unreadable", "its payload has no SHA-256 digest")
    signature = table(layer.get("annotations")).get(_SIGNATURE)
    return digest, decoded(signature, LONGEST_SIGNATURE, f"annotation {_SIGNATURE}")


def check_payload(payload: bytes, reference: ImageReference, digest: str) -> None:
    """Raise :class:`Doubt` unless a payload says that ``reference`` is the image with that digest."""
    critical = table(parsed(payload).get("critical"))
    if critical.get("type") != _TYPE:
        raise Doubt("unreadable", f"its type is not {_TYPE!r}")
    if table(critical.get("image")).get("docker-manifest-digest") != digest:
        raise Doubt("another_image", "another digest")
    told = table(critical.get("identity")).get("docker-reference")
    try:
        named = ImageReference.parse(told if isinstance(told, str) else "")
    except Invalid:
        raise Doubt("unreadable", "it does not name an image") from None
    # Signers seldom name a tag; where one stands there, it is the one that they mean.
    has_tag = str(told).startswith(f"{named.name}:")
    if (
        named.repository != reference.repository
        or (has_tag and reference.tag not in {None, named.tag})
        or named.digest not in {None, digest}
    ):
        raise Doubt("another_image", str(named) if has_tag or named.digest else named.name)
