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


class Attic(Plugin):
    """Answers with what is no list of checks."""

    name = "attic"

    @hookimpl
    def health_checks(self) -> list[HealthCheck]:
        return ["attic_dry", None]  # type: ignore[list-item]


async def test_answer_that_is_no_check_spoils_none_of_the_others(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, plugins=[ResolutionPlugin, Cellar, Attic]) as system,
        Client.over_unix(system) as client,
    ):
        listed = (await client.get("/resolution/info")).data["checks"]

    assert [check["slug"] for check in listed] == ["cellar_dark", "cellar_deep", "cellar_dry"]


async def test_unknown_check_and_empty_options_are_refused(client: Client) -> None:
    unknown = await client.post("/resolution/check/attic_dry/run")
    empty = await client.post("/resolution/check/cellar_dry/options", json={})

    assert (unknown.status, unknown.envelope["error_key"]) == (404, "resolution_check_not_found_error")
    assert unknown.envelope["extra_fields"] == {"check": "attic_dry"}
    assert (empty.status, empty.message) == (400, "The body has no option in it; give enabled")
