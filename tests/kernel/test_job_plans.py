"""``?plan=1``: what a job would do, told without doing it, on the routes that start one and on no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import field, frozen

from rooftree import (
    PUBLIC,
    Collection,
    Conflict,
    JobCall,
    JobStarted,
    Kernel,
    Lock,
    Plugin,
    Role,
    Routes,
    Step,
    Steps,
    document,
    itself,
    job,
    role,
    step,
)
from rooftree.interfaces.callers import ADDON
from rooftree.jobs.journal import Journal
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from tests.kernel.world import BEFORE, Burn, Put, World, Worldly, until


@step("test_job_plans.fetch/1")
class Fetch(Step):
    """Fetch something, however long
    that takes.

    More about it.
    """

    what_it_is: str
    size: int | None
    downtime = True

    async def fetch_bytes(self, world: World) -> int | None:
        """Ask the world."""
        await world.reach("size")
        return self.size

    async def notes(self, world: World) -> list[str]:
        """Where it comes from."""
        return [f"It comes from where {self.what_it_is} is."]

    async def do(self, world: World) -> None:
        """Fetch it."""
        await world.reach(f"fetch {self.what_it_is}")


@job("inner", reference="name", locks=lambda name, **_: {Lock("thing", name)})
async def inner(name: str, size: int | None = 5) -> Steps:
    return [Fetch(name, size)]


@job("outer", reference="name")
async def outer(world: World, name: str, size: int | None) -> Steps:
    await world.reach("plan")
    return [Put("one"), inner(name=f"{name}-1"), inner(name=f"{name}-2", size=size), Burn("old")]


@job("light")
async def light() -> Steps:
    return [Put("one")]


@job("none")
async def none() -> Steps:
    return []


@document("test_job_plans.note", version=1)
@frozen
class Note:
    text: str = ""


@frozen
class NewNote:
    text: str = field(default="")


routes = Routes()


@routes.post("/outer/{name}", access=role(Role.MANAGER) | itself("name", ADDON))
def run_outer(name: str, size: int | None = 7, background: bool = False) -> JobCall[JobStarted | None]:
    return outer(name=name, size=size).in_background(background)


@routes.post("/light", access=PUBLIC)
def run_light() -> JobCall[None]:
    return light()


@routes.post("/none", access=PUBLIC)
async def run_none() -> JobCall[None]:
    return none()


@routes.post("/light_or_nothing", access=PUBLIC)
def run_light_or_nothing(body: NewNote) -> JobCall[None] | None:
    return light() if body.text else None


@routes.post("/quietly", access=PUBLIC)
def run_quietly() -> JobCall[None]:
    return light().detached()


@routes.post("/held", access=PUBLIC)
def run_held() -> JobCall[None]:
    return light().during(Planned.held())


@routes.post("/note", access=PUBLIC)
async def change_note(body: NewNote) -> None:
    await Planned.write(body.text)


@routes.get("/plan_is_mine", access=PUBLIC)
def takes_a_plan(plan: str = "none") -> str:
    return plan


class Planned(Plugin):
    name = "planned"
    kernel: Kernel
    notes: Collection[Note]

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        Planned.kernel, Planned.notes = kernel, await kernel.collection(Note)

    holds: ClassVar[list[str]] = []

    @classmethod
    @contextmanager
    def held(cls) -> Iterator[None]:
        cls.holds[:] = ["in force"]
        try:
            yield
        finally:
            cls.holds.append("over")

    @classmethod
    async def write(cls, text: str) -> None:
        await cls.kernel.commit(cls.notes.put("note", Note(text)))


@pytest.fixture
async def system(tmp_path: Path, world: World) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Worldly, Planned]) as system:
        yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with Client.over_unix(system) as client:
        yield client


def planned(job: str, of: str | None, kind: type[Step], subject: str, fetches: int | None = 0) -> dict[str, Any]:
    """A step as a plan tells it."""
    return {
        "job": job,
        "job_reference": of,
        "kind": kind.kind,
        "what": "Fetch something, however long that takes." if kind is Fetch else kind.what(),
        "subject": subject,
        "fetch_bytes": fetches,
        "downtime": kind is Fetch,
        "reversible": kind is Put,
        "notes": [f"It comes from where {subject} is."] if kind is Fetch else [],
    }


async def test_plan_tells_every_step_of_the_job_and_its_children(system: System, world: World, client: Client) -> None:
    plan = (await client.post("/outer/x?plan=1")).data

    assert plan == {
        "job": "outer",
        "reference": "x",
        "access": "role manager or itself (name)",
        "steps": [
            planned("outer", "x", Put, "one"),
            planned("inner", "x-1", Fetch, "x-1", 5),
            planned("inner", "x-2", Fetch, "x-2", 7),
            planned("outer", "x", Burn, "old"),
        ],
        "fetch_bytes": 12,
        "downtime": True,
        "reversible": False,
        "waits_for": [],
    }
    assert (world.things, world.happened) == (BEFORE, ["plan", "size", "size"])
    assert await Journal(system.database).open_jobs() == []
    assert system.jobs.listing() == []


async def test_plan_of_a_job_that_can_be_taken_back_says_so(client: Client) -> None:
    plan = (await client.post("/light?plan=1")).data

    assert (plan["downtime"], plan["reversible"], plan["fetch_bytes"]) == (False, True, 0)


async def test_plan_with_nothing_to_do_is_empty(client: Client) -> None:
    plan = (await client.post("/none?plan=1")).data

    assert (plan["job"], plan["steps"]) == ("none", [])


async def test_what_is_not_known_makes_the_sum_unknown(system: System, world: World) -> None:
    plan = await system.jobs.preview(outer(name="x", size=None))

    assert (plan.fetch_bytes, plan.steps[2].fetch_bytes, plan.steps[1].fetch_bytes) == (None, None, 5)


async def test_plan_names_the_jobs_that_it_would_wait_for_and_does_not_wait(
    system: System, world: World, client: Client
) -> None:
    world.gates["fetch x-2"] = asyncio.Event()
    started = await system.jobs.run(inner(name="x-2").in_background())
    assert started is not None
    await world.reached("fetch x-2")

    plan = (await client.post("/outer/x?plan=1")).data

    assert plan["waits_for"] == [f"inner of x-2 ({started.job_id})"]
    world.gates["fetch x-2"].set()
    await until(lambda: all(info.done for info in system.jobs.listing()))
    assert (await client.post("/outer/x?plan=1")).data["waits_for"] == []


async def test_plan_is_refused_as_the_job_would_be(world: World, client: Client) -> None:
    world.errors["plan"] = [Conflict("There is one already")] * 2

    refusals = [await client.post(path) for path in ("/outer/x?plan=1", "/outer/x")]

    assert [(refusal.status, refusal.message) for refusal in refusals] == [(409, "There is one already")] * 2


@pytest.mark.parametrize("no", ["0", "false", "off"])
async def test_call_that_says_no_plan_is_done(world: World, client: Client, no: str) -> None:
    assert (await client.post(f"/light?plan={no}")).data == {}
    assert world.things["one"] == "new"


async def test_call_that_says_it_unclearly_is_refused(world: World, client: Client) -> None:
    answer = await client.post("/light?plan=maybe")

    assert (answer.status, answer.message) == (400, "plan: must be true or false, not 'maybe'")
    assert world.things == BEFORE


async def test_background_makes_no_difference_to_the_plan(system: System, client: Client) -> None:
    plans = [(await client.post(f"/outer/x?plan=1&background={value}")).data for value in ("true", "false")]

    assert plans[0] == plans[1]
    assert system.jobs.listing() == []


async def test_plan_means_nothing_on_routes_that_start_no_job(client: Client) -> None:
    assert (await client.post("/note?plan=1", json={"text": "written"})).data == {}
    assert (await client.post("/note?plan=nonsense", json={"text": "again"})).data == {}
    assert Planned.notes.get("note", Note()).text == "again"
    assert (await client.get("/plan_is_mine?plan=floor")).data == "floor"


async def test_route_that_has_nothing_to_do_says_so_in_its_plan_and_answers_nothing(
    world: World, client: Client
) -> None:
    plan = (await client.post("/light_or_nothing?plan=1")).data

    assert (plan["job"], plan["steps"], plan["access"]) == (None, [], "public")
    assert (await client.post("/light_or_nothing")).data == {}
    assert world.things == BEFORE
    assert (await client.post("/light_or_nothing?plan=1", json={"text": "x"})).data["job"] == "light"
    assert (await client.post("/light_or_nothing", json={"text": "x"})).data == {}
    assert world.things["one"] == "new"


async def test_route_that_declares_no_answer_gives_none_though_its_job_goes_on(
    system: System, world: World, client: Client
) -> None:
    world.gates["do one"] = asyncio.Event()

    answer = await client.post("/quietly")

    assert answer.data == {}
    assert [info.done for info in system.jobs.listing()] == [False]
    world.gates["do one"].set()
    await until(lambda: all(info.done for info in system.jobs.listing()))


@pytest.mark.parametrize("path", ["/held", "/held?plan=1"])
async def test_what_a_call_holds_is_in_force_from_before_its_plan_until_its_end(
    world: World, client: Client, path: str
) -> None:
    await client.post(path)

    assert Planned.holds == ["in force", "over"]


async def test_what_a_call_holds_is_let_go_of_when_its_plan_refuses(world: World, client: Client) -> None:
    Planned.holds.clear()
    world.errors["plan"] = [Conflict("There is one already")]
    with pytest.raises(Conflict):
        await Planned.kernel.jobs.run(outer(name="x", size=1).during(Planned.held()))

    assert Planned.holds == ["in force", "over"]


def test_kind_that_is_called_begins_nothing_and_is_a_value() -> None:
    assert light() == light()
    assert inner(name="a") != inner(name="b")
    assert inner(name="a").in_background().background
    assert inner(name="a").in_background(False) == inner(name="a")
