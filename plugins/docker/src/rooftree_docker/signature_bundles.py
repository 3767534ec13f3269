"""Signatures as cosign 3 makes them: bundles (sigstore's protobuf-specs, version 0.3) that refer to the image's digest.

A bundle holds an envelope (DSSE, secure-systems-lab) with a statement (in-toto) whose subject is the digest, and which
is of cosign's own kind: attestations come in bundles too, and say something else of an image than that it is meant to
be used. The statement names a digest and no image, so it holds under whatever name the digest is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

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

LARGEST_BUNDLE_BYTES: Final = 512 * 1024
"""It may have the log's entries and proofs in it, which we have no use for."""

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
"""What the media types of all their versions begin with."""
_STATEMENT: Final = "application/vnd.in-toto+json"
_SIGNS: Final = "https://sigstore.dev/cosign/sign/v1"
"""The kind of statement that ``cosign sign`` makes."""


async def check_bundles(question: Question) -> None:
    """Raise :class:`Doubt` unless a signature of this kind holds."""
    index = await fetched(question.registry.referrers(question.digest), missing="unsigned")
    await any_holds(partial(_check_referrer, question, digest) for digest in referrers_to_look_at(index.raw))


async def _check_referrer(question: Question, referrer: str) -> None:
    manifest = await fetched(question.registry.manifest(referrer), missing="unreadable")
    bundle = await fetched(question.registry.blob(bundle_in(manifest.raw), LARGEST_BUNDLE_BYTES), missing="unreadable")
    statement, signatures = statement_and_signatures(bundle.raw)
    await any_holds(partial(_check_statement, question, statement, signature) for signature in signatures)


async def _check_statement(question: Question, statement: bytes, signature: bytes) -> None:
    # What is signed is the statement with its type and their lengths ("PAE"), so that neither passes for another.
    question.signed(
        b"DSSEv1 %d %s %d %s" % (len(_STATEMENT), _STATEMENT.encode(), len(statement), statement), signature
    )
    check_statement(statement, question.digest)


def referrers_to_look_at(index: bytes) -> list[str]:
    """The digests of what may be bundles, those first that say so, and not more than we look at. Raises
    :class:`Doubt`."""
    manifests = [manifest for manifest in tables(parsed(index).get("manifests")) if _is_digest(manifest.get("digest"))]
    # Not every client repeats the type in the index, so the others are not left out.
    manifests.sort(key=lambda manifest: not str(manifest.get("artifactType")).startswith(_BUNDLE))
    return [manifest["digest"] for manifest in manifests[:MOST_SIGNATURES]]


def bundle_in(manifest: bytes) -> str:
    """The digest of the bundle that a manifest is about. Raises :class:`Doubt`."""
    for layer in tables(parsed(manifest).get("layers", [])):
        if str(layer.get("mediaType")).startswith(_BUNDLE) and _is_digest(layer.get("digest")):
            return str(layer["digest"])
    raise Doubt("unsigned")  # something else that refers to the image


def statement_and_signatures(bundle: bytes) -> tuple[bytes, list[bytes]]:
    """The statement in a bundle's envelope, and its signatures. Raises :class:`Doubt`."""
    envelope = table(parsed(bundle).get("dsseEnvelope"))
    if envelope.get("payloadType") != _STATEMENT:
        raise Doubt("unreadable", f"its type is not {_STATEMENT!r}")
    signatures: list[Mapping[str, Any]] = tables(envelope.get("signatures"))[:MOST_SIGNATURES]
    return (
        decoded(envelope.get("payload"), LARGEST_BUNDLE_BYTES, "payload"),
        [decoded(signature.get("sig"), LONGEST_SIGNATURE, "signature") for signature in signatures],
    )


def check_statement(statement: bytes, digest: str) -> None:
    """Raise :class:`Doubt` unless a statement signs the image with that digest."""
    told = parsed(statement)
    if told.get("predicateType") != _SIGNS:
        raise Doubt("unsigned")  # it is said to be built, scanned or described
    if not any(_has_digest(subject, digest) for subject in tables(told.get("subject"))):
        raise Doubt("another_image", "another digest")


def _has_digest(subject: Mapping[str, Any], digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return table(subject.get("digest")).get(algorithm) == value


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None
