"""Images that must be signed, on the real engine and a real registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rooftree.interfaces.containers import ImageNotFound
from rooftree_docker.engine import DockerEngine
from rooftree_docker.signatures import SignatureRefused, SignedImages
from tests.e2e.docker.conftest import MakeDriver
from tests.e2e.docker.test_engine_images import pulled
from tests.e2e.rig.engine import Engine
from tests.e2e.rig.registry import Registry
from tests.e2e.rig.service_process import free_port
from tests.e2e.rig.signing import Signer, digest_in, simple_signature

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
        engine.run("rmi", image)
