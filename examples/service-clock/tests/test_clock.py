"""The clock as its users see it, in a kernel of its own."""

from datetime import timedelta
from pathlib import Path

import pytest
from rooftree import Event
from rooftree.testing import Client, FakeClock, System, running_system

from rooftree_service_clock import ClockWound
from rooftree_service_clock.plugin import ClockPlugin


async def test_clock_shows_the_time(client: Client) -> None:
    face = (await client.get("/clock")).data

    assert face == {"now": "2026-01-01T12:00:00+00:00", "turns": 48, "ticks": 0}


async def test_each_tick_uses_up_a_turn(client: Client, clock: FakeClock) -> None:
    await clock.advance(timedelta(minutes=5))

    face = (await client.get("/clock")).data
    assert (face["turns"], face["ticks"]) == (43, 5)


async def test_clock_that_runs_down_stands_and_is_a_problem_until_it_is_wound(
    system: System, client: Client, clock: FakeClock
) -> None:
    await clock.advance(timedelta(hours=1))
    stands = (await client.get("/clock")).data
    problems = [problem.type for problem in system.problems]
    await client.post("/clock/wind", json={"turns": 10})

    assert (stands["turns"], stands["ticks"]) == (0, 48)
    assert problems == ["clock_run_down"]
    assert list(system.problems) == []


async def test_winding_shows_its_plan_and_does_nothing_when_only_asked_for_it(client: Client, clock: FakeClock) -> None:
    await clock.advance(timedelta(minutes=10))

    plan = (await client.post("/clock/wind?plan=1", json={"turns": 3})).data

    assert [(step["what"], step["subject"], step["reversible"]) for step in plan["steps"]] == [
        ("Wind the spring.", "41", True)
    ]
    assert (await client.get("/clock")).data["turns"] == 38


async def test_winding_is_an_event(system: System, client: Client, clock: FakeClock) -> None:
    told = list[Event]()
    system.bus.subscribe(ClockWound, told.append, "test")
    await clock.advance(timedelta(minutes=10))

    await client.post("/clock/wind", json={"turns": 3})
    await system.bus.drained()

    assert told == [ClockWound(41)]


@pytest.mark.parametrize(
    ("turns", "status", "message"),
    [
        (0, 400, "turns: must be 1 or more, not 0"),
        (11, 409, "turns: 11 would break the spring, which takes 10 more"),
    ],
)
async def test_what_cannot_be_wound_is_refused(
    client: Client, clock: FakeClock, turns: int, status: int, message: str
) -> None:
    await clock.advance(timedelta(minutes=10))

    answer = await client.post("/clock/wind", json={"turns": turns})

    assert (answer.status, answer.message) == (status, message)


async def test_what_is_left_in_the_spring_survives_a_restart(tmp_path: Path) -> None:
    for ticked in (1, 2):
        clock = FakeClock()
        async with running_system(tmp_path, plugins=[ClockPlugin], clock=clock) as system:
            await clock.advance(timedelta(minutes=1))
            async with Client.over_unix(system) as client:
                assert (await client.get("/clock")).data["ticks"] == ticked


async def test_operator_decides_how_strong_the_spring_is(tmp_path: Path) -> None:
    settings = {"plugins.clock.full_turns": 7}

    async with (
        running_system(tmp_path, plugins=[ClockPlugin], settings=settings) as system,
        Client.over_unix(system) as client,
    ):
        assert (await client.get("/clock")).data["turns"] == 7
