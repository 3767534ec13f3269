"""What blocked the event loop is a problem for an hour, which names plugin and function."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import PUBLIC, Plugin, Problem, Routes
from rooftree.process import block_problems, loop_watchdog
from rooftree.process.block_problems import PROBLEM
from rooftree.process.loop_watchdog import LoopBlocked
from rooftree.process.system import System
from rooftree.testing import Client, FakeClock, running_system


def blocks(system: System) -> dict[str, Problem]:
    return {problem.reference or "": problem for problem in system.problems if problem.type == PROBLEM}


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
        await clock.advance(block_problems.STAYS + block_problems.LOOK_EVERY * 2)
        assert blocks(system) == {}
