"""Images that are made for another platform: refused by name, and nothing of them stays."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rooftree.interfaces.containers import BuildFailed, DataPath, ImageForOtherPlatform
from rooftree_docker import manifest_check
from rooftree_docker.engine import DockerEngine
from rooftree_docker.registry import RegistryError
from tests.rig.engine import Engine
from tests.rig.registry import Registry

pytestmark = pytest.mark.docker

ELSEWHERE = "linux/s390x"
LABEL = f"io.rooftree.test={secrets.token_hex(8)}"
SCRATCH = f"FROM scratch\nCOPY greeting program /\nLABEL {LABEL}\n"
FILES = {"greeting": "good morning\n", "program": f"#!\n{LABEL}\n"}
"""The program is for no machine at all: its first line names nothing that could run it. It is another one in each
worker: else their layers are ours too, and they remove theirs while we look."""


@pytest.fixture
async def foreign(registry: Registry, engine: Engine) -> AsyncIterator[str]:
    """An image that is made for a machine that nobody has at home; the engine does not keep it, nor what a test gave
    its name to."""
    image = await asyncio.to_thread(registry.publish, "foreign", "1", SCRATCH, FILES, ELSEWHERE)
    yield image
    engine.take_name_away(image)


async def refusal(driver: DockerEngine, image: str, **options: Any) -> str:
    with pytest.raises(ImageForOtherPlatform) as refused:
        async for _ in driver.pull(image, **options):
            pass
    assert (refused.value.status, refused.value.error_key) == (400, "image_platform_error")
    assert refused.value.extra_fields == {"image": image}
    return refused.value.message


def came_of_it(engine: Engine) -> str:
    """The images on the engine that are the foreign one, whatever they are called."""
    return engine.run("images", "--all", "--quiet", "--filter", f"label={LABEL}")


async def test_single_image_of_another_architecture_is_refused_by_name(
    driver: DockerEngine, engine: Engine, foreign: str
) -> None:
    said = await refusal(driver, foreign)

    assert f"{foreign} is not made for linux/" in said and f"but for {ELSEWHERE} only" in said
    assert came_of_it(engine) == ""


async def test_index_without_our_architecture_is_refused_by_name(
    driver: DockerEngine, engine: Engine, registry: Registry, foreign: str
) -> None:
    index = await asyncio.to_thread(registry.publish_index, "foreign", "many", {ELSEWHERE: "1"})
    said = await refusal(driver, index)

    assert f"{index} is not made for linux/" in said and "but for others only" in said
    assert came_of_it(engine) == ""


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry shows nothing to us, only to the engine."""

    async def nothing(*_: Any) -> Any:
        raise RegistryError("it shows us nothing")

    monkeypatch.setattr(manifest_check, "checked_manifest", nothing)


@pytest.mark.usefixtures("blind")
async def test_what_came_is_checked_where_the_registry_shows_us_nothing(
    driver: DockerEngine, engine: Engine, foreign: str
) -> None:
    said = await refusal(driver, foreign)

    assert f"but for {ELSEWHERE} only" in said
    assert came_of_it(engine) == ""


@pytest.mark.usefixtures("blind")
async def test_name_means_what_it_meant_before(
    driver: DockerEngine, engine: Engine, registry: Registry, foreign: str
) -> None:
    ours = await asyncio.to_thread(registry.publish, "ours", "1", "FROM base\nLABEL ours=1\n")
    async for _ in driver.pull(ours):
        pass
    had = await driver.image(ours)
    engine.run("tag", ours, foreign)
    await refusal(driver, foreign)

    has = await driver.image(foreign)
    assert has is not None and had is not None and has.id == had.id
    assert came_of_it(engine) == ""


async def test_platform_that_is_asked_for_is_what_comes(
    driver: DockerEngine, engine: Engine, registry: Registry, foreign: str
) -> None:
    ours = await asyncio.to_thread(registry.publish, "asked", "1", "FROM base\nLABEL asked=1\n")

    await refusal(driver, ours, platform=ELSEWHERE)
    async for _ in driver.pull(foreign, platform=ELSEWHERE):
        pass

    found = await driver.image(foreign)
    assert found is not None and (found.system, found.architecture) == ("linux", "s390x")


async def build(driver: DockerEngine, data_dir: Path, image: str, dockerfile: str) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(dockerfile)
    async for _ in driver.build(image, DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}):
        pass


@pytest.mark.parametrize(
    ("instructions", "error", "says"),
    [
        ("LABEL a=b\n", ImageForOtherPlatform, f"but for {ELSEWHERE} only"),
        ('RUN ["/program"]\n', BuildFailed, "is not made for linux/"),
    ],
)
async def test_what_is_built_on_an_image_of_another_architecture_is_refused(
    driver: DockerEngine,
    data_dir: Path,
    prefix: str,
    foreign: str,
    instructions: str,
    error: type[Exception],
    says: str,
) -> None:
    image = f"local/{prefix}built:1"

    with pytest.raises(error, match=says):
        await build(driver, data_dir, image, f"FROM {foreign}\n{instructions}")

    assert await driver.image(image) is None


async def test_platforms_are_known_to_a_build_as_buildkit_tells_them(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str
) -> None:
    image = f"local/{prefix}built:1"
    ours = engine.run("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")

    await build(
        driver,
        data_dir,
        image,
        f"FROM --platform=$BUILDPLATFORM {base_image} AS tools\nRUN echo built > /tool\n"
        f"FROM {base_image}\nARG TARGETPLATFORM TARGETARCH\nCOPY --from=tools /tool /tool\n"
        "RUN echo $TARGETPLATFORM $TARGETARCH > /platform\n",
    )

    written = engine.run("run", "--rm", image, "cat", "/tool", "/platform").split()
    assert written == ["built", ours, ours.partition("/")[2]]


async def test_files_may_come_from_an_image_of_another_architecture(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str, foreign: str
) -> None:
    image = f"local/{prefix}built:1"

    await build(driver, data_dir, image, f"FROM {base_image}\nCOPY --from={foreign} /greeting /greeting\n")

    assert engine.run("run", "--rm", image, "cat", "/greeting").strip() == "good morning"
