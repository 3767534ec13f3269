"""Signatures of images, made as cosign makes them and kept where it keeps them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
COSIGN_SIGNS = "https://sigstore.dev/cosign/sign/v1"
CONFIG = b'{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}'


def digest_of(content: bytes) -> str:
    """As registries name it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Signer:
    """Somebody with a private key: on P-256, as ``cosign generate-key-pair`` makes it, unless another is given."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | None = None
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> bytes:
        """What is handed out, in PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, content: bytes, algorithm: HashAlgorithm | None = None) -> bytes:
        """A signature; with SHA-256 unless another hash is given."""
        match self.key:
            case ec.EllipticCurvePrivateKey():
                return self.key.sign(content, ec.ECDSA(algorithm or SHA256()))
            case rsa.RSAPrivateKey():
                return self.key.sign(content, padding.PKCS1v15(), algorithm or SHA256())
            case _:
                return self.key.sign(content)


@frozen
class Stored:
    """What a registry is to have: a manifest under a tag or its digest, and its blobs."""

    tag: str
    manifest: bytes
    blobs: tuple[bytes, ...]

    @classmethod
    def of(cls, tag: str, layers: tuple[tuple[bytes, Mapping[str, Any]], ...], **more: Any) -> Stored:
        """With these layers, and what else their descriptors have."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(CONFIG, "application/vnd.oci.image.config.v1+json"),
            "layers": [_descriptor(content, SIMPLE_SIGNING) | dict(told) for content, told in layers],
            **more,
        }
        return cls(tag, json.dumps(manifest).encode(), (CONFIG, *(content for content, _ in layers)))

    def upload(self, address: str, name: str) -> None:
        """Put it into a real registry.

        :param address: host and port
        """
        host, _, port = address.partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            for blob in self.blobs:
                begun = _request(connection, "POST", f"/v2/{name}/blobs/uploads/", b"", 202)
                place = urlsplit(begun)
                _request(connection, "PUT", f"{place.path}?{place.query}&digest={digest_of(blob)}", blob, 201)
            _request(connection, "PUT", f"/v2/{name}/manifests/{self.tag}", self.manifest, 201)
        finally:
            connection.close()


def payload(image: str, digest: str, **critical: object) -> bytes:
    """A statement that ``image`` is what has that digest, as cosign writes it."""
    return json.dumps(
        {
            "critical": {
                "identity": {"docker-reference": image},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
                **critical,
            },
            "optional": None,
        }
    ).encode()


def signature_layer(content: bytes, signature: bytes) -> tuple[bytes, Mapping[str, Any]]:
    """A statement, and the signature beside it."""
    return content, {"annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}}


def simple_signature(signer: Signer, image: str, digest: str) -> Stored:
    """What ``cosign sign --key`` stores: that ``signer`` says that ``image`` is what has that digest."""
    content = payload(image, digest)
    return Stored.of(signature_tag(digest), (signature_layer(content, signer.sign(content)),))


def bundle(signer: Signer, digest: str, *, kind: str = COSIGN_SIGNS, algorithm: HashAlgorithm | None = None) -> bytes:
    """What ``cosign sign --key`` makes from version 3 on: a statement about a digest, in an envelope.

    :param kind: the type of the statement's predicate
    """
    subject = {"digest": dict([digest.split(":")])}
    told = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], "predicateType": kind, "predicate": {}}
    return envelope(signer, json.dumps(told).encode(), algorithm=algorithm)


def envelope(signer: Signer, statement: bytes, *, algorithm: HashAlgorithm | None = None, **more: object) -> bytes:
    """A bundle with that in it.

    :param more: other fields of the envelope
    """
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(statement), statement)
    return json.dumps(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": "acme"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(statement).decode(),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": base64.b64encode(signer.sign(signed, algorithm)).decode()}],
                **more,
            },
        }
    ).encode()


def referrers(digest: str, *bundles: bytes, media_type: str = BUNDLE) -> list[Stored]:
    """The manifests that make these bundles refer to an image, and the index of them under its own tag."""
    made = []
    for content in bundles:
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
        layer = (content, {"mediaType": media_type})
        referrer = Stored.of("", (layer,), artifactType=media_type, subject=subject)
        made.append(Stored(digest_of(referrer.manifest), referrer.manifest, referrer.blobs))
    listed = [_descriptor(one.manifest, OCI_MANIFEST) | {"artifactType": media_type} for one in made]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    return [*made, Stored(digest.replace(":", "-"), json.dumps(index).encode(), ())]


def signature_tag(digest: str) -> str:
    """The tag that signatures of an image lie under."""
    return f"{digest.replace(':', '-')}.sig"


def digest_in(address: str, name: str, tag: str) -> str:
    """The digest of what a real registry has under a tag."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        accepted = f"{OCI_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"
        connection.request("GET", f"/v2/{name}/manifests/{tag}", headers={"Accept": accepted})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return digest_of(content)
    finally:
        connection.close()


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _request(connection: http.client.HTTPConnection, method: str, path: str, body: bytes, expected: int) -> str:
    """Its ``Location``."""
    kind = json.loads(body)["mediaType"] if "/manifests/" in path else "application/octet-stream"
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == expected, f"{method} {path} answered {answer.status}: {said!r}"
    return answer.headers.get("Location", "")
