"""Checks: what domains look at, run together, by name, and not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import Kernel, Plugin, Problem, hookimpl
from rooftree.interfaces.hooks import HealthCheck
from rooftree.process.system import System
from rooftree.testing import Client, FakeClock, running_system
from rooftree_resolution import health
from rooftree_resolution.plugin import ResolutionPlugin
from tests.rig.waiting import until


class Cellar(Plugin):
    """Looks whether it is dry, and has two more that are broken."""

    name = "cellar"
    is_wet = False
    looks = 0

    async def setup(self, kernel: Kernel) -> None:
        self.kernel = kernel
        type(self).is_wet, type(self).looks = False, 0

    async def look(self) -> None:
        type(self).looks += 1
        if self.is_wet:
            self.kernel.problems.report(Problem("damp", "system", "cellar"))
        else:
            self.kernel.problems.clear("damp", "system", "cellar")

    async def stumble(self) -> None:
        raise ZeroDivisionError("it is dark")

    async def get_lost(self) -> None:
        await asyncio.Event().wait()

    @hookimpl
    def health_checks(self) -> list[HealthCheck]:
        looks: dict[str, Callable[[], Awaitable[None]]] = {
            "cellar_dry": self.look,
            "cellar_dark": self.stumble,
            "cellar_deep": self.get_lost,
        }
        return [HealthCheck(slug=slug, run=run) for slug, run in looks.items()]


async def looked(times: int) -> None:
    async def enough() -> bool:
        return Cellar.looks == times

    await until(enough, within_s=5, what=f"look number {times}")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check may not take long."""
    monkeypatch.setattr(health, "CHECK_S", 0.2)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[ResolutionPlugin, Cellar]) as system:
        await looked(1)
        yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_unix(system) as client:
        yield client


def wrong(system: System) -> list[str]:
    return [problem.type for problem in system.problems]


async def test_hook_health_checks_are_run_after_the_start_and_when_asked_though_others_fail(
    system: System, client: Client
) -> None:
    after_start = Cellar.looks
    Cellar.is_wet = True
    answer = await client.post("/resolution/healthcheck")
    reported = wrong(system)
    Cellar.is_wet = False
    await client.post("/resolution/healthcheck")

    assert (after_start, answer.status, reported, wrong(system)) == (1, 200, ["damp"], [])


async def test_checks_are_run_every_hour(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, plugins=[ResolutionPlugin, Cellar], clock=clock):
        await looked(1)
        await clock.advance(timedelta(hours=1.1))
        await looked(2)


async def test_check_that_is_switched_off_runs_only_by_its_name_over_a_restart_too(
    system: System, client: Client
) -> None:
    await client.post("/resolution/check/cellar_dry/options", json={"enabled": False})
    await system.plugins.restart("resolution")
    listed = (await client.get("/resolution/info")).data["checks"]
    before = Cellar.looks
    await client.post("/resolution/healthcheck")
    together = Cellar.looks - before
    await client.post("/resolution/check/cellar_dry/run")
    by_name = Cellar.looks - before
    await client.post("/resolution/check/cellar_dry/options", json={"enabled": True})
    await client.post("/resolution/healthcheck")

    assert {check["slug"]: check["enabled"] for check in listed} == {
        "cellar_dark": True,
        "cellar_deep": True,
        "cellar_dry": False,
    }
    assert (together, by_name, Cellar.looks - before) == (0, 1, 2)


async def test_check_that_fails_or_takes_too_long_says_so_to_who_asked_for_it(client: Client) -> None:
    failed = await client.post("/resolution/check/cellar_dark/run")
    slow = await client.post("/resolution/check/cellar_deep/run")

    assert (failed.status, failed.message) == (
        500,
        "The check cellar_dark failed (ZeroDivisionError): it is dark. The log says more",
    )
    assert (slow.status, slow.message) == (500, "The check cellar_deep did not end within 0.2 s")


class Damp(Plugin):
    """Has a check that is called as one of the cellar's."""

    name = "damp"

    @hookimpl
    def health_checks(self) -> list[HealthCheck]:
        async def look() -> None:
            raise ZeroDivisionError("this is not the cellar")

        return [HealthCheck(slug="cellar_dry", run=look)]


async def test_of_two_checks_of_one_name_that_of_the_plugin_with_the_first_name_is_run(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, plugins=[ResolutionPlugin, Damp, Cellar]) as system,
        Client.over_unix(system) as client,
    ):
        await looked(1)
        answer = await client.post("/resolution/check/cellar_dry/run")

        assert answer.status == 200
        assert Cellar.looks == 2
