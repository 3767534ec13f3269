"""Add-ons whose images the operator wants signed: installed, and updated only to what the right one signed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitServer
from tests.rig.registry import Registry
from tests.rig.signing import Signer, digest_in, simple_signature

pytestmark = pytest.mark.xdist_group("updates")

NAME = "acme/signed"


async def test_update_that_somebody_else_signed_is_refused_and_the_old_version_runs_on(
    engine: Engine, registry: Registry, git_server: GitServer, tmp_path: Path
) -> None:
    acme, stranger = Signer(), Signer()
    key = tmp_path / "acme.pub"
    key.write_bytes(acme.public_key)
    image = f"{registry.address}/{NAME}"

    def publish(version: str, signer: Signer) -> None:
        registry.publish(NAME, version, DOCKERFILE.format(version=version), {"run.sh": WAITS})
        sign(version, signer)

    def sign(version: str, signer: Signer) -> None:
        simple_signature(signer, image, digest_in(registry.address, NAME, version)).upload(registry.address, NAME)

    await asyncio.to_thread(publish, "1.0", acme)
    await asyncio.to_thread(publish, "2.0", stranger)
    repository = git_server.repository("signed", {**REPOSITORY, **addon_files("signed", image=image)})
    policy = (
        "[[plugins.docker.signed_images]]",
        f'images = "{registry.address}/acme/"',
        f"key = {json.dumps(str(key))}",
    )
    async with disposable_daemon(engine, docker=policy) as daemon:
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        listed = (await daemon.ok("GET", "/store"))["addons"]
        addon = Addon(daemon, engine, next(one["slug"] for one in listed if one["slug"].endswith("signed")))
        await addon.install()
        await addon.start()
        container = addon.container_id()
        repository.write(addon_files("signed", "2.0", image=image))
        repository.push()
        await daemon.ok("POST", "/store/reload")
        before = await Footprint.of(daemon, engine, registry=registry.address)

        status, refusal = await daemon.call("POST", f"/store/addons/{addon.slug}/update", {})

        assert (status, refusal["error_key"]) == (400, "image_signature_error")
        assert refusal["extra_fields"]["reason"] == "another_key"
        assert f"{image}:2.0 must be signed with {key}" in refusal["message"]
        assert await Footprint.of(daemon, engine, registry=registry.address) == before
        assert (addon.container_id(), addon.runs(), addon.variable("VERSION")) == (container, True, "1.0")
        assert (await addon.info())["version"] == "1.0"

        await asyncio.to_thread(sign, "2.0", acme)
        await addon.update()
        assert addon.variable("VERSION") == "2.0"
