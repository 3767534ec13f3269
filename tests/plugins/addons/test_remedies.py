"""What is done about an add-on's problems when its user chooses what is suggested."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
from attrs import evolve

from rooftree import Problem
from rooftree.testing import Answer, Failing, check_step
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons.remedies import GiveUpPort, SetBoot
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_store import Boot
from tests.plugins.addons.host_ports import listening
from tests.plugins.addons.house import HELLO, House, done, house


@pytest.fixture
async def home(tmp_path: Path, engine: FakeContainerEngine, allow: Collection[Failing]) -> AsyncIterator[House]:
    """A house with nothing installed, which knows what is wrong."""
    async with house(tmp_path, engine, allow=allow, plugins=[ResolutionPlugin]) as here:
        yield here


async def choose(home: House, suggestion: str) -> Answer:
    """Do what is suggested."""
    suggestions = (await home.client.get("/resolution/info")).data["suggestions"]
    uuid = next(entry["uuid"] for entry in suggestions if entry["type"] == suggestion)
    return await home.client.post(f"/resolution/suggestion/{uuid}")


def report(home: House, *suggestions: str) -> None:
    home.system.problems.report(Problem("boot_fail", "addon", HELLO, "It did not start", suggestions))


async def test_add_on_that_did_not_start_is_started(home: House) -> None:
    await home.install()
    report(home, "execute_start")

    done(await choose(home, "execute_start"))

    assert (await home.info(HELLO))["state"] == "started"
    assert home.problem("boot_fail") is None


async def test_add_on_is_restarted(home: House) -> None:
    await home.run()
    before = await home.container()
    report(home, "execute_restart")

    done(await choose(home, "execute_restart"))

    after = await home.container()
    assert before is not None and after is not None
    assert before.id != after.id
    assert home.problem("boot_fail") is None


async def test_add_on_starts_with_the_host_no_longer(home: House) -> None:
    await home.install()
    report(home, "disable_boot")

    done(await choose(home, "disable_boot"))

    assert (await home.info(HELLO))["boot"] == "manual"
    assert home.problem("boot_fail") is None


async def test_add_on_starts_with_the_host_no_longer_though_its_start_hangs(home: House) -> None:
    await home.install()
    hold = home.engine.hold("start")
    starting = asyncio.create_task(home.post(HELLO, "start"))
    await hold.reached.wait()
    report(home, "disable_boot")

    done(await choose(home, "disable_boot"))

    assert (await home.info(HELLO))["boot"] == "manual"
    hold.release()
    done(await starting)


@pytest.mark.usefixtures("on_the_host")
async def test_port_that_somebody_has_is_given_up_and_the_add_on_started_with_its_others(home: House) -> None:
    with listening() as port:
        await home.install(config={"ports": {"80/tcp": port, "81/tcp": 8181}})
        refused = await home.post(HELLO, "start")
        done(await choose(home, "clear_port_config"))

        info = await home.info(HELLO)

    assert refused.status == 400
    assert (info["state"], info["network"]) == ("started", {"80/tcp": None, "81/tcp": 8181})
    assert home.problem("app_port_conflict") is None


@pytest.mark.usefixtures("on_the_host")
async def test_port_is_kept_when_the_add_on_does_not_start_without_it_either(home: House) -> None:
    with listening() as port, listening() as other:
        await home.install(config={"ports": {"80/tcp": port, "81/tcp": other}})
        await home.post(HELLO, "start")
        answer = await choose(home, "clear_port_config")
        info = await home.info(HELLO)

    assert answer.status == 400
    assert (info["state"], info["network"]) == ("stopped", {"80/tcp": port, "81/tcp": other})
    assert home.problem("app_port_conflict") is not None


async def test_what_is_suggested_for_an_add_on_that_is_gone_is_done_by_nobody(home: House) -> None:
    report(home, "execute_start")

    answer = await choose(home, "execute_start")

    assert answer.status == 400
    assert home.problem("boot_fail") is not None


async def test_choice_of_the_start_is_taken_back_as_it_was(home: House) -> None:
    await home.install()
    for chosen in (None, Boot.AUTO):
        await home.addons.change(HELLO, lambda addon, boot=chosen: evolve(addon, boot=boot))  # type: ignore[misc]
        await check_step(home.system, SetBoot(HELLO, Boot.MANUAL), lambda: home.installed().boot)
        assert home.installed().boot is Boot.MANUAL


async def test_port_that_was_given_up_is_taken_back_as_it_was(home: House) -> None:
    await home.install(config={"ports": {"80/tcp": 8080, "81/tcp": 8181}})
    for chosen in (None, {"80/tcp": 8080, "81/tcp": 9191}):
        await home.addons.change(HELLO, lambda addon, network=chosen: evolve(addon, network=network))  # type: ignore[misc]
        await check_step(home.system, GiveUpPort(HELLO, 8080), lambda: home.installed().network)
        assert home.installed().ports == {"80/tcp": None, "81/tcp": 8181 if chosen is None else 9191}
