"""What blocked the event loop is a problem for an hour, which names plugin and function; an end that nobody asked for
is one for a day."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import PUBLIC, Plugin, Problem, Routes
from rooftree.clock import BOOT_ID
from rooftree.process import loop_watchdog, past_problems
from rooftree.process.loop_watchdog import LoopBlocked
from rooftree.process.past_problems import BLOCKED, ENDED
from rooftree.process.system import System
from rooftree.state.folder import LOCK_NAME
from rooftree.testing import Client, FakeClock, running_system


def blocks(system: System) -> dict[str, Problem]:
    return {problem.reference or "": problem for problem in system.problems if problem.type == BLOCKED}


async def test_block_is_a_problem_that_names_plugin_and_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watchdog, "NOTICE_S", 0.3)
    monkeypatch.setattr(loop_watchdog, "BEAT_S", 0.05)
    routes = Routes()

    def ponder() -> None:
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            pass

    routes.get("/ponder", access=PUBLIC)(ponder)

    class Pondering(Plugin):
        name = "pondering"

        def routes(self) -> Routes:
            return routes

    async with (
        running_system(tmp_path, plugins=[Pondering], allow={"loop_blocked"}) as system,
        Client.over_unix(system) as client,
    ):
        await client.get("/ponder")
        async with asyncio.timeout(5):
            while not blocks(system):
                await asyncio.sleep(0.01)
        problem = blocks(system)["pondering"]

    assert problem.plugin == "pondering"
    assert problem.message.startswith("Plugin pondering held up everything for ")
    assert "ponder. What computes or waits that long belongs into a thread" in problem.message
    assert problem.extra is not None
    assert problem.extra["where"].endswith("ponder")


async def test_problem_stays_for_an_hour_after_the_last_block_of_that_plugin(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, clock=clock, allow={"loop_blocked"}) as system:

        async def block(plugin: str | None) -> None:
            system.bus.publish(LoopBlocked(plugin=plugin, where="speed.py:7 ponder", seconds=1.5))
            await system.bus.drained()

        await block("speed")
        await block(None)
        await clock.advance(timedelta(minutes=45))
        await block("speed")
        await clock.advance(timedelta(minutes=45))
        assert set(blocks(system)) == {"speed"}
        await clock.advance(timedelta(minutes=45))
        assert blocks(system) == {}

        await block("speed")
    async with running_system(tmp_path, clock=clock) as system:
        assert blocks(system) == {}  # its plugin is not installed any more


async def test_problem_of_an_earlier_process_goes_too(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running_system(tmp_path, clock=clock, allow={"loop_blocked"}) as system:
        system.bus.publish(LoopBlocked(plugin=None, where="nowhere", seconds=2.0))
        await system.bus.drained()
    async with running_system(tmp_path, clock=clock) as system:
        assert set(blocks(system)) == {"kernel"}
        await clock.advance(past_problems.STAYS[BLOCKED] + past_problems.LOOK_EVERY * 2)
        assert blocks(system) == {}


def left(tmp_path: Path, boot: str) -> None:
    """Let the data folder be as a process leaves it that is killed in that boot of the machine."""
    lock = tmp_path / "data" / LOCK_NAME
    lock.write_text(f"{4711:<19}\n{boot}\n")


def ends(system: System) -> list[str]:
    return [problem.message for problem in system.problems if problem.type == ENDED]


async def test_end_that_nobody_asked_for_is_a_problem_for_a_day_and_counted(tmp_path: Path) -> None:
    clock, boot = FakeClock(), BOOT_ID.read_text().strip()
    async with running_system(tmp_path, clock=clock) as system:
        assert ends(system) == []
    left(tmp_path, boot)
    async with running_system(tmp_path, clock=clock) as system:
        (first,) = ends(system)
        await clock.advance(timedelta(hours=20))
    left(tmp_path, boot)
    async with running_system(tmp_path, clock=clock) as system:
        (second,) = ends(system)
        await clock.advance(timedelta(hours=20))
    async with running_system(tmp_path, clock=clock) as system:
        assert ends(system) == [second]  # this time somebody had
        await clock.advance(timedelta(hours=25))
        assert ends(system) == []

    assert "it crashed, or was killed" in first
    assert second.startswith("Rooftree ended 2 times without being told to")


async def test_machine_that_lost_its_power_is_no_crash_of_rooftree(tmp_path: Path) -> None:
    async with running_system(tmp_path):
        pass
    left(tmp_path, "0f5ce2f0-0000-4000-8000-000000000000")
    async with running_system(tmp_path) as system:
        assert ends(system) == []


async def test_end_in_a_block_of_the_loop_names_what_blocked_it(tmp_path: Path) -> None:
    async with running_system(tmp_path) as system:
        pass
    (tmp_path / "data" / "blocked-by.json").write_text('{"plugin": null, "where": "bus.py:7 publish"}')
    async with running_system(tmp_path) as system:
        (said,) = ends(system)

    assert "its event loop was blocked by bus.py:7 publish" in said
