"""Registries that want a login, are tired of us, or do not answer, as the real engine reports them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiodocker
import pytest

from rooftree.interfaces.containers import DataPath, PullFailed, RegistryLoginRefused, RegistryRateLimited
from rooftree_docker.image_reference import AuthInfo
from tests.e2e.docker.conftest import IMPATIENT, MakeDriver
from tests.rig.engine import Engine
from tests.rig.engine_connection import engine_url
from tests.rig.service_process import ServiceProcess, free_port

pytestmark = pytest.mark.docker

LOGIN = AuthInfo("me", "s3cret")
HTPASSWD = "me:$2b$04$RxKXOSGV.qixgoDTl1CQ.eg79IlOkBsZ8Dmf3iOtZxGkAPPoM0Lu2\n"
CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:{port}", secret: {secret}}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


@pytest.fixture(scope="module")
def private_image(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image that only those with :data:`LOGIN` may fetch."""
    folder, port = tmp_path_factory.mktemp("private"), free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIGURATION.format(folder=folder, port=port, secret=secrets.token_hex()))
    image = f"127.0.0.1:{port}/private:1"

    async def publish() -> None:
        async with aiodocker.Docker(url=engine_url()) as docker:
            await docker.images.tag(base_image, image.removesuffix(":1"), tag="1")
            name, login = image.removesuffix(":1"), {"username": LOGIN.username, "password": LOGIN.password}
            await docker.images.push(name, tag="1", auth=login)
            await docker.images.delete(image)

    with ServiceProcess(["docker-registry", "serve", folder / "config.yml"], port=port, log=folder / "log"):
        asyncio.run(publish())
        yield image
        engine.remove_images(image.removesuffix(":1"))


@asynccontextmanager
async def registry_that_answers(answer: bytes | None) -> AsyncIterator[str]:
    """A registry with one answer to everything, or none; its address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()
        elif await reader.read(1) != b"\x16":  # the engine tries TLS first
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        server.close_clients()
        await server.wait_closed()


async def test_size_of_a_private_image_is_told_to_those_with_a_login(
    make_driver: MakeDriver, private_image: str
) -> None:
    with_login = make_driver(login_for=lambda registry: LOGIN if registry in private_image else None)

    size = await with_login.size_of_pull(private_image)

    assert size is not None and size > 1_000
    assert await make_driver().size_of_pull(private_image) is None


async def pull(make_driver: MakeDriver, image: str, login: AuthInfo | None = None) -> None:
    driver = make_driver(login_for=lambda registry: login if registry in image else None, deadlines=IMPATIENT)
    async for _ in driver.pull(image):
        pass


async def test_stored_login_is_used(make_driver: MakeDriver, private_image: str) -> None:
    await pull(make_driver, private_image, LOGIN)

    assert await make_driver().remove_image(private_image)


async def test_missing_login_is_asked_for(make_driver: MakeDriver, private_image: str) -> None:
    with pytest.raises(RegistryLoginRefused, match="Store a login"):
        await pull(make_driver, private_image)


async def test_wrong_login_is_told_and_never_shown(make_driver: MakeDriver, private_image: str) -> None:
    with pytest.raises(RegistryLoginRefused, match="Correct the stored login") as refused:
        await pull(make_driver, private_image, AuthInfo("me", "wr0ng"))

    assert "wr0ng" not in refused.value.message


async def test_build_logs_in_for_its_base_image(
    make_driver: MakeDriver, private_image: str, data_dir: Path, prefix: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text("ARG BUILD_FROM\nFROM $BUILD_FROM\nLABEL built=1\n")
    driver = make_driver(login_for=lambda registry: LOGIN if registry in private_image else None)

    async for _ in driver.build(
        f"local/{prefix}x:1",
        DataPath("app"),
        dockerfile="Dockerfile",
        arguments={"BUILD_FROM": private_image},
        labels={},
    ):
        pass

    assert await driver.image(f"local/{prefix}x:1") is not None


async def test_rate_limit_is_told_apart(make_driver: MakeDriver) -> None:
    async with registry_that_answers(b"429 Too Many Requests\r\nRetry-After: 3") as address:
        with pytest.raises(RegistryRateLimited, match=f"{address}.* asked again in 3 s") as refused:
            await pull(make_driver, f"{address}/thing:1")

    assert refused.value.extra_fields["wait_s"] == 3.0


async def test_broken_registry_is_not_called_out_of_reach(make_driver: MakeDriver) -> None:
    async with registry_that_answers(b"503 Service Unavailable") as address:
        with pytest.raises(PullFailed, match=f"{address} answers that something is wrong with itself"):
            await pull(make_driver, f"{address}/thing:1")


async def test_registry_that_hangs_is_named_instead_of_the_engine(make_driver: MakeDriver) -> None:
    async with registry_that_answers(None) as address:
        with pytest.raises(PullFailed, match=f"The registry {address} sent nothing"):
            await pull(make_driver, f"{address}/thing:1")


async def test_registry_that_hangs_does_not_matter_when_the_image_is_here(
    make_driver: MakeDriver, engine: Engine, base_image: str
) -> None:
    async with registry_that_answers(None) as address:
        image = f"{address}/thing:1"
        engine.run("tag", base_image, image)
        try:
            await pull(make_driver, image)
        finally:
            engine.take_name_away(image)
