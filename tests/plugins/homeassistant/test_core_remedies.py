"""What is done about Core's problems when its user chooses what is suggested."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from rooftree import Problem
from rooftree.testing import Failing, check_step
from rooftree.testing.containers import FakeContainerEngine
from rooftree_containers import ContainerState
from rooftree_homeassistant.core_options import CoreOptionsChange
from rooftree_homeassistant.core_remedies import SetBoot
from rooftree_homeassistant.home_assistant import NAME
from rooftree_resolution.plugin import ResolutionPlugin
from tests.plugins.homeassistant.house import CoreHouse, core_house
from tests.rig.waiting import until

HURRIED = {"kernel.stop_timeout_s": 0.1}


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, allow: Collection[Failing]) -> AsyncIterator[CoreHouse]:
    """A house with Core, stopped, and with whoever knows what is wrong."""
    async with core_house(tmp_path, engine, allow=allow, plugins=[ResolutionPlugin], settings=HURRIED) as house:
        await house.install()
        yield house


async def suggested(home: CoreHouse, suggestion: str) -> str:
    """Where that is chosen, once it is suggested."""
    home.system.problems.report(Problem("boot_fail", "core", "homeassistant", "It did not start", (suggestion,)))
    suggestions = (await home.client.get("/resolution/info")).data["suggestions"]
    uuid = next(entry["uuid"] for entry in suggestions if entry["type"] == suggestion)
    return f"/resolution/suggestion/{uuid}"


@pytest.mark.parametrize("verb", ["start", "restart", "rebuild"])
async def test_core_is_started_restarted_or_rebuilt_as_by_its_own_routes(home: CoreHouse, verb: str) -> None:
    chosen = (await home.client.post(f"{await suggested(home, f'execute_{verb}')}?plan=1")).data["steps"]
    own = (await home.client.post(f"/core/{verb}?plan=1", json={})).data["steps"]

    assert [step["kind"] for step in chosen[:-1]] == [step["kind"] for step in own]
    assert {step["job"] for step in chosen[:-1]} == {f"home_assistant_core_{verb}"}


async def test_core_starts_with_the_host_no_longer(home: CoreHouse) -> None:
    answer = await home.client.post(await suggested(home, "disable_boot"))

    assert answer.status == 200
    assert (await home.info())["boot"] is False
    assert "boot_fail" not in {problem.type for problem in home.system.problems}


async def test_core_starts_with_the_host_no_longer_though_its_start_hangs(home: CoreHouse) -> None:
    await suggested(home, "disable_boot")
    starting = asyncio.create_task(home.client.post("/core/start", json={}))

    async def waited_for() -> bool:  # that it runs has been heard of: it ends what was wrong
        runs = home.core.containers.observation.state(NAME) is ContainerState.STARTED
        return runs and "boot_fail" not in {problem.type for problem in home.system.problems}

    await until(waited_for, within_s=10, what="the wait for Core, which does not answer")

    answer = await home.client.post(await suggested(home, "disable_boot"))

    assert answer.status == 200
    assert (await home.info())["boot"] is False
    assert not starting.done()
    starting.cancel()


async def test_problem_of_somebody_else_and_what_core_does_not_do_are_left_to_others(home: CoreHouse) -> None:
    answer = await home.client.post(await suggested(home, "execute_reboot"))

    assert answer.status == 400


async def test_choice_of_the_start_is_taken_back_as_it_was(home: CoreHouse) -> None:
    for chosen in (True, False):
        await home.core.set_options(CoreOptionsChange(boot=chosen))
        await check_step(home.system, SetBoot(not chosen), lambda: home.core.options.boot)
        assert home.core.options.boot is not chosen
