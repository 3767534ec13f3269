"""The host is rebooted while jobs are under way: what a job had begun is finished after the boot or taken back, as it
declares, and nothing of it is left half-done.

A real host ends its services before it goes down, Rooftree among them. The daemon of these tests runs beside the host,
so the test sends it that SIGTERM, or the SIGKILL of a host that does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.host.rig.host import Host
from tests.host.rig.releases import HomeAssistantOs
from tests.host.rig.version_server import VersionServer
from tests.rig.addon import Addon
from tests.rig.addon_files import LARGE_DOCKERFILE, REPOSITORY, addon_files, large_files
from tests.rig.daemon import Daemon
from tests.rig.engine import Engine
from tests.rig.footprint import Footprint
from tests.rig.git_server import GitServer, serve_git
from tests.rig.line import line_to
from tests.rig.registry import Registry, serve_images
from tests.rig.waiting import until

pytestmark = pytest.mark.xdist_group("host")

NEW = "17.0"
STOPS_S = 60.0
"""What systemd would wait for, and more, is 90 s."""


async def end_with(host: Host, daemon: Daemon, way: str) -> None:
    """The host has been told to go down: it goes, and the daemon with it."""
    if way == "killed":
        await daemon.kill()
    else:
        async with asyncio.timeout(STOPS_S):
            assert await daemon.stop() == 0
    await asyncio.to_thread(host.wait_until_off)


async def problems(daemon: Daemon) -> set[str]:
    """The types of what is wrong."""
    return {problem["type"] for problem in (await daemon.ok("GET", "/kernel/v1/problems"))["problems"]}


@pytest.fixture
def registry(engine: Engine, base_image: str, tmp_path: Path) -> Iterator[Registry]:
    """A registry for one boot of the host."""
    with serve_images(tmp_path, engine, base_image) as registry:
        yield registry


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A git server for one boot of the host."""
    with serve_git(tmp_path) as server:
        yield server


@pytest.fixture
async def versions(host: Host) -> AsyncIterator[VersionServer]:
    """A server with a new version."""
    server = VersionServer(NEW, HomeAssistantOs(NEW, "yellow").bundle(host))
    await server.serve()
    yield server
    await server.close()


@pytest.mark.parametrize("home_assistant_os", [HomeAssistantOs("16.3", "yellow")], indirect=True, ids=str)
@pytest.mark.parametrize("way", ["killed", pytest.param("stopped", marks=pytest.mark.torture)])
async def test_update_of_the_system_that_a_reboot_interrupts_is_finished_after_it_and_asks_for_the_next(
    host: Host, home_assistant_os: HomeAssistantOs, daemon: Daemon, versions: VersionServer, way: str
) -> None:
    versions.is_known_to(daemon)
    await daemon.start()

    async def known() -> bool:
        return versions.asked > 0 and (await daemon.ok("GET", "/info"))["state"] == "running"

    await until(known, within_s=20, what="the version file")
    versions.flows.clear()
    update = asyncio.create_task(daemon.call("POST", "/os/update", {}))
    await versions.begun.wait()

    accepted = await daemon.call("POST", "/host/reboot", {})
    await end_with(host, daemon, way)
    (answer,) = await asyncio.gather(update, return_exceptions=True)
    host.boot()
    versions.flows.set()
    await versions.serve()
    await daemon.start()
    await daemon.recovered()
    info = await daemon.ok("GET", "/os/info")
    wrong = await problems(daemon)

    assert accepted[0] == 200
    assert isinstance(answer, aiohttp.ClientError) or answer[0] == 503, answer
    assert (info["version"], info["version_pending"], info["boot_slots"]["B"]["version"]) == ("16.3", NEW, NEW)
    assert not list((daemon.data_dir / "tmp").iterdir())
    assert "reboot_required" in wrong


@pytest.mark.torture  # what kills do to an installation is tested with every engine
@pytest.mark.parametrize("way", ["killed", "stopped"])
async def test_installation_that_a_reboot_interrupts_is_taken_back_and_what_ran_runs_again(
    host: Host, engine: Engine, daemon: Daemon, git_server: GitServer, registry: Registry, base_image: str, way: str
) -> None:
    registry.publish("reboot/large", "1.0", LARGE_DOCKERFILE, large_files())
    async with line_to(int(registry.address.rpartition(":")[2])) as line:
        image = f"127.0.0.1:{line.port}/reboot/large"
        offered = {**addon_files("lamp", base=base_image, boot="auto"), **addon_files("large", image=image)}
        repository = git_server.repository("reboot", {**REPOSITORY, **offered})
        await daemon.start()
        await daemon.ok("POST", "/store/repositories", {"repository": repository.url})
        slug = (await daemon.ok("GET", "/store/repositories"))[-1]["slug"]
        lamp, large = (Addon(daemon, engine, f"{slug}_{name}") for name in ("lamp", "large"))
        await lamp.install()
        await lamp.start()
        before = await Footprint.of(daemon, engine, registry=registry.address)
        line.hold_after(2_000_000)
        started = await daemon.ok("POST", f"/store/addons/{large.slug}/install", {"background": True})
        await line.held()

        accepted = await daemon.call("POST", "/host/reboot", {})
        await end_with(host, daemon, way)
        host.boot()
        await daemon.start()
        job: Any = await daemon.job(started["job_id"])

    async def runs() -> bool:
        return (await lamp.info())["state"] == "started" and lamp.runs()

    async def footprint() -> bool:
        return await Footprint.of(daemon, engine, registry=registry.address) == before

    await until(runs, within_s=30, what="the add-on that ran before")
    await until(footprint, within_s=30, what="what there was before")  # its former container may still be going
    assert accepted[0] == 200
    assert [error["type"] for error in job["errors"]] in (["JobInterrupted"], ["EngineUnavailable"])  # which ends first
    assert engine.run("images", "--quiet", image) == ""
