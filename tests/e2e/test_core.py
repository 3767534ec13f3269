"""Home Assistant Core in a container of the real engine: what its verbs do there, and what an update does that breaks.

Core is the stand-in, of whatever version and with whatever is wrong with it. One daemon for all tests, each of which
leaves Core running in the first version.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from attrs import frozen

from tests.rig.core_image import CoreImages
from tests.rig.core_process import CoreSteering
from tests.rig.daemon import Daemon, disposable_daemon
from tests.rig.engine import Engine
from tests.rig.files import write_files
from tests.rig.service_process import free_port, listens
from tests.rig.waiting import until

pytestmark = [pytest.mark.xdist_group("core"), pytest.mark.asyncio(loop_scope="module")]

FIRST = "2026.10.1"
BACK_S = 60.0
"""More than it takes to see that a version fails, and to put the one before it back."""


@frozen
class Home:
    """A daemon, and its Core."""

    daemon: Daemon
    engine: Engine
    images: CoreImages
    core: CoreSteering

    @property
    def container(self) -> str:
        return f"{self.daemon.prefix}homeassistant"

    @property
    def config(self) -> Path:
        return self.daemon.data_dir / "homeassistant"

    def inspect(self, template: str) -> str:
        """What the engine says of Core's container."""
        return self.engine.run("inspect", "--format", template, self.container)

    def inside(self, *command: str) -> str:
        """What a command in Core's container prints."""
        return self.engine.enter(self.container, *command)

    async def version(self) -> str:
        """What the API says is installed."""
        info: dict[str, str] = await self.daemon.ok("GET", "/core/info")
        return info["version"]

    async def call(self, verb: str, **body: object) -> tuple[int, Any]:
        """Call a verb."""
        return await self.daemon.call("POST", f"/core/{verb}", body)

    async def is_back(self) -> None:
        """Wait until the first version runs again, and nothing is under way."""

        async def runs_again() -> bool:
            jobs = (await self.daemon.ok("GET", "/jobs/info"))["jobs"]
            return all(job["done"] for job in jobs) and await self.version() == FIRST and await self.answers(FIRST)

        await until(runs_again, within_s=BACK_S, what=f"Core {FIRST}")

    async def answers(self, version: str) -> bool:
        """Whether Core in that version runs in its container."""
        shown = self.engine.containers(name=f"^/{self.container}$")
        return [(core.image, core.state) for core in shown] == [(f"{self.images.name}:{version}", "running")]

    async def can_be_steered(self) -> bool:
        """Whether the program in its container has come so far that it heeds a signal."""
        return await asyncio.to_thread(listens, self.core.port)

    async def problems(self) -> list[str]:
        """The types of Core's problems."""
        listed = (await self.daemon.ok("GET", "/kernel/v1/problems"))["problems"]
        return [problem["type"] for problem in listed if problem["context"] == "core"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(engine: Engine, cores: CoreImages) -> AsyncIterator[Home]:
    """One for all tests."""
    cores.publish(FIRST)
    async with disposable_daemon(engine) as daemon:
        text = daemon.settings.read_text().replace("install = false", "install = false\nprivileged = false")
        daemon.settings.write_text(text)
        core = CoreSteering(free_port())
        home = Home(daemon, engine, cores, core)
        write_files(home.config, {"stand-in.json": json.dumps({"port": core.port}), "configuration.yaml": "first"})
        await daemon.start()
        await daemon.ok("POST", "/core/options", {"image": cores.name})
        await daemon.ok("POST", "/core/update", {"version": FIRST})
        await until(home.can_be_steered, within_s=BACK_S, what="Core")
        yield home


async def test_core_finds_what_it_looks_for_in_its_container(home: Home) -> None:
    variables = json.loads(home.inspect("{{json .Config.Env}}"))
    called_back = await home.core.is_told("called_back", path="/core/options", within_s=20)

    assert "SUPERVISOR_CORE_API_SOCKET=/run/supervisor/core.sock" in variables
    assert home.inside("cat", "/run/cid") == home.inspect("{{.Id}}")
    assert home.inside("cat", "/config/configuration.yaml") == "first"
    assert home.inspect("{{.HostConfig.NetworkMode}} {{.HostConfig.Privileged}}") == "host false"
    assert called_back["status"] == 200
    assert (await home.daemon.ok("GET", "/core/info"))["port"] == home.core.port


async def test_restart_keeps_what_core_has_put_into_its_container_and_rebuild_does_not(home: Home) -> None:
    home.inside("touch", "/installed-by-an-integration")
    first, token = home.inspect("{{.Id}}"), home.inspect("{{json .Config.Env}}")

    assert (await home.call("restart"))[0] == 200
    again = home.inspect("{{.Id}}"), home.inspect("{{json .Config.Env}}")
    listed = home.inside("ls", "/")
    calls = await home.core.is_told("called_back", path="/supervisor/ping", within_s=20)
    assert (await home.call("rebuild", safe_mode=True))[0] == 200
    fresh = home.inspect("{{.Id}}")

    assert again == (first, token)
    assert "installed-by-an-integration" in listed
    assert calls["status"] == 200  # its token is good again
    assert fresh != first
    assert "installed-by-an-integration" not in home.inside("ls", "/")
    assert not (home.config / "safe-mode").exists()


async def test_stopped_core_stays_stopped_over_a_restart_of_ours_and_running_one_runs_on(home: Home) -> None:
    await home.daemon.ok("POST", "/core/stop", {})
    await home.daemon.restart()
    stopped = home.inspect("{{.State.Running}}")
    await home.daemon.ok("POST", "/core/start", {})
    before = home.inspect("{{.Id}} {{.State.StartedAt}}")
    await home.daemon.restart()
    await home.daemon.recovered()

    assert stopped == "false"
    assert home.inspect("{{.Id}} {{.State.StartedAt}}") == before
    assert (await home.daemon.ok("GET", "/core/stats"))["memory_usage"] > 0
    assert "Home Assistant is there" in await home.daemon.ok("GET", "/core/logs")


async def test_configuration_is_checked_by_cores_own_program(home: Home) -> None:
    good = await home.call("check")
    write_files(home.config, {"configuration.yaml": "broken: 1"})
    bad = await home.call("check")
    write_files(home.config, {"configuration.yaml": "first"})

    assert good[0] == 200
    assert bad[0] == 400
    assert "Integration error: broken: 1 - Integration not found." in bad[1]["message"]
    assert "\033" not in bad[1]["message"]
    assert home.engine.run("ps", "--all", "--quiet", "--filter", f"name=^/{home.container}_check$") == ""


@pytest.mark.parametrize(
    ("version", "traits", "reason"),
    [
        ("2026.11.1", {"crashes": 7}, "exit code 7"),
        ("2026.11.2", {"recovery_mode": True}, "recovery mode"),
        ("2026.11.3", {"frontend": False}, "status 404"),
    ],
)
async def test_version_that_does_not_work_is_taken_back_within_the_update(
    home: Home, version: str, traits: dict[str, Any], reason: str
) -> None:
    home.images.publish(version, **traits)

    status, refusal = await home.call("update", version=version)

    assert (status, refusal["error_key"]) == (400, "homeassistant_update_error")
    assert reason in refusal["message"]
    await home.is_back()
    assert home.inside("cat", "/config/configuration.yaml") == "first"
    assert await home.problems() == ["update_rolled_back"]
    logs = [path.read_text() for path in home.daemon.data_dir.glob("kept/core/homeassistant/failed-*/log.txt")]
    assert any(f"Home Assistant {version} begins" in log for log in logs)


async def test_version_that_ends_on_probation_goes_with_what_it_made_of_the_configuration(home: Home) -> None:
    home.images.publish("2026.11.4")
    await home.daemon.ok("POST", "/core/update", {"version": "2026.11.4"})
    updated = await home.version()
    write_files(home.config, {"configuration.yaml": "spoilt"})

    await home.core.end(9)
    await home.is_back()

    assert updated == "2026.11.4"
    assert home.inside("cat", "/config/configuration.yaml") == "first"
    kept = home.daemon.data_dir.glob("kept/core/homeassistant/failed-*/config/configuration.yaml")
    assert "spoilt" in [path.read_text() for path in kept]


async def test_update_is_taken_back_by_hand_with_nothing_left_of_it(home: Home) -> None:
    home.images.publish("2026.11.5")
    await home.daemon.ok("POST", "/core/update", {"version": "2026.11.5"})

    await home.daemon.ok("POST", "/kernel/v1/core/roll-back", {})

    await home.is_back()
    images = home.engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", home.images.name)
    assert images == f"{home.images.name}:{FIRST}"


async def test_core_that_crashes_is_started_again(home: Home) -> None:
    before = home.inspect("{{.State.StartedAt}}")

    await home.core.end(9)

    async def runs_again() -> bool:
        running, started_at = home.inspect("{{.State.Running}} {{.State.StartedAt}}").split()
        return running == "true" and started_at != before

    await until(runs_again, within_s=BACK_S, what="Core's return")
