"""The disk on which the engine keeps its images is full, under a daemon whose own disk is not."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from attrs import frozen

from tests.rig.addon import Addon
from tests.rig.addon_files import DOCKERFILE, REPOSITORY, WAITS, addon_files
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitServer
from tests.rig.own_engine import OwnEngine, open_firewall, own_engine
from tests.rig.registry import Registry

pytestmark = pytest.mark.xdist_group("full-engine-disk")

DISK_MIB = 48
LARGE_MIB = 64
MIB = 1024 * 1024


@frozen
class House:
    """A daemon on an engine with little room; ``small`` is installed, ``large`` is larger than the disk."""

    daemon: Daemon
    engine: OwnEngine
    registry: Registry
    slug: str
    """Of the repository."""

    def addon(self, name: str) -> Addon:
        """One of the add-ons."""
        return Addon(self.daemon, self.engine, f"{self.slug}_{name}")

    def free_bytes(self) -> int:
        """The room that the engine has left."""
        return shutil.disk_usage(self.engine.folder / "data").free


@pytest.fixture
def cramped_engine(engine: Engine, base_image: str) -> Iterator[OwnEngine]:
    """The engine."""
    with own_engine(engine.free_subnet(), disk_mib=DISK_MIB) as cramped:
        cramped.take(base_image, engine)
        yield cramped


@pytest.fixture
async def house(
    cramped_engine: OwnEngine, registry: Registry, git_server: GitServer, base_image: str
) -> AsyncIterator[House]:
    """The house."""
    registry.publish("cramped/small", "1.0", DOCKERFILE.format(version="1.0"), {"run.sh": WAITS})
    zeros = f"RUN dd if=/dev/zero of=/zeros bs={MIB} count={LARGE_MIB}"
    registry.publish("cramped/large", "1.0", f"FROM base\n{zeros}\nCMD sleep 3600")
    made = addon_files("made", base=base_image)
    made = {**made, "made/Dockerfile": f"FROM {base_image}\n{zeros}\nCMD sleep 3600"}
    pulled = {
        key: text
        for name in ("small", "large")
        for key, text in addon_files(name, image=f"{registry.address}/cramped/{name}").items()
    }
    repository = git_server.repository("cramped", {**REPOSITORY, **pulled, **made})
    async with disposable_daemon(cramped_engine, [f'socket = "{cramped_engine.url}"']) as daemon:
        with open_firewall(daemon.subnet):
            await daemon.start()
            await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
            slug = (await daemon.ok("GET", "/store/repositories"))[-1]["slug"]
            await daemon.ok("POST", "/jobs/options", {"ignore_conditions": ["free_space"]})
            house = House(daemon, cramped_engine, registry, slug)
            await house.addon("small").install()
            yield house


async def test_image_that_the_engine_has_no_room_for_is_refused_by_name_and_its_room_comes_back(house: House) -> None:
    before = await Footprint.of(house.daemon, house.engine, registry=house.registry.address)
    free = house.free_bytes()

    answers = {
        name: await house.daemon.call("POST", f"/store/addons/{house.addon(name).slug}/install", {})
        for name in ("large", "made")
    }

    for name, (status, body) in answers.items():
        assert (status, body["error_key"]) == (400, "docker_no_space_on_device"), body
        assert name in body["message"] and "no space" in body["message"], body
    await house.daemon.recovered()
    assert await Footprint.of(house.daemon, house.engine, registry=house.registry.address) == before
    assert house.free_bytes() > free - MIB
    await house.addon("small").start()
    assert house.addon("small").runs()
