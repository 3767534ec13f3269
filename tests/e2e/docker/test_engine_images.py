"""Images: pulled from a real registry, built by the real builder."""

from __future__ import annotations

import asyncio
import os
from fractions import Fraction
from pathlib import Path

import pytest

from rooftree.interfaces.containers import (
    BuildFailed,
    ContainerSpec,
    DataPath,
    EngineUnavailable,
    ImageNotFound,
    Progress,
    PullFailed,
)
from rooftree_docker.engine import DockerEngine
from rooftree_docker.engine_client import Deadlines
from tests.e2e.docker.conftest import IMPATIENT, MakeDriver
from tests.e2e.docker.engine_proxy import EngineProxy
from tests.rig.engine import Engine
from tests.rig.registry import Registry
from tests.rig.service_process import free_port

pytestmark = pytest.mark.docker

LAYERS = "FROM base\nCOPY small /small\nCOPY large /large\nCOPY medium /medium\n"


def noise() -> dict[str, bytes]:
    """What is in those layers, of which the engine has none yet."""
    return {"small": os.urandom(200_000), "large": os.urandom(3_000_000), "medium": os.urandom(1_000_000)}


async def pulled(driver: DockerEngine, image: str, platform: str | None = None) -> list[Progress]:
    return [progress async for progress in driver.pull(image, platform=platform)]


async def test_pull_counts_bytes_and_never_runs_backwards(driver: DockerEngine, registry: Registry) -> None:
    image = await asyncio.to_thread(registry.publish, "pull", "1", LAYERS, noise())
    assert await driver.image(image) is None

    told = await pulled(driver, image)

    ratios = [Fraction(progress.done, progress.total) for progress in told]
    assert ratios == sorted(ratios)
    assert ratios[-1] == 1 and len(told) > 3
    assert told[-1].total > 3_500_000
    found = await driver.image(image)
    assert found is not None and image in found.tags and found.size > 4_000_000
    assert await driver.remove_image(image)
    assert await driver.image(image) is None


async def test_pull_of_what_is_there_already_fetches_nothing_and_leaves_it_complete(
    driver: DockerEngine, registry: Registry
) -> None:
    image = await asyncio.to_thread(registry.publish, "again", "1", f"{LAYERS}LABEL again=1\n", noise())
    first = await pulled(driver, image)
    there = await driver.image(image)

    again = await pulled(driver, image)

    assert first[-1].total > 3_500_000
    assert again == [Progress(done=1, total=1)]
    assert await driver.image(image) == there is not None
    await driver.remove_image(image)


async def test_missing_tag_and_missing_repository_are_not_found(driver: DockerEngine, registry: Registry) -> None:
    await asyncio.to_thread(registry.publish, "exists", "1", "FROM base\nLABEL exists=1\n")

    for name in ("exists:2", "nobody/has-this:1"):
        with pytest.raises(ImageNotFound, match=f"has no image .*{name}"):
            await pulled(driver, f"{registry.address}/{name}")


async def test_unreachable_registry_is_named(driver: DockerEngine) -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(PullFailed, match=f"registry {address} cannot be reached"):
        await pulled(driver, f"{address}/thing:1")


async def test_without_a_registry_the_image_that_is_here_counts_as_pulled(
    driver: DockerEngine, engine: Engine, base_image: str
) -> None:
    image = f"127.0.0.1:{free_port()}/thing:1"
    engine.run("tag", base_image, image)
    try:
        told = await pulled(driver, image)

        assert told[-1].done == told[-1].total
        with pytest.raises(PullFailed):
            await pulled(driver, image.removesuffix("1") + "2")
        with pytest.raises(PullFailed):
            await pulled(driver, image, platform="linux/riscv64")
    finally:
        engine.take_name_away(image)


async def test_pull_that_stalls_names_engine_or_registry(
    make_driver: MakeDriver, proxy: EngineProxy, registry: Registry
) -> None:
    image = await asyncio.to_thread(registry.publish, "stall", "1", "FROM base\nLABEL stall=1\n")
    driver = make_driver(proxy.url, deadlines=IMPATIENT)
    await driver.info()
    proxy.hang()

    with pytest.raises(EngineUnavailable, match=r"did not answer in time .* when asked to fetch"):
        await pulled(driver, image)


async def test_image_in_use_is_not_removed(driver: DockerEngine, engine: Engine, base_image: str) -> None:
    image = f"{base_image}-used"
    engine.run("tag", base_image, image)
    engine.run("build", "-q", "-t", image, "-", data=f"FROM {base_image}\nLABEL used=1\n".encode())
    await driver.create(ContainerSpec(name="app_test", image=image, network="host"))
    try:
        assert await driver.remove_image(image) is False
        await driver.remove("app_test")
        assert await driver.remove_image(image) is True
        assert await driver.remove_image(image) is False
    finally:
        await driver.remove("app_test")


async def test_build_tells_steps_and_labels_the_image(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str, instance: str
) -> None:
    folder = data_dir / "apps" / "local" / "hello"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG BUILD_FROM\nFROM ${BUILD_FROM}\nCOPY . /app\nRUN cat /app/greeting\n")
    (folder / "greeting").write_text("good morning\n")
    (folder / "link").symlink_to("greeting")
    (folder / "notes.md").write_text("not for the image")
    (folder / ".dockerignore").write_text("*.md\n")
    image = f"local/{prefix}hello:1.0"

    told = [
        progress
        async for progress in driver.build(
            image,
            DataPath("apps/local/hello"),
            dockerfile="Dockerfile",
            arguments={"BUILD_FROM": base_image},
            labels={"io.hass.version": "1.0"},
        )
    ]
    listed = engine.run("run", "--rm", image, "sh", "-c", "cd /app; ls; readlink link").split()

    lines = [progress.line for progress in told]
    assert "good morning" in lines
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert told[-1].done == told[-1].total >= 4
    found = await driver.image(image)
    assert found is not None
    assert found.labels["io.hass.version"] == "1.0" and found.labels["io.rooftree.built-by"] == instance
    assert listed == ["Dockerfile", "greeting", "link", "greeting"]


@pytest.mark.parametrize("ending", ["LABEL io.hass.version=9", "RUN echo \\"], ids=["ends", "goes on"])
async def test_labels_are_those_that_were_told_whatever_they_are_and_however_the_dockerfile_ends(
    driver: DockerEngine, data_dir: Path, base_image: str, prefix: str, instance: str, ending: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(f"FROM {base_image}\nLABEL io.rooftree.built-by=me\n{ending}")
    labels = {
        "io.hass.version": "1.0",
        "io.hass.name": "It's größer = #1, {a} [b] 'c'",
        "io.hass.description": 'say "$HOME" \\ `x`',
        "io.hass.url": "",
        "lines": "two\nRUN exit 1",
    }
    image = f"local/{prefix}labels:1"

    told = [
        progress
        async for progress in driver.build(image, DataPath("app"), dockerfile="Dockerfile", arguments={}, labels=labels)
    ]

    found = await driver.image(image)
    assert found is not None
    assert {**found.labels, **labels, "io.rooftree.built-by": instance} == found.labels
    assert told[-1].total == (7 if ending.startswith("LABEL") else 9), "the plain ones are one step"


async def test_image_that_another_installation_built_is_left_to_it(
    driver: DockerEngine, make_driver: MakeDriver, data_dir: Path, base_image: str, prefix: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(f"FROM {base_image}\n")
    image = f"local/{prefix}theirs:1"
    async for _ in driver.build(image, DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}):
        pass
    other = make_driver(instance_id="f" * 32)

    assert await other.remove_image(image) is False
    assert await driver.image(image) is not None
    assert await driver.remove_image(image) is True


async def test_broken_build_ends_with_the_last_lines(
    driver: DockerEngine, data_dir: Path, base_image: str, prefix: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(
        f"FROM {base_image}\nRUN for n in $(seq 1 50); do echo line $n; done; echo it broke; exit 3\n"
    )

    with pytest.raises(BuildFailed) as failed:
        async for _ in driver.build(
            f"local/{prefix}x:1", DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}
        ):
            pass

    first, *rest = failed.value.message.splitlines()
    assert "failed at step 2 of " in first and "returned a non-zero code: 3" in first
    assert len(rest) == 20 and rest[-1] == "it broke"


async def test_build_that_never_ends_is_ended_though_it_goes_on_telling(
    make_driver: MakeDriver, engine: Engine, data_dir: Path, base_image: str, prefix: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(
        f"FROM {base_image}\nRUN while true; do echo {prefix} goes on; sleep 0.2; done\n"
    )
    driver = make_driver(deadlines=Deadlines(build=4))

    with pytest.raises(BuildFailed, match=r"did not end within 4 s, and was ended at step 2 of"):
        async for _ in driver.build(
            f"local/{prefix}x:1", DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}
        ):
            pass
    for _ in range(100):
        if prefix not in (running := engine.run("ps", "--no-trunc", "--format", "{{.Command}}")):
            break
        await asyncio.sleep(0.1)

    assert prefix not in running


async def test_dockerfile_with_a_mistake_is_a_failed_build(driver: DockerEngine, data_dir: Path, prefix: str) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text("FROM scratch\nNONSENSE x\n")

    with pytest.raises(BuildFailed, match=r"(?i)nonsense"):
        async for _ in driver.build(
            f"local/{prefix}x:1", DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}
        ):
            pass


async def test_build_that_is_given_up_stops_on_the_engine(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str
) -> None:
    (data_dir / "app").mkdir()
    (data_dir / "app" / "Dockerfile").write_text(f"FROM {base_image}\nRUN echo {prefix}begun; sleep 300\n")

    async def build() -> None:
        async for progress in driver.build(
            f"local/{prefix}x:1", DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}
        ):
            if progress.line == f"{prefix}begun":
                begun.set()

    begun = asyncio.Event()
    building = asyncio.create_task(build())
    async with asyncio.timeout(15):
        await begun.wait()
    building.cancel()
    await asyncio.wait([building])

    async with asyncio.timeout(10):
        while f"{prefix}begun" in engine.run("ps", "-a", "--no-trunc", "--format", "{{.Command}}"):
            await asyncio.sleep(0.05)
    assert building.cancelled()


async def test_container_that_somebody_made_of_our_image_is_not_ours(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str
) -> None:
    image = await built(driver, data_dir, f"FROM {base_image}\n", prefix)
    stranger = engine.run("create", "--name", f"{prefix}app_stranger", image, "sleep", "1")
    try:
        assert await driver.containers() == []
        assert await driver.container("app_stranger") is None
    finally:
        engine.run("rm", "--force", stranger)


async def test_what_we_built_and_nothing_names_any_more_goes_and_others_stay(
    driver: DockerEngine, engine: Engine, data_dir: Path, base_image: str, prefix: str
) -> None:
    image = await built(driver, data_dir, f"FROM {base_image}\nLABEL build=one\n", prefix)
    first = await driver.image(image)
    await built(driver, data_dir, f"FROM {base_image}\nLABEL build=two\n", prefix)
    second = await driver.image(image)
    others = engine.run("commit", engine.run("create", base_image, "true"))  # a nameless image of somebody else

    try:
        await driver.remove_nameless_images()

        assert first is not None and second is not None
        ids = engine.run("images", "--all", "--quiet", "--no-trunc").split()
        assert first.id not in ids
        assert {second.id, others} <= set(ids)
    finally:
        engine.run("rm", "--force", *engine.run("ps", "--all", "--quiet", "--filter", f"ancestor={base_image}").split())
        engine.run("rmi", "--force", others)


async def built(driver: DockerEngine, data_dir: Path, dockerfile: str, prefix: str) -> str:
    """Build an image from that Dockerfile; its name."""
    folder, image = data_dir / "app", f"local/{prefix}built:1"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    async for _ in driver.build(image, DataPath("app"), dockerfile="Dockerfile", arguments={}, labels={}):
        pass
    return image
