"""Images that must be signed, on the real engine and a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from rooftree.interfaces.containers import BuildFailed, DataPath, ImageNotFound
from rooftree_docker.engine import DockerEngine
from rooftree_docker.signatures import SignatureRefused, SignedImages
from tests.e2e.docker.conftest import MakeDriver
from tests.e2e.docker.test_engine_images import pulled
from tests.rig.engine import Engine
from tests.rig.registry import Registry
from tests.rig.service_process import free_port
from tests.rig.signing import Signer, bundle, digest_in, referrers, simple_signature

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def careful(make_driver: MakeDriver, registry: Registry, signer: Signer, tmp_path: Path) -> DockerEngine:
    """A driver that takes from the registry's ``signed/`` only what ``signer`` signed."""
    key = tmp_path / "acme.pub"
    key.write_bytes(signer.public_key)
    return make_driver(signed_images=[SignedImages(f"{registry.address}/signed/", key)])


def sign(signer: Signer, registry: Registry, name: str, tag: str) -> str:
    """Sign what the registry has under that tag; its digest."""
    digest = digest_in(registry.address, name, tag)
    simple_signature(signer, f"{registry.address}/{name}", digest).upload(registry.address, name)
    return digest


async def test_what_is_signed_is_fetched_by_its_digest_and_gets_its_name(
    careful: DockerEngine, engine: Engine, registry: Registry, signer: Signer
) -> None:
    image = await asyncio.to_thread(registry.publish, "signed/good", "1", "FROM base\nLABEL good=1\n")
    digest = await asyncio.to_thread(sign, signer, registry, "signed/good", "1")

    told = await pulled(careful, image)

    assert told[-1].done == told[-1].total
    kept = engine.run("inspect", "--format", "{{.RepoTags}} {{.RepoDigests}}", image)
    assert kept == f"[{image}] [{registry.address}/signed/good@{digest}]"
    assert await careful.remove_image(image)
    assert digest not in engine.run("images", "--digests", "--all")


async def test_bundle_beside_an_image_signs_it_too(careful: DockerEngine, registry: Registry, signer: Signer) -> None:
    image = await asyncio.to_thread(registry.publish, "signed/bundle", "1", "FROM base\nLABEL bundle=1\n")
    digest = digest_in(registry.address, "signed/bundle", "1")
    for stored in referrers(digest, bundle(signer, digest)):
        stored.upload(registry.address, "signed/bundle")

    await pulled(careful, image)

    assert await careful.remove_image(image)


async def test_what_is_not_signed_or_by_somebody_else_never_reaches_the_engine(
    careful: DockerEngine, engine: Engine, registry: Registry
) -> None:
    for name, reason in (("signed/none", "unsigned"), ("signed/stranger", "another_key")):
        image = await asyncio.to_thread(registry.publish, name, "1", f"FROM base\nLABEL name={name}\n")
        if reason == "another_key":
            await asyncio.to_thread(sign, Signer(), registry, name, "1")

        with pytest.raises(SignatureRefused) as refused:
            await pulled(careful, image)

        assert refused.value.extra_fields == {"image": image, "reason": reason}
        assert engine.run("images", "--quiet", "--all", f"{registry.address}/{name}") == ""


async def test_image_that_was_put_under_the_tag_of_a_signed_one_is_refused(
    careful: DockerEngine, registry: Registry, signer: Signer
) -> None:
    image = await asyncio.to_thread(registry.publish, "signed/moved", "1", "FROM base\nLABEL moved=1\n")
    digest = await asyncio.to_thread(sign, signer, registry, "signed/moved", "1")
    await asyncio.to_thread(registry.publish, "signed/moved", "1", "FROM base\nLABEL moved=2\n")

    with pytest.raises(SignatureRefused, match="has no signature of what it has under that name"):
        await pulled(careful, image)
    await pulled(careful, f"{image}@{digest}")

    found = await careful.image(image)
    assert found is not None and found.labels["moved"] == "1"
    await careful.remove_image(image)


@asynccontextmanager
async def two_faced(registry: Registry, name: str) -> AsyncIterator[str]:
    """A registry that has the image ``1`` for who asks first for its tag, and ``2`` in its place from then on."""
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        path = request.raw_path
        if path == f"/v2/{name}/manifests/1":
            asked += 1
            path = path if asked == 1 else f"/v2/{name}/manifests/2"
        headers = {"Accept": request.headers.get("Accept", "*/*")}
        async with session.get(f"http://{registry.address}{path}", headers=headers) as found:
            kept = {"Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version"}
            told = {key: value for key, value in found.headers.items() if key in kept}
            return web.Response(status=found.status, body=await found.read(), headers=told)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_tag_that_is_moved_after_the_check_does_not_matter(
    make_driver: MakeDriver, engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    name, signer, key = "signed/faces", Signer(), tmp_path / "acme.pub"
    key.write_bytes(signer.public_key)
    for tag in "12":
        await asyncio.to_thread(registry.publish, name, tag, f"FROM base\nLABEL face={tag}\n")
    digest = digest_in(registry.address, name, "1")
    async with two_faced(registry, name) as address:
        image = f"{address}/{name}"
        simple_signature(signer, image, digest).upload(registry.address, name)
        careful = make_driver(signed_images=[SignedImages(f"{address}/", key)])

        try:
            await pulled(careful, f"{image}:1")

            found = await careful.image(f"{image}:1")
            assert found is not None and found.labels["face"] == "1"
        finally:
            engine.remove_images(image)


async def test_build_is_from_the_image_that_was_signed(
    make_driver: MakeDriver, engine: Engine, registry: Registry, data_dir: Path, prefix: str, tmp_path: Path
) -> None:
    name, signer, key = "signed/base", Signer(), tmp_path / "acme.pub"
    key.write_bytes(signer.public_key)
    for tag in "12":
        await asyncio.to_thread(registry.publish, name, tag, f"FROM base\nLABEL face={tag}\n")
    digest = digest_in(registry.address, name, "1")
    (data_dir / "app").mkdir()
    async with two_faced(registry, name) as address:
        image = f"{address}/{name}"
        careful = make_driver(signed_images=[SignedImages(f"{address}/", key)])

        async def build(dockerfile: str) -> None:
            (data_dir / "app" / "Dockerfile").write_text(dockerfile)
            arguments = {"BUILD_FROM": f"{image}:1"}
            async for _ in careful.build(
                f"local/{prefix}x:1", DataPath("app"), dockerfile="Dockerfile", arguments=arguments, labels={}
            ):
                pass

        try:
            with pytest.raises(BuildFailed, match="cannot be told"):
                await build("FROM ${BUILD_FROM}\n")
            with pytest.raises(SignatureRefused, match=rf"{image}:2 must be signed"):
                await build(f"FROM {image}:2\n")
            assert engine.run("images", "--quiet", "--all", image) == ""

            simple_signature(signer, image, digest).upload(registry.address, name)
            await build("ARG BUILD_FROM\nFROM ${BUILD_FROM}\n")

            found = await careful.image(f"local/{prefix}x:1")
            assert found is not None and found.labels["face"] == "1"
        finally:
            await careful.remove_image(f"local/{prefix}x:1")
            engine.remove_images(image)


async def test_other_images_need_no_signature(careful: DockerEngine, registry: Registry) -> None:
    image = await asyncio.to_thread(registry.publish, "free/thing", "1", "FROM base\nLABEL free=1\n")

    await pulled(careful, image)

    assert await careful.remove_image(image)


async def test_image_that_does_not_exist_is_not_found_rather_than_unsigned(
    careful: DockerEngine, registry: Registry
) -> None:
    with pytest.raises(ImageNotFound, match=r"has no image .*signed/nowhere:1"):
        await pulled(careful, f"{registry.address}/signed/nowhere:1")


async def test_registry_that_is_away_leaves_the_image_that_was_checked_before(
    make_driver: MakeDriver, engine: Engine, base_image: str, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    careful = make_driver(signed_images=[SignedImages(f"{address}/", tmp_path / "no.pub")])
    image = f"{address}/thing:1"
    engine.run("tag", base_image, image)
    try:
        with pytest.raises(SignatureRefused, match="cannot be used: No such file"):
            await pulled(careful, image)

        (tmp_path / "no.pub").write_bytes(Signer().public_key)
        assert (await pulled(careful, image))[-1].total > 0
    finally:
        engine.take_name_away(image)
