"""A registry with one image and its signatures, which does what a test wants: what real ones do seldom or never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import field, mutable

from rooftree_docker.image_reference import AuthInfo, ImageReference
from rooftree_docker.registry import registry_of
from rooftree_docker.signatures import SignatureRefused, signed_digest
from tests.rig.signing import Signer, Stored, digest_of, payload, signature_layer, signature_tag

MANIFEST = b'{"schemaVersion": 2, "layers": []}'
DIGEST = digest_of(MANIFEST)
OTHER = digest_of(b"another image")
ACME = Signer()
STRANGER = Signer()


@mutable
class Shelf:
    """A registry on loopback with one image, and what was stored beside it."""

    port: int = 0
    manifests: dict[str, bytes] = field(factory=lambda: {"1.0": MANIFEST, DIGEST: MANIFEST})
    blobs: dict[str, bytes] = field(factory=dict)
    indexes: dict[str, bytes] = field(factory=dict)
    """What it answers to those who ask for the referrers of a digest."""
    statuses: dict[str, int] = field(factory=dict)
    """What is answered instead to those who ask for a manifest or a blob."""
    refusal: dict[str, str] = field(factory=dict)
    """The headers of such an answer."""
    reason: str = ""
    """Its body."""
    accepts: str | None = None
    """The authorization that it wants, if any."""
    elsewhere: str | None = None
    """Where blobs are to be had."""
    asked: list[str] = field(factory=list)
    """Each path."""

    @property
    def name(self) -> str:
        """The image's."""
        return f"127.0.0.1:{self.port}/acme/hello"

    def store(self, stored: Stored) -> None:
        """Have that too."""
        self.manifests[stored.tag] = stored.manifest
        self.blobs |= {digest_of(blob): blob for blob in stored.blobs}

    def sign(self, signer: Signer = ACME, *, image: str | None = None, digest: str = DIGEST) -> None:
        """Have a signature of our image there that says this."""
        content = payload(image or self.name, digest)
        self.put_layers(signature_layer(content, signer.sign(content)))

    def put_layers(self, *layers: Any) -> None:
        """Have these where signatures of our image are."""
        self.store(Stored.of(signature_tag(DIGEST), layers))

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return self.answer(request.match_info["wanted"], self.manifests, request.headers.get("Authorization"))

    async def referrers(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return self.answer(request.match_info["wanted"], self.indexes, request.headers.get("Authorization"))

    async def blob(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        wanted = request.match_info["wanted"]
        if self.elsewhere is not None:
            return web.Response(status=307, headers={"Location": self.elsewhere + wanted})
        return self.answer(wanted, self.blobs, request.headers.get("Authorization"))

    def answer(self, wanted: str, contents: dict[str, bytes], sent: str | None) -> web.Response:
        if self.accepts is not None and sent != self.accepts:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        if wanted in self.statuses:
            return web.Response(status=self.statuses[wanted], headers=self.refusal, text=self.reason)
        found = contents.get(wanted)
        return web.Response(body=found) if found is not None else web.Response(status=404)


@asynccontextmanager
async def open_shelf() -> AsyncIterator[Shelf]:
    """Serve one."""
    made = Shelf()
    app = web.Application()
    app.router.add_get("/v2/acme/hello/manifests/{wanted}", made.manifest)
    app.router.add_get("/v2/acme/hello/referrers/{wanted}", made.referrers)
    app.router.add_get("/v2/acme/hello/blobs/{wanted}", made.blob)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


async def check(shelf: Shelf, *keys: Path, tag: str = ":1.0", login: AuthInfo | None = None) -> str:
    """The digest of the image, if one of the keys signed it."""
    reference = ImageReference.parse(shelf.name + tag)
    async with registry_of(reference, login, 10) as registry:
        return await signed_digest(registry, reference, keys)


async def refusal(shelf: Shelf, *keys: Path, tag: str = ":1.0") -> str:
    """Why the image is refused; the sentence names it too."""
    with pytest.raises(SignatureRefused) as refused:
        await check(shelf, *keys, tag=tag)
    error = refused.value
    assert (error.status, error.error_key) == (400, "image_signature_error")
    assert error.extra_fields["image"] == shelf.name + tag
    assert shelf.name in error.message and str(keys[0]) in error.message
    return str(error.extra_fields["reason"])
