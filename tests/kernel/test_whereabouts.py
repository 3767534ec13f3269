"""Where a token may be used: nowhere else than where its holder is, as the plugin says that owns its kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rooftree import CallerKind, Plugin, Principal, Role, Routes, Unavailable, role
from rooftree.access import whereabouts as module
from rooftree.access.whereabouts import Looks, TokenUsedElsewhere
from rooftree.plugins.plugin import Kernel
from rooftree.process.system import System
from rooftree.testing import Client, running_system

HERE = "127.0.0.1"
"""Where the tests' client is."""

routes = Routes()


@routes.get("/work", access=role(Role.DEFAULT))
def work() -> None:
    """What a holder may ask for."""


class Places:
    """Whereabouts that a test decides about."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.really: dict[str, str] = {}
        self.looks: list[str] = []
        self.failure: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    def admits(self, subject: str, address: str | None) -> bool:
        return address is not None and self.known.get(subject) == address

    async def look(self, subject: str) -> None:
        self.looks.append(subject)
        await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        self.known = dict(self.really)


PLACES: list[Places] = []


class Holders(Plugin):
    name = "holders"

    async def setup(self, kernel: Kernel) -> None:
        PLACES.append(Places())
        kernel.register_kind(
            CallerKind("holder"), lambda subject: Principal("holder", subject, Role.DEFAULT), PLACES[-1]
        )

    def routes(self) -> Routes:
        return routes


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.2)
    async with running_system(tmp_path, plugins=[Holders]) as system:
        yield system


@pytest.fixture
def places(system: System) -> Places:
    return PLACES[-1]


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_tcp(system) as client:
        yield client


async def issue(system: System, subject: str) -> str:
    fresh = system.tokens.new("holder", subject)
    await system.state.commit(fresh.change)
    return fresh.text


async def test_holder_who_is_known_to_be_there_is_let_in_without_a_look(
    system: System, client: Client, places: Places
) -> None:
    places.known = {"a": HERE}

    answer = await client.get("/work", token=await issue(system, "a"))

    assert (answer.status, places.looks) == (200, [])


async def test_holder_who_has_moved_a_moment_ago_is_let_in_after_a_look(
    system: System, client: Client, places: Places
) -> None:
    places.known, places.really = {"a": "172.30.33.7"}, {"a": HERE}

    answer = await client.get("/work", token=await issue(system, "a"))

    assert (answer.status, places.looks) == (200, ["a"])


@pytest.mark.parametrize("where", [{"a": "172.30.33.7"}, {}], ids=["elsewhere", "nowhere"])
async def test_token_that_is_used_elsewhere_is_refused_like_a_wrong_one_and_told_once(
    system: System, client: Client, places: Places, where: dict[str, str]
) -> None:
    places.known = places.really = where
    told: list[TokenUsedElsewhere] = []
    system.bus.subscribe(TokenUsedElsewhere, told.append, "test")
    token = await issue(system, "a")

    stolen = [await client.get("/work", token=token) for _ in range(3)]
    wrong = await client.get("/work", token="0" * len(token))
    await asyncio.sleep(0)

    assert {(answer.status, answer.message) for answer in stolen} == {(wrong.status, wrong.message)}
    assert told == [TokenUsedElsewhere("holder", "a", HERE)]


async def test_many_who_wait_cost_two_looks_and_then_one_in_a_while(
    system: System, client: Client, places: Places
) -> None:
    token = await issue(system, "a")
    places.hold.clear()
    asking = [asyncio.create_task(client.get("/work", token=token)) for _ in range(15)]
    while not places.looks:
        await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    places.hold.set()
    answers = await asyncio.gather(*asking)

    assert {answer.status for answer in answers} == {403}
    assert len(places.looks) <= 2
    await client.get("/work", token=token)
    assert asyncio.get_running_loop().time() - began >= 0.15 * (len(places.looks) - 1)


async def test_who_comes_while_a_look_is_under_way_is_looked_for_anew(
    system: System, client: Client, places: Places
) -> None:
    """What the look under way brings may be from before the holder was there."""
    token = await issue(system, "a")
    places.hold.clear()
    thief = asyncio.create_task(client.get("/work", token=token))
    while not places.looks:
        await asyncio.sleep(0.01)
    before = places.really
    holder = asyncio.create_task(client.get("/work", token=token))
    await asyncio.sleep(0.05)
    places.really = {"a": HERE}
    places.known = before
    places.hold.set()

    assert [(await holder).status, (await thief).status] == [200, 200]
    assert len(places.looks) == 2


async def test_look_that_finds_nothing_out_is_answered_with_try_again(
    system: System, client: Client, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await issue(system, "a")
    places.failure = Unavailable("The engine is away")
    away = await client.get("/work", token=token)
    places.failure = None
    places.hold.clear()
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    hangs = await client.get("/work", token=token)

    assert (away.status, hangs.status) == (503, 503)


async def test_administrator_on_the_unix_socket_may_use_any_token(system: System, places: Places) -> None:
    async with Client.over_unix(system) as client:
        answer = await client.get("/work", token=await issue(system, "a"))

    assert (answer.status, places.looks) == (200, [])


async def test_looks_for_one_holder_delay_no_other(places: Places) -> None:
    looks = Looks()
    await looks.look("holder", "a", places)
    began = asyncio.get_running_loop().time()
    await looks.look("holder", "b", places)
    other_s = asyncio.get_running_loop().time() - began
    await looks.look("holder", "a", places)

    assert other_s < 0.1 <= asyncio.get_running_loop().time() - began


async def test_tokens_of_a_plugin_that_stopped_are_bound_to_nothing_it_said(system: System, client: Client) -> None:
    token = await issue(system, "a")
    system.tokens.forget_kind("holder")
    gone = await client.get("/work", token=token)
    system.tokens.register_kind(CallerKind("holder"), lambda subject: Principal("holder", subject, Role.DEFAULT))

    assert gone.status == 403
    assert (await client.get("/work", token=token)).status == 200
