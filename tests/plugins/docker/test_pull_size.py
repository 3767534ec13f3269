"""How much a pull will fetch, asked of registries of every kind: open, with tokens, with a login, and broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web
from attrs import field, mutable

from rooftree_docker import pull_size, registry
from rooftree_docker.image_reference import AuthInfo, ImageReference
from rooftree_docker.platforms import Platform
from rooftree_docker.pull_size import size_of_pull

AMD64 = Platform("linux", "amd64")

MANIFEST = {"config": {"size": 7}, "layers": [{"size": 1_000}, {"size": 20}]}
INDEX = {
    "manifests": [
        {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}
LOGIN = AuthInfo("me", "s3cret")


@mutable
class Registry:
    """A registry on loopback; ``manifests`` is what it has, by tag or digest."""

    port: int = 0
    manifests: dict[str, Any] = field(factory=lambda: {"1.0": MANIFEST})
    challenge: str | None = None
    """What it answers to those who bring no authorization."""
    accepts: str | None = None
    """The authorization that it takes."""
    asked: list[str] = field(factory=list)
    logins: list[str | None] = field(factory=list)

    @property
    def image(self) -> ImageReference:
        return ImageReference.parse(f"127.0.0.1:{self.port}/some/thing:1.0")

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.challenge and request.headers.get("Authorization") != self.accepts:
            return web.Response(status=401, headers={"WWW-Authenticate": self.challenge.format(port=self.port)})
        found = self.manifests.get(request.match_info["wanted"])
        if isinstance(found, web.Response):
            return found
        return web.json_response(found) if found is not None else web.Response(status=404)

    async def token(self, request: web.Request) -> web.StreamResponse:
        self.logins.append(request.headers.get("Authorization"))
        assert dict(request.query) == {"service": "registry.example", "scope": "repository:some/thing:pull"}
        return web.json_response({"token": "granted"})


@pytest.fixture
async def server() -> AsyncIterator[Registry]:
    made = Registry()
    app = web.Application()
    app.router.add_get("/v2/some/thing/manifests/{wanted}", made.manifest)
    app.router.add_get("/token", made.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


async def test_size_is_that_of_all_layers_and_of_the_description(server: Registry) -> None:
    assert await size_of_pull(server.image, AMD64, None) == 1_027


async def test_long_manifest_is_read_whole(server: Registry) -> None:
    server.manifests["1.0"] = {**MANIFEST, "annotations": {"long": "x" * (registry.LARGEST_BYTES - 1_000)}}

    assert await size_of_pull(server.image, AMD64, None) == 1_027


@pytest.mark.parametrize(
    ("platform", "size"), [("linux/arm64", 50), ("linux/arm64/v8", 50), ("linux/amd64", 1_027), ("linux/s390x", None)]
)
async def test_index_leads_to_the_manifest_of_the_platform(server: Registry, platform: str, size: int | None) -> None:
    arm = {"config": {"size": 0}, "layers": [{"size": 50}]}
    server.manifests = {"1.0": INDEX, "sha256:arm": arm, "sha256:amd": MANIFEST}

    assert await size_of_pull(server.image, Platform.parse(platform), None) == size


TOKEN = 'Bearer realm="http://127.0.0.1:{port}/token",service="registry.example",scope="repository:some/thing:pull"'


@pytest.mark.parametrize("login", [None, LOGIN])
async def test_token_is_fetched_where_the_registry_says_with_the_login_there_is(
    server: Registry, login: AuthInfo | None
) -> None:
    server.challenge, server.accepts = TOKEN, "Bearer granted"

    assert await size_of_pull(server.image, AMD64, login) == 1_027

    assert server.logins == [encode_basic_auth("me", "s3cret") if login else None]


async def test_login_is_sent_to_a_registry_that_wants_one_and_to_no_other(server: Registry) -> None:
    server.challenge, server.accepts = 'Basic realm="test"', encode_basic_auth("me", "s3cret")

    assert await size_of_pull(server.image, AMD64, LOGIN) == 1_027
    assert await size_of_pull(server.image, AMD64, None) is None
    assert await size_of_pull(server.image, AMD64, AuthInfo("me", "wrong")) is None


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Negotiate",
        "Bearer",
        'Bearer realm="ftp://127.0.0.1/token"',
        'Bearer realm="//127.0.0.1/token"',
        'Bearer realm="http://[::1"',
    ],
)
async def test_challenge_that_leads_nowhere_is_followed_nowhere(server: Registry, challenge: str) -> None:
    server.challenge, server.accepts = challenge or " ", "Bearer granted"

    assert await size_of_pull(server.image, AMD64, LOGIN) is None

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"layers": []},
        {"layers": [{"size": -1}], "config": {"size": 3}},
        {"layers": [{"size": "12"}], "config": {"size": 3}},
        {"layers": [{"size": True}], "config": {"size": 3}},
        {"layers": [7], "config": {"size": 3}},
        {"layers": [{"size": 12}]},
        {"manifests": 7},
        {"manifests": [7, {"platform": 7}, {"platform": {"os": "linux", "architecture": "amd64"}}]},
        {"manifests": INDEX["manifests"]},
        web.Response(text="no JSON"),
        web.Response(status=503),
        web.Response(status=302, headers={"Location": "ftp://127.0.0.1/v2/some/thing/manifests/other"}),
        web.Response(status=302, headers={"Location": "http://169.254.169.254/v2/some/thing/manifests/other"}),
        web.Response(status=302, headers={"Location": "/v2/some/thing/manifests/1.0"}),
        web.Response(body=b"[" + b" " * (registry.LARGEST_BYTES + 10) + b"]"),
    ],
)
async def test_answer_that_does_not_tell_is_not_known_and_no_error(server: Registry, answer: object) -> None:
    server.manifests = {"1.0": answer, "other": MANIFEST}

    assert await size_of_pull(server.image, AMD64, None) is None


async def test_registry_that_is_not_there_is_not_known_and_no_error() -> None:
    assert await size_of_pull(ImageReference.parse("127.0.0.1:9/some/thing:1.0"), AMD64, None) is None


async def test_registry_that_does_not_answer_is_given_up_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_size, "DEADLINE_S", 0.1)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]

    async with asyncio.timeout(5):
        image = ImageReference.parse(f"127.0.0.1:{port}/some/thing:1.0")
        assert await size_of_pull(image, AMD64, None) is None

    silent.close()
    silent.close_clients()
    await silent.wait_closed()


@pytest.mark.parametrize(
    ("image", "address"),
    [
        ("alpine:3", "https://registry-1.docker.io/v2/library/alpine"),
        ("docker.io/someone/thing:1", "https://registry-1.docker.io/v2/someone/thing"),
        ("index.docker.io/someone/thing:1", "https://registry-1.docker.io/v2/someone/thing"),
        ("ghcr.io/someone/thing:1", "https://ghcr.io/v2/someone/thing"),
        ("localhost:5000/thing:1", "http://localhost:5000/v2/thing"),
        ("127.9.9.9/thing:1", "http://127.9.9.9/v2/thing"),
    ],
)
def test_registry_is_asked_where_the_engine_would(image: str, address: str) -> None:
    class Session:
        """Nobody asks here."""

    asked = registry.Registry(Session(), ImageReference.parse(image), None)  # type: ignore[arg-type]  # not used

    assert str(asked.address) == address
