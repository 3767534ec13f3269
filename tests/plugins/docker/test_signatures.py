"""Images that must be signed: by whom, with which algorithms, and everything that is no signature of theirs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree.errors import RooftreeError
from rooftree.interfaces.containers import (
    EngineUnavailable,
    ImageNotFound,
    PullFailed,
    RegistryLoginRefused,
    RegistryRateLimited,
)
from rooftree_docker.engine import DockerEngine
from rooftree_docker.image_reference import AuthInfo, ImageReference
from rooftree_docker.registry import RegistryError, registry_of
from rooftree_docker.signature_check import MOST_SIGNATURES, Doubt
from rooftree_docker.signatures import SignatureRefused, SignedImages, signed_digest
from rooftree_docker.simple_signing import (
    LARGEST_PAYLOAD_BYTES,
    check_payload,
    payload_and_signature,
    signature_layers,
)
from tests.plugins.docker.shelf import ACME, DIGEST, MANIFEST, OTHER, STRANGER, Shelf, check, refusal
from tests.rig.signing import (
    Signer,
    digest_of,
    payload,
    signature_layer,
    signature_tag,
    simple_signature,
)

SIGNERS = {
    "P-256": ACME,
    "P-384": Signer(ec.generate_private_key(ec.SECP384R1())),
    "RSA": Signer(rsa.generate_private_key(65537, 2048)),
    "Ed25519": Signer(ed25519.Ed25519PrivateKey.generate()),
}


@pytest.mark.parametrize("kind", SIGNERS)
async def test_signature_by_the_key_holds_with_each_algorithm(shelf: Shelf, key: Path, kind: str) -> None:
    shelf.sign(SIGNERS[kind])
    key.write_bytes(SIGNERS[kind].public_key)

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("algorithm", [SHA256(), SHA384()])
async def test_p384_signs_with_either_hash(shelf: Shelf, key: Path, algorithm: SHA256 | SHA384) -> None:
    signer, content = SIGNERS["P-384"], payload(shelf.name, DIGEST)
    shelf.put_layers(signature_layer(content, signer.sign(content, algorithm)))
    key.write_bytes(signer.public_key)

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("kind", SIGNERS)
async def test_key_of_another_kind_is_another_key(shelf: Shelf, key: Path, kind: str) -> None:
    for other, signer in SIGNERS.items():
        if other != kind:
            shelf.sign(signer)
            key.write_bytes(SIGNERS[kind].public_key)

            assert await refusal(shelf, key) == "another_key"


async def test_image_without_a_signature_is_unsigned(shelf: Shelf, key: Path) -> None:
    assert await refusal(shelf, key) == "unsigned"

    shelf.put_layers()
    assert await refusal(shelf, key) == "unsigned"

    shelf.put_layers((payload(shelf.name, DIGEST), {"mediaType": "application/vnd.other"}))
    assert await refusal(shelf, key) == "unsigned"


async def test_signature_by_somebody_else_is_refused(shelf: Shelf, key: Path) -> None:
    shelf.sign(STRANGER)

    assert await refusal(shelf, key) == "another_key"


async def test_payload_that_was_changed_after_it_was_signed_is_refused(shelf: Shelf, key: Path) -> None:
    signature = ACME.sign(payload(shelf.name, OTHER))
    shelf.put_layers(signature_layer(payload(shelf.name, DIGEST), signature))

    assert await refusal(shelf, key) == "another_key"


async def test_signature_of_another_image_is_refused_wherever_it_was_put(shelf: Shelf, key: Path) -> None:
    shelf.sign(digest=OTHER)
    assert await refusal(shelf, key) == "another_image"

    for image in ("ghcr.io/acme/hello", shelf.name + "s", shelf.name.removesuffix("/hello"), f"{shelf.name}:2.0",
                  f"{shelf.name}@{OTHER}", f"{shelf.name}:2.0@{DIGEST}"):  # fmt: skip
        shelf.sign(image=image)
        assert await refusal(shelf, key) == "another_image"


@pytest.mark.parametrize("written", ["{name}", "{name}:1.0", "{name}@{digest}", "{name}:1.0@{digest}"])
async def test_signer_may_name_the_tag_and_the_digest_too(shelf: Shelf, key: Path, written: str) -> None:
    shelf.sign(image=written.format(name=shelf.name, digest=DIGEST))

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("named", ["index.docker.io/library/alpine", "docker.io/alpine", "alpine"])
@pytest.mark.parametrize("pulled", ["alpine:3", "docker.io/library/alpine:3", "index.docker.io/library/alpine"])
def test_images_of_docker_hub_have_several_names(named: str, pulled: str) -> None:
    check_payload(payload(named, DIGEST), ImageReference.parse(pulled), DIGEST)

    with pytest.raises(Doubt):
        check_payload(payload(named, DIGEST), ImageReference.parse("someone/alpine:3"), DIGEST)


async def test_one_signature_that_holds_is_enough_among_others(shelf: Shelf, key: Path) -> None:
    good, other = payload(shelf.name, DIGEST), payload(shelf.name, OTHER)
    junk = (b"{}", {"annotations": {}})
    shelf.put_layers(
        junk,
        signature_layer(good, STRANGER.sign(good)),
        signature_layer(other, ACME.sign(other)),
        signature_layer(good, ACME.sign(good)),
    )

    assert await check(shelf, key) == DIGEST


async def test_of_several_signatures_the_one_is_told_that_came_nearest(shelf: Shelf, key: Path) -> None:
    good, other = payload(shelf.name, DIGEST), payload(shelf.name, OTHER)
    layers = [signature_layer(other, ACME.sign(other)), signature_layer(good, STRANGER.sign(good)), (b"{}", {})]
    for reason in ("another_image", "another_key", "unreadable"):
        shelf.put_layers(*layers)

        assert await refusal(shelf, key) == reason
        layers.pop(0)


async def test_no_more_signatures_are_looked_at_than_the_limit(shelf: Shelf, key: Path) -> None:
    good = payload(shelf.name, DIGEST)
    others = [payload(shelf.name, DIGEST, number=number) for number in range(MOST_SIGNATURES)]
    layers = [signature_layer(one, STRANGER.sign(one)) for one in others]
    shelf.put_layers(*layers, signature_layer(good, ACME.sign(good)))
    assert await refusal(shelf, key) == "another_key"

    shelf.put_layers(*layers[1:], signature_layer(good, ACME.sign(good)))
    assert await check(shelf, key) == DIGEST


async def test_payload_beyond_the_limit_is_not_read(shelf: Shelf, key: Path) -> None:
    for length, holds in ((LARGEST_PAYLOAD_BYTES, True), (LARGEST_PAYLOAD_BYTES + 1, False)):
        content = payload(shelf.name, DIGEST).ljust(length)
        shelf.put_layers(signature_layer(content, ACME.sign(content)))

        assert (await check(shelf, key) == DIGEST) if holds else (await refusal(shelf, key) == "unreadable")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"no JSON", b"[]", b"{}", b'{"layers": 7}', b'{"layers": {}}', b"[" * 100_000, b" " * (5 * 1024 * 1024)],
)
async def test_manifest_that_is_none_is_no_signature(shelf: Shelf, key: Path, manifest: bytes) -> None:
    shelf.manifests[signature_tag(DIGEST)] = manifest

    assert await refusal(shelf, key) == "unreadable"


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"annotations": None},
        {"annotations": []},
        {"annotations": {"dev.cosignproject.cosign/signature": 7}},
        {"annotations": {"dev.cosignproject.cosign/signature": "no base64!"}},
        {"annotations": {"dev.cosignproject.cosign/signature": "é"}},
        {"annotations": {"dev.cosignproject.cosign/signature": "A" * 10_000}},
        {"digest": 7},
        {"digest": "sha256:../../../secret"},
        {"digest": OTHER},
    ],
)
async def test_layer_that_is_half_there_is_no_signature(shelf: Shelf, key: Path, told: dict[str, Any]) -> None:
    content, beside = signature_layer(payload(shelf.name, DIGEST), ACME.sign(payload(shelf.name, DIGEST)))
    shelf.put_layers((content, told if "annotations" in told or not told else {**beside, **told}))

    assert await refusal(shelf, key) == "unreadable"


async def test_payload_that_is_not_what_its_digest_says_is_refused(shelf: Shelf, key: Path) -> None:
    shelf.sign()
    signed = digest_of(payload(shelf.name, DIGEST))
    shelf.blobs[signed] += b" "

    assert await refusal(shelf, key) == "unreadable"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"critical": 7}', b'{"critical": {"type": "atomic"}}'])
async def test_signed_nonsense_is_no_signature(shelf: Shelf, key: Path, content: bytes) -> None:
    shelf.put_layers(signature_layer(content, ACME.sign(content)))

    assert await refusal(shelf, key) == "unreadable"


@pytest.mark.parametrize("identity", [None, {}, {"docker-reference": 7}, {"docker-reference": ""}])
async def test_signature_that_names_no_image_is_none(shelf: Shelf, key: Path, identity: object) -> None:
    content = payload(shelf.name, DIGEST, identity=identity)
    shelf.put_layers(signature_layer(content, ACME.sign(content)))

    assert await refusal(shelf, key) == "unreadable"


async def test_image_asked_for_by_digest_is_that_or_nothing(shelf: Shelf, key: Path) -> None:
    shelf.sign()
    assert await check(shelf, key, tag=f":0.9@{DIGEST}") == DIGEST
    assert await check(shelf, key, tag=f"@{DIGEST}") == DIGEST

    shelf.manifests[OTHER] = MANIFEST
    with pytest.raises(RegistryError, match=f"something else than {OTHER}"):
        await check(shelf, key, tag=f":1.0@{OTHER}")


async def test_while_keys_change_either_will_do(shelf: Shelf, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "next.pub"
    other.write_bytes(STRANGER.public_key)
    for signer in (ACME, STRANGER):
        shelf.sign(signer)

        assert await check(shelf, key, other) == DIGEST

    other.unlink()
    assert await refusal(shelf, other, key) == "no_key"


def private(signer: Signer) -> bytes:
    return signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no public key in PEM"),
    "text": (lambda: b"ssh-ed25519 AAAA", "no public key in PEM"),
    "broken": (lambda: ACME.public_key.replace(b"MFk", b"AAA"), "no public key in PEM"),
    "private": (lambda: private(ACME), "a private key"),
    "small": (lambda: Signer(rsa.generate_private_key(65537, 1024)).public_key, "1024 bits"),
    "curve": (lambda: Signer(ec.generate_private_key(ec.SECP521R1())).public_key, "curve secp521r1"),
    "exchange": (
        lambda: x25519.X25519PrivateKey.generate().public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ),
        "none of ECDSA, RSA and Ed25519",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_file_without_a_key_for_signatures_says_what_it_holds(shelf: Shelf, key: Path, kind: str) -> None:
    shelf.sign()
    content, said = UNUSABLE[kind]
    key.write_bytes(content())

    with pytest.raises(SignatureRefused, match=said) as refused:
        await check(shelf, key)

    assert refused.value.extra_fields["reason"] == "no_key"
    assert shelf.asked == []


async def test_key_file_that_is_missing_or_a_folder_is_named(shelf: Shelf, key: Path) -> None:
    shelf.sign()
    key.unlink()
    assert await refusal(shelf, key) == "no_key"

    key.mkdir()
    assert await refusal(shelf, key) == "no_key"


async def test_key_is_read_anew_each_time(shelf: Shelf, key: Path) -> None:
    shelf.sign(STRANGER)
    assert await refusal(shelf, key) == "another_key"

    key.write_bytes(STRANGER.public_key)

    assert await check(shelf, key) == DIGEST


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_registry_that_does_not_say_is_not_taken_for_one_without_signatures(
    shelf: Shelf, key: Path, status: int
) -> None:
    shelf.sign()
    for wanted in ("1.0", signature_tag(DIGEST), digest_of(payload(shelf.name, DIGEST))):
        shelf.statuses = {wanted: status}

        with pytest.raises(RegistryError) as told:
            await check(shelf, key)

        assert told.value.status in {status, 401}


async def test_image_that_is_not_there_is_not_unsigned(shelf: Shelf, key: Path) -> None:
    with pytest.raises(RegistryError) as told:
        await check(shelf, key, tag=":2.0")

    assert told.value.status == 404


async def test_signature_is_found_with_the_login_that_is_stored(shelf: Shelf, key: Path) -> None:
    shelf.sign()
    shelf.accepts = aiohttp.encode_basic_auth("me", "s3cret")

    assert await check(shelf, key, login=AuthInfo("me", "s3cret")) == DIGEST

    for login in (None, AuthInfo("me", "wrong")):
        with pytest.raises(RegistryError) as told:
            await check(shelf, key, login=login)
        assert told.value.status == 401


async def test_registry_may_keep_payloads_elsewhere_where_the_login_is_not_told(shelf: Shelf, key: Path) -> None:
    shelf.sign()
    shelf.accepts = aiohttp.encode_basic_auth("me", "s3cret")
    seen: list[str | None] = []

    async def storage(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=shelf.blobs[request.match_info["wanted"]])

    app = web.Application()
    app.router.add_get("/far/{wanted}", storage)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shelf.elsewhere = f"http://127.0.0.1:{runner.addresses[0][1]}/far/"
    try:
        assert await check(shelf, key, login=AuthInfo("me", "s3cret")) == DIGEST
        assert seen == [None]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/", "file:///etc/passwd#", "http://[::1", ""])
async def test_redirect_that_leads_nowhere_is_no_signature(shelf: Shelf, key: Path, place: str) -> None:
    shelf.sign()
    shelf.elsewhere = place or f"http://127.0.0.1:{shelf.port}/v2/acme/hello/blobs/"

    assert await refusal(shelf, key) == "unreadable"


async def test_registry_that_is_silent_is_given_up(key: Path) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    reference = ImageReference.parse(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}/acme/hello:1.0")

    with pytest.raises(TimeoutError):
        async with registry_of(reference, None, 0.1) as registry:
            await signed_digest(registry, reference, (key,))

    silent.close()
    silent.close_clients()
    await silent.wait_closed()


async def test_registry_that_is_not_there_is_no_verdict(key: Path) -> None:
    reference = ImageReference.parse("127.0.0.1:9/acme/hello:1.0")

    with pytest.raises(aiohttp.ClientConnectionError):
        async with registry_of(reference, None, 10) as registry:
            await signed_digest(registry, reference, (key,))


async def pulling(shelf: Shelf, key: Path, host: str = "127.0.0.1") -> BaseException:
    """What a pull raises on an engine that is not there: whatever it is, the engine was not asked for it."""
    entry = SignedImages(f"{host}:{shelf.port}/", key)
    engine = DockerEngine(
        "unix:///nonexistent/docker.sock",
        data_dir=key.parent,
        instance_id="0" * 32,
        publish=lambda _: None,
        report_pull=lambda registry, error: shelf.asked.append(f"{registry} {error and error.error_key}"),
        signed_images=[entry],
    )
    try:
        with pytest.raises(RooftreeError) as raised:
            async for _ in engine.pull(f"{host}:{shelf.port}/acme/hello:1.0"):
                pass
    finally:
        await engine.close()
    return raised.value


async def test_engine_is_asked_for_nothing_before_the_signature_holds(shelf: Shelf, key: Path) -> None:
    assert isinstance(await pulling(shelf, key), SignatureRefused)

    shelf.sign()
    assert isinstance(await pulling(shelf, key), EngineUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, PullFailed),
        (400, PullFailed),
        (401, RegistryLoginRefused),
        (403, RegistryLoginRefused),
        (404, ImageNotFound),
        (429, RegistryRateLimited),
        (503, EngineUnavailable),  # which is asked whether it has the image
    ],
)
async def test_what_a_registry_refuses_us_is_told_as_what_it_refuses_the_engine(
    shelf: Shelf, key: Path, status: int, kind: type[Exception]
) -> None:
    shelf.statuses["1.0"] = status

    assert type(await pulling(shelf, key)) is kind

    reports = [told for told in shelf.asked if "rate_limit" in told]
    assert len(reports) == (1 if status == 429 else 0)


@pytest.mark.parametrize(
    ("reason", "quote"),
    [
        ('{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow\\ndown, please"}]}', "slow down, please"),
        ('{"errors": [{"message": 7}]}', "HTTP 429"),
        ('{"errors": {}}', "HTTP 429"),
        ("<html>", "HTTP 429"),
        (f'{{"errors": [{{"message": "{"x" * 20_000}"}}]}}', "HTTP 429"),
    ],
)
async def test_registry_that_is_tired_of_us_is_quoted_and_says_when_it_may_be_asked_again(
    shelf: Shelf, key: Path, reason: str, quote: str
) -> None:
    shelf.statuses["1.0"], shelf.reason, shelf.refusal = 429, reason, {"Retry-After": "3"}

    error = await pulling(shelf, key)

    assert isinstance(error, RegistryRateLimited)
    assert error.extra_fields["wait_s"] == 3.0
    assert quote in error.message and "asked again in 3 s" in error.message
    assert len(error.message) < 500


async def test_registry_whose_tls_is_broken_is_not_taken_for_one_that_is_away(shelf: Shelf, key: Path) -> None:
    error = await pulling(shelf, key, host="0.0.0.0")  # our shelf too, but no name of this machine's: TLS is expected

    assert type(error) is PullFailed
    assert "could not be fetched from 0.0.0.0" in error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from([DIGEST, "ghcr.io/acme/hello", "cosign container image signature", "AAAA",
                       "application/vnd.dev.cosign.simplesigning.v1+json"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["critical", "image", "identity", "type", "docker-reference", "docker-manifest-digest",
                         "layers", "mediaType", "digest", "annotations", "dev.cosignproject.cosign/signature"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_registry_sends_is_read_or_doubted(content: bytes) -> None:
    with suppress(Doubt):
        for layer in signature_layers(content):
            with suppress(Doubt):
                payload_and_signature(layer)
    with suppress(Doubt):
        check_payload(content, ImageReference.parse("ghcr.io/acme/hello:1"), DIGEST)


@settings(deadline=None, max_examples=65)
@given(st.binary(max_size=100))
def test_bytes_that_are_no_signature_are_just_that(signature: bytes) -> None:
    layers = signature_layers(simple_signature(ACME, "ghcr.io/acme/hello", DIGEST).manifest)
    layer = {**layers[0], "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}}

    assert payload_and_signature(layer)[1] == signature
