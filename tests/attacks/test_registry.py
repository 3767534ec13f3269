"""Registries that lie: what they send for a manifest fills nobody's memory, and never reaches the engine."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiodocker.exceptions import DockerError
from aiohttp import web
from attrs import field, mutable

from rooftree.interfaces.containers import Progress
from rooftree_docker import registry as registry_module
from rooftree_docker.engine_client import Deadlines
from rooftree_docker.images import Images
from rooftree_docker.manifest_check import ManifestRefused
from rooftree_docker.signatures import SignaturePolicy
from tests.rig.pace import on_this_machine

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_MEMORY_BYTES = 100 * 1024**2
CONFIG = b'{"architecture": "amd64"}'


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"digest": digest_of(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest_of(b"layer"), "size": 5}],
    }
).encode()


def index(*digests: str, architecture: str = "amd64") -> bytes:
    manifests = [{"digest": digest, "platform": {"os": "linux", "architecture": architecture}} for digest in digests]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


@mutable
class LyingRegistry:
    """Answers as a test wants it to."""

    port: int = 0
    manifests: dict[str, bytes | Handler] = field(factory=dict)
    blobs: dict[str, bytes | Handler] = field(factory=lambda: {digest_of(CONFIG): CONFIG})
    token: Handler | None = None
    challenge: str | None = None

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.port}/acme/evil:1"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind, wanted = request.match_info["kind"], request.match_info["wanted"]
        if self.challenge is not None and "Authorization" not in request.headers:
            return web.Response(
                status=401, headers={"WWW-Authenticate": self.challenge.replace("{port}", str(self.port))}
            )
        content = (self.manifests if kind == "manifests" else self.blobs).get(wanted)
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content) if isinstance(content, bytes) else await content(request)

    async def grant(self, request: web.Request) -> web.StreamResponse:
        assert self.token is not None
        return await self.token(request)


@mutable
class Engine:
    """What the driver asks an engine for; nothing else of one is needed here."""

    pulls: list[str] = field(factory=list)
    tags: list[str] = field(factory=list)

    async def version(self, doing: str) -> dict[str, str]:
        return {"Os": "linux", "Arch": "amd64"}

    @asynccontextmanager
    async def call(self, doing: str, **_: Any) -> AsyncIterator[Any]:
        async def tag(image: str, name: str, *, tag: str) -> None:
            self.tags.append(f"{name}:{tag}")

        async def inspect(image: str) -> dict[str, Any]:
            raise DockerError(404, {"message": f"no such image: {image}"})

        yield SimpleNamespace(images=SimpleNamespace(tag=tag, inspect=inspect))

    @asynccontextmanager
    async def stream(
        self, doing: str, method: str, path: str, *, params: dict[str, str], **_: Any
    ) -> AsyncIterator[Any]:
        self.pulls.append(params["tag"])

        async def nothing() -> bytes:
            return b""

        yield SimpleNamespace(content=SimpleNamespace(readany=nothing))


@pytest.fixture
async def lying() -> AsyncIterator[LyingRegistry]:
    registry = LyingRegistry()
    app = web.Application()
    app.router.add_get("/v2/acme/evil/{kind}/{wanted}", registry.answer)
    app.router.add_get("/token", registry.grant)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    registry.port = runner.addresses[0][1]
    yield registry
    await runner.cleanup()


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def pull(engine: Engine, image: str) -> list[Progress]:
    images = Images(
        engine,  # type: ignore[arg-type]
        Deadlines(stall=5.0, change=5.0),
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        lambda _: None,
        lambda *_: None,
        SignaturePolicy(),
    )
    return [progress async for progress in images.pull(image)]


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    block = b" " * 65536
    while True:
        await response.write(block)


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def bomb(request: web.Request) -> web.StreamResponse:
    content = gzip.compress(b" " * 100_000_000 + MANIFEST)
    return web.Response(body=content, headers={"Content-Encoding": "gzip"})


def redirect(to: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": to})

    return answer


def manifest(**changes: Any) -> bytes:
    return json.dumps({**json.loads(MANIFEST), **changes}).encode()


OTHER = digest_of(b"something else")
LIES: dict[str, dict[str, bytes | Handler]] = {
    "endless manifest": {"1": endless},
    "slow drip": {"1": drip},
    "bomb": {"1": bomb},
    "many layers": {"1": manifest(layers=[{"size": 1}] * 20_000)},
    "deep JSON": {"1": b"[" * 1_000_000},
    "deep object": {"1": b'{"schemaVersion": 2, "manifests":' * 1_000 + b"1" + b"}" * 1_000},
    "no JSON": {"1": b"<html>"},
    "no object": {"1": b"[]"},
    "no configuration": {"1": manifest(config=7)},
    "a path for a configuration": {"1": manifest(config={"digest": "../../../token"})},
    "a path for a manifest": {"1": index("../../../../token")},
    "redirect to a file": {"1": redirect("file:/etc/passwd")},
    "redirect to metadata": {"1": redirect("http://169.254.169.254/latest/meta-data/")},
    "redirect in a circle": {"1": redirect("/v2/acme/evil/manifests/1")},
    "endless for the platform": {"1": index(OTHER), OTHER: endless},
    "something else for the platform": {"1": index(OTHER), OTHER: MANIFEST},
    "many of one platform": {"1": index(*[digest_of(bytes([number])) for number in range(50)])},
    "large index": {"1": index(*[OTHER] * 2_000, architecture="s390x")},
}


@pytest.mark.parametrize("lie", LIES)
async def test_lie_is_refused_by_name_before_the_engine_hears_of_it(
    lie: str, lying: LyingRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "WHOLE_WITHIN_S", 1.0)
    lying.manifests |= LIES[lie]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()

    with pytest.raises(ManifestRefused, match=f"What the registry .* has as {lying.image} was not fetched") as refusal:
        await pull(engine, lying.image)

    assert refusal.value.status == 400 and refusal.value.error_key == "image_manifest_error"
    assert len(refusal.value.message) < 600
    assert not engine.pulls
    assert time.monotonic() - began < 5
    if lie != "bomb":  # whose making takes the memory
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY_BYTES


@pytest.mark.parametrize("blob", [endless, drip, bomb, b"something else", redirect("gopher://127.0.0.1/")])
async def test_configuration_is_looked_at_too(
    blob: bytes | Handler, lying: LyingRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "WHOLE_WITHIN_S", 1.0)
    lying.manifests["1"] = MANIFEST
    lying.blobs[digest_of(CONFIG)] = blob

    with pytest.raises(ManifestRefused):
        await pull(engine, lying.image)

    assert not engine.pulls


@pytest.mark.parametrize("token", [endless, drip, bomb])
async def test_token_without_an_end_is_refused(
    token: Handler, lying: LyingRegistry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "WHOLE_WITHIN_S", 1.0)
    lying.manifests["1"] = MANIFEST
    lying.token = token
    lying.challenge = 'Bearer realm="http://127.0.0.1:{port}/token",service="x"'

    with pytest.raises(ManifestRefused):
        await pull(engine, lying.image)

    assert not engine.pulls


async def test_token_that_would_forge_a_header_is_no_token(lying: LyingRegistry, engine: Engine) -> None:
    async def forged(request: web.Request) -> web.StreamResponse:
        return web.json_response({"token": "x\r\nHost: elsewhere"})

    lying.token = forged
    lying.challenge = 'Bearer realm="http://127.0.0.1:{port}/token"'

    await pull(engine, lying.image)

    assert engine.pulls == ["1"]  # as without a login: the engine is told no by itself


@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer " + "a" * 8000,
        "Bearer " + 'a="' * 2600,
        'Bearer realm="http://169.254.169.254/latest/meta-data/iam"',
        'Bearer realm="file:///etc/passwd"',
    ],
)
async def test_challenge_costs_nothing_and_leads_nowhere(challenge: str, lying: LyingRegistry, engine: Engine) -> None:
    lying.challenge = challenge
    began = time.process_time()

    await pull(engine, lying.image)

    assert time.process_time() - began < on_this_machine(0.5)
    assert engine.pulls == ["1"]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_registry_that_shows_us_nothing_is_left_to_the_engine(
    status: int, lying: LyingRegistry, engine: Engine
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    lying.manifests["1"] = answer

    await pull(engine, lying.image)

    assert engine.pulls == ["1"]


async def test_registry_that_we_cannot_reach_is_left_to_the_engine(engine: Engine) -> None:
    await pull(engine, "127.0.0.1:9/acme/evil:1")

    assert engine.pulls == ["1"]


async def test_engine_gets_what_was_looked_at(lying: LyingRegistry, engine: Engine) -> None:
    whole = index(digest_of(MANIFEST))
    lying.manifests |= {"1": whole, digest_of(MANIFEST): MANIFEST}

    await pull(engine, lying.image)

    assert engine.pulls == [digest_of(whole)]
    assert engine.tags == [lying.image]


async def test_image_of_the_old_form_is_fetched_by_its_tag(lying: LyingRegistry, engine: Engine) -> None:
    lying.manifests["1"] = b'{"schemaVersion": 1, "fsLayers": []}'

    await pull(engine, lying.image)

    assert engine.pulls == ["1"]
