"""Signatures as cosign 3 stores them: bundles that refer to an image, among whatever else refers to it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree_docker.registry import RegistryError
from rooftree_docker.signature_bundles import (
    LARGEST_BUNDLE_BYTES,
    bundle_in,
    check_statement,
    referrers_to_look_at,
    statement_and_signatures,
)
from rooftree_docker.signature_check import MOST_SIGNATURES, Doubt
from tests.plugins.docker.shelf import ACME, DIGEST, OTHER, STRANGER, Shelf, check, refusal
from tests.rig.signing import BUNDLE, COSIGN_SIGNS, Signer, bundle, envelope, referrers

TAG = DIGEST.replace(":", "-")


def store(shelf: Shelf, *bundles: bytes, media_type: str = BUNDLE, asked: bool = True) -> None:
    """Have bundles refer to our image; ``asked`` for a registry that tells what refers to one."""
    for stored in referrers(DIGEST, *bundles, media_type=media_type):
        shelf.store(stored)
    if asked:
        shelf.indexes[DIGEST] = shelf.manifests.pop(TAG)


@pytest.mark.parametrize("asked", [True, False])
async def test_bundle_by_the_key_holds_wherever_the_registry_lists_it(shelf: Shelf, key: Path, asked: bool) -> None:
    store(shelf, bundle(ACME, DIGEST), asked=asked)

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("status", [302, 303, 400, 401, 403, 404, 405, 406])
async def test_registry_may_not_know_the_question(shelf: Shelf, key: Path, status: int) -> None:
    store(shelf, bundle(ACME, DIGEST), asked=False)
    shelf.statuses[DIGEST] = status

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_registry_that_is_broken_is_not_taken_for_one_without_signatures(
    shelf: Shelf, key: Path, status: int
) -> None:
    shelf.statuses[DIGEST] = status

    with pytest.raises(RegistryError) as told:
        await check(shelf, key)

    assert told.value.status == status


async def test_bundle_is_signed_with_the_hash_that_fits_the_curve(shelf: Shelf, key: Path) -> None:
    signer = Signer(ec.generate_private_key(ec.SECP384R1()))
    key.write_bytes(signer.public_key)
    store(shelf, bundle(signer, DIGEST, algorithm=SHA384()))

    assert await check(shelf, key) == DIGEST


async def test_bundle_by_somebody_else_or_about_another_image_is_refused(shelf: Shelf, key: Path) -> None:
    for content, reason in (
        (bundle(STRANGER, DIGEST), "another_key"),
        (bundle(ACME, OTHER), "another_image"),
        (bundle(ACME, DIGEST, kind="https://slsa.dev/provenance/v1"), "unsigned"),
    ):
        store(shelf, content)

        assert await refusal(shelf, key) == reason


async def test_statement_that_was_changed_after_it_was_signed_is_refused(shelf: Shelf, key: Path) -> None:
    signed, wanted = json.loads(bundle(ACME, OTHER)), json.loads(bundle(ACME, DIGEST))
    signed["dsseEnvelope"]["payload"] = wanted["dsseEnvelope"]["payload"]
    store(shelf, json.dumps(signed).encode())

    assert await refusal(shelf, key) == "another_key"


async def test_signature_of_the_statement_alone_is_none(shelf: Shelf, key: Path) -> None:
    content = json.loads(bundle(ACME, DIGEST))
    statement = base64.b64decode(content["dsseEnvelope"]["payload"])
    content["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(ACME.sign(statement)).decode()
    store(shelf, json.dumps(content).encode())

    assert await refusal(shelf, key) == "another_key"


async def test_older_signature_by_somebody_else_hides_no_bundle(shelf: Shelf, key: Path) -> None:
    shelf.sign(STRANGER)
    store(shelf, bundle(ACME, DIGEST))
    assert await check(shelf, key) == DIGEST

    store(shelf, bundle(STRANGER, DIGEST))
    assert await refusal(shelf, key) == "another_key"


async def test_bundle_is_found_among_what_else_refers_to_the_image(shelf: Shelf, key: Path) -> None:
    others = [f"inventory {number}".encode() for number in range(MOST_SIGNATURES)]
    store(shelf, *others, media_type="application/spdx+json")
    index = json.loads(shelf.indexes[DIGEST])
    assert await refusal(shelf, key) == "unsigned"

    store(shelf, bundle(STRANGER, DIGEST), b"no JSON", bundle(ACME, DIGEST))
    index["manifests"] += json.loads(shelf.indexes[DIGEST])["manifests"]
    shelf.indexes[DIGEST] = json.dumps(index).encode()

    assert await check(shelf, key) == DIGEST


async def test_bundle_is_found_where_the_index_does_not_tell_its_type(shelf: Shelf, key: Path) -> None:
    store(shelf, bundle(ACME, DIGEST))
    index = json.loads(shelf.indexes[DIGEST])
    del index["manifests"][0]["artifactType"]
    shelf.indexes[DIGEST] = json.dumps(index).encode()

    assert await check(shelf, key) == DIGEST


async def test_no_more_bundles_are_looked_at_than_the_limit(shelf: Shelf, key: Path) -> None:
    others = [bundle(STRANGER, DIGEST) for _ in range(MOST_SIGNATURES)]
    store(shelf, *others, bundle(ACME, DIGEST))
    assert await refusal(shelf, key) == "another_key"

    store(shelf, *others[1:], bundle(ACME, DIGEST))
    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messageSignature": {}}',
        b'{"dsseEnvelope": 7}',
        bundle(ACME, DIGEST).ljust(LARGEST_BUNDLE_BYTES + 1),
        envelope(ACME, b"no JSON"),
        envelope(ACME, b"{}", payloadType="application/json"),
        envelope(ACME, b"{}", payload=7),
        envelope(ACME, b"{}", payload="no base64!"),
        envelope(ACME, b"{}", signatures={}),
        envelope(ACME, b"{}", signatures=[{}]),
        envelope(ACME, b"{}", signatures=[{"sig": "A" * 10_000}]),
        envelope(ACME, json.dumps({"predicateType": COSIGN_SIGNS}).encode()),
        envelope(ACME, json.dumps({"predicateType": COSIGN_SIGNS, "subject": [{"digest": 7}]}).encode()),
    ],
)
async def test_bundle_that_is_none_is_no_signature(shelf: Shelf, key: Path, content: bytes) -> None:
    store(shelf, content)

    assert await refusal(shelf, key) == "unreadable"


@pytest.mark.parametrize("kept", [b"no JSON", b"{}", b'{"manifests": 7}'])
async def test_index_that_is_none_is_no_signature(shelf: Shelf, key: Path, kept: bytes) -> None:
    shelf.indexes[DIGEST] = kept

    assert await refusal(shelf, key) == "unreadable"


async def test_referrer_that_is_gone_is_no_signature(shelf: Shelf, key: Path) -> None:
    store(shelf, bundle(ACME, DIGEST))
    (referrer,) = json.loads(shelf.indexes[DIGEST])["manifests"]
    del shelf.manifests[referrer["digest"]]

    assert await refusal(shelf, key) == "unreadable"


KEYS = ["manifests", "digest", "artifactType", "layers", "mediaType", "dsseEnvelope", "payload", "payloadType",
        "signatures", "sig", "subject", "predicateType", "sha256"]  # fmt: skip
WORDS = [DIGEST, DIGEST.removeprefix("sha256:"), BUNDLE, COSIGN_SIGNS, "application/vnd.in-toto+json", "AAAA", "A"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_registry_sends_is_read_or_doubted(content: bytes) -> None:
    for read in (referrers_to_look_at, bundle_in, statement_and_signatures, lambda raw: check_statement(raw, DIGEST)):
        with suppress(Doubt):
            read(content)
