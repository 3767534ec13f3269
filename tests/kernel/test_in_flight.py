"""How many bytes may be in memory at once: shares that leave something for who comes next, and all comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rooftree import PUBLIC, Plugin, Routes
from rooftree.http.in_flight import Holding, InFlight, TooMuchInFlight
from rooftree.http.turns import PER_TURN, Account, Turns
from rooftree.testing import Client, running_system

MOST = 1000
KNOWN = [Account(f"addon:{number}", is_known=True) for number in range(10)]
STRANGERS = [Account(f"10.0.0.{number}", is_known=False) for number in range(10)]


def fill(in_flight: InFlight, account: Account, step: int = 1) -> int:
    """Take as much as there is to be had, in many requests; how much that was."""
    taken = 0
    while True:
        try:
            in_flight.take(Holding(account), step)
        except TooMuchInFlight:
            return taken
        taken += step


def test_one_caller_gets_half_and_each_of_two_a_third() -> None:
    in_flight = InFlight(MOST)

    assert fill(in_flight, KNOWN[0]) == pytest.approx(MOST / 2, abs=2)
    assert fill(in_flight, KNOWN[1]) == pytest.approx(MOST / 4, abs=2)  # of what the first has left, so far


def test_something_is_left_for_who_comes_next_whoever_was_there_before() -> None:
    in_flight = InFlight(MOST)
    for stranger in STRANGERS:
        fill(in_flight, stranger)
    for caller in KNOWN[:5]:
        fill(in_flight, caller)

    in_flight.take(Holding(KNOWN[9]), 5)

    assert in_flight.total < MOST


def test_stranger_gets_a_ninth_and_ten_of_them_leave_a_good_part() -> None:
    in_flight = InFlight(MOST)

    assert fill(in_flight, STRANGERS[0]) == pytest.approx(MOST / 9, abs=2)
    for stranger in STRANGERS[1:]:
        fill(in_flight, stranger)
    assert MOST - in_flight.total > MOST / 4


def test_who_has_nothing_else_may_have_one_large_answer() -> None:
    in_flight = InFlight(MOST)

    in_flight.take(Holding(STRANGERS[0]), MOST // 2)
    in_flight.take(Holding(KNOWN[0]), 300)

    with pytest.raises(TooMuchInFlight, match="no room"):
        in_flight.take(Holding(STRANGERS[0]), 50)


def test_all_that_was_held_comes_back() -> None:
    in_flight = InFlight(MOST)
    holdings = [Holding(account) for account in (*KNOWN[:3], *STRANGERS[:3])]
    for holding in holdings:
        in_flight.take(holding, 20)
        in_flight.give_back(holding, 5)

    for holding in holdings:
        in_flight.give_back(holding)

    assert (in_flight.total, in_flight._held) == (0, {})


async def test_turns_are_shared_among_callers_and_strangers_come_last() -> None:
    turns = Turns()
    order: list[str] = []

    async def work(account: Account) -> None:
        if not turns.is_free:
            await turns.wait(account)
        order.append(account.name)

    many = [work(STRANGERS[0]) for _ in range(50)] + [work(KNOWN[0]) for _ in range(50)]
    tasks = [asyncio.ensure_future(one) for one in (*many, work(STRANGERS[1]), work(KNOWN[1]))]
    await asyncio.gather(*tasks)

    begun = order[PER_TURN:]  # the first came before anybody had to wait
    assert begun.index(KNOWN[1].name) < PER_TURN
    assert begun.index(STRANGERS[1].name) < 3 * PER_TURN
    assert len(order) == 102


async def test_turn_of_who_has_gone_goes_to_the_next() -> None:
    turns = Turns()
    while turns.is_free:
        pass
    gone = asyncio.ensure_future(turns.wait(KNOWN[0]))
    waits = asyncio.ensure_future(turns.wait(KNOWN[0]))
    await asyncio.sleep(0)
    gone.cancel()

    async with asyncio.timeout(1):
        await waits


routes = Routes()


@routes.post("/take", access=PUBLIC)
async def take(body: dict[str, Any]) -> None: ...


class Takes(Plugin):
    name = "takes"

    def routes(self) -> Routes:
        return routes


@pytest.mark.parametrize(
    ("depth", "status"), [(50, 200), (99, 200), (100, 400), (253, 400), (900, 400), (100_000, 400)]
)
async def test_body_that_is_nested_too_deep_is_refused_in_words(tmp_path: Path, depth: int, status: int) -> None:
    body = b'{"deep":' + b"[" * depth + b"]" * depth + b"}"
    async with running_system(tmp_path, plugins=[Takes]) as system, Client.over_unix(system) as client:
        answer = await client.post("/take", body=body)

    assert answer.status == status
    assert status == 200 or "deep" in answer.message or "too many values" in answer.message
