"""A kill at any step of the first install of Core: after the next start it goes on, and Core runs, once."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL

import pytest
from structlog.testing import capture_logs

from rooftree.interfaces.containers import ContainerStatus
from rooftree_containers import ContainerState
from rooftree_homeassistant.home_assistant import CONTAINER
from tests.plugins.homeassistant.first_home import Ports, first_home
from tests.plugins.homeassistant.house import NEW, WrittenFeed
from tests.plugins.homeassistant.kept_engine import KeptEngine
from tests.plugins.homeassistant.listening import listening
from tests.rig.fork_server import forked
from tests.rig.service_process import free_port

IMAGE = f"registry.example/homeassistant:{NEW}"
STEPS = (
    "homeassistant.fetch_core/1",
    "homeassistant.put_core/1",
    "containers.create_container/1",
    "homeassistant.hand_over_port/1",
    "containers.start_container/1",
    "homeassistant.let_start/1",
    "homeassistant.await_core/1",
)
PLACES = [
    "job:accepted",
    *(f"step:{step}:do" for step in STEPS),
    "job:end",
    *(
        pytest.param(f"step:{step}:{moment}", marks=pytest.mark.torture)
        for step in STEPS
        for moment in ("before", "done")
    ),
]
"""What a step leaves is what the next one begins with: the places around it are for ``make torture``."""


def feed() -> WrittenFeed:
    """It names the image that the process fetches."""
    return WrittenFeed(images={"core": IMAGE.rpartition(":")[0]})


async def killed(folder: Path, ports: Ports, place: str) -> None:
    """Install Core in a process that is killed at that place."""
    arguments = [str(folder), IMAGE, str(ports.core), str(ports.usual), f"{place}=kill"]
    async with forked("tests.plugins.homeassistant.killed_install", *arguments) as process:
        said, _ = await process.communicate()
    assert process.returncode == -SIGKILL, said


@pytest.mark.parametrize("place", PLACES)
async def test_install_goes_on_wherever_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    ports = Ports(free_port(), free_port())
    await killed(tmp_path, ports, place)
    engine = KeptEngine(tmp_path / "engine")
    engine.publish_image(IMAGE)

    async with first_home(tmp_path, engine, monkeypatch, feed(), ports=ports) as home:
        await home.until_state(ContainerState.STARTED)
        await home.until_installed()

        (container,) = await engine.containers()
        assert (container.name, container.status, container.image) == (CONTAINER, ContainerStatus.RUNNING, IMAGE)
        assert list(engine.images) == [IMAGE]
        assert home.core.installed is not None
        assert home.core.installed.version == NEW
        assert [job.errors for job in home.system.jobs.listing() if job.errors] == []
        assert [problem.type for problem in home.system.problems] == ["ended_unexpectedly"]
        assert not await home.listens(ports.core)


async def test_core_that_runs_when_its_install_goes_on_keeps_its_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = Ports(free_port(), free_port())
    await killed(tmp_path, ports, "step:homeassistant.await_core/1:do")
    engine = KeptEngine(tmp_path / "engine")

    with capture_logs() as logged:
        async with (
            listening(ports.core, b"core"),
            first_home(tmp_path, engine, monkeypatch, feed(), ports=ports) as home,
        ):
            await home.until_installed()
            assert [problem.type for problem in home.system.problems] == ["ended_unexpectedly"]

    assert not any(entry["event"].startswith("landing_page") for entry in logged)


async def test_install_that_was_cancelled_when_it_was_killed_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = Ports(free_port(), free_port())
    await killed(tmp_path, ports, "step:homeassistant.fetch_core/1:done")
    engine = KeptEngine(tmp_path / "engine")
    hold = engine.hold("image")  # the step looks whether the image is there, and waits in that

    async with first_home(tmp_path, engine, monkeypatch, feed(), ports=ports) as home:
        await hold.reached.wait()
        await home.system.jobs.cancel(home.job().uuid)
        hold.release()

        await home.until_shown(stage="stopped")
        assert (engine.images, await engine.containers(), home.core.installed) == ({}, [], None)
