"""The kernel's problems as clients see them: listed, dismissed, done something about; and what others hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rooftree import Event, Failed, JobCall, Kernel, Plugin, Problem, Service, Step, hookimpl, job, step
from rooftree.interfaces.resolution import IssueChanged, IssueRemoved
from rooftree.process.system import System
from rooftree.testing import Client, running_system
from rooftree_resolution.plugin import ResolutionPlugin
from rooftree_resolution.resolution import Dismissed
from tests.rig.waiting import until

SMOKE = Problem("smoke", "plugin", "kitchen", "It smokes in the kitchen", ("execute_repair", "execute_start"))
DUST = Problem("dust", "system", None, "It is dusty", extra={"grams": 3})


class Kitchen:
    def __init__(self) -> None:
        self.ventilated = 0
        self.window_sticks = False


KITCHEN = Service[Kitchen]("kitchen/1")


@step("kitchen.open_window/1")
class OpenWindow(Step):
    """Open the window."""

    async def do(self, kitchen: Kitchen) -> None:
        if kitchen.window_sticks:
            raise Failed("The window sticks")
        kitchen.ventilated += 1


@job("kitchen_ventilate")
async def ventilate() -> list[Step]:
    return [OpenWindow()]


class KitchenPlugin(Plugin):
    """Can do one thing about smoke."""

    name = "kitchen"
    provides = (KITCHEN,)

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(KITCHEN, Kitchen())
        self.kernel = kernel

    @hookimpl
    def remedy(self, problem: Problem, suggestion: str) -> JobCall[None] | None:
        return ventilate() if (problem.type, suggestion) == ("smoke", "execute_repair") else None


class House:
    """A system with smoke and dust in it."""

    def __init__(self, system: System, client: Client) -> None:
        self.system = system
        self.client = client
        self.kitchen = system.services.get(KITCHEN)
        self.told: list[Event] = []
        system.bus.subscribe(Event, self._hear, "test")  # all by one listener: in their order

    def _hear(self, event: Event) -> None:
        if isinstance(event, IssueChanged | IssueRemoved):
            self.told.append(event)

    async def info(self) -> dict[str, Any]:
        info: dict[str, Any] = (await self.client.get("/resolution/info")).data
        return info

    async def types(self) -> list[str]:
        """What issues there are."""
        return sorted(issue["type"] for issue in (await self.info())["issues"])

    async def issue(self, of_type: str) -> dict[str, Any]:
        return next(issue for issue in (await self.info())["issues"] if issue["type"] == of_type)

    async def suggestion(self, of_type: str) -> str:
        return next(entry["uuid"] for entry in (await self.info())["suggestions"] if entry["type"] == of_type)

    async def heard(self, count: int) -> list[Event]:
        async def has_heard() -> bool:
            return len(self.told) >= count

        await until(has_heard, within_s=5, what="what others hear")
        return self.told


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[House]:
    async with (
        running_system(folder, plugins=[ResolutionPlugin, KitchenPlugin]) as system,
        Client.over_unix(system) as client,
    ):
        yield House(system, client)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as house:
        house.system.problems.report(SMOKE)
        house.system.problems.report(DUST)
        await house.heard(2)
        house.told.clear()
        yield house


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_issues_are_listed_with_what_is_suggested_against_each(house: House) -> None:
    info = await house.info()
    smoke = await house.issue("smoke")
    of_smoke = (await house.client.get(f"/resolution/issue/{smoke['uuid']}/suggestions")).data["suggestions"]

    assert smoke == {
        "type": "smoke",
        "context": "plugin",
        "reference": "kitchen",
        "reference_extra": None,
        "uuid": smoke["uuid"],
        "message": "It smokes in the kitchen",
    }
    assert (await house.issue("dust"))["reference_extra"] == {"grams": 3}
    assert [entry["type"] for entry in of_smoke] == ["execute_repair", "execute_start"]
    assert of_smoke == info["suggestions"]
    assert {(entry["context"], entry["reference"], entry["auto"]) for entry in of_smoke} == {
        ("plugin", "kitchen", False)
    }


async def test_id_of_an_issue_and_of_a_suggestion_stay_while_the_problem_stays(house: House) -> None:
    before = await house.info()
    house.system.problems.report(Problem("smoke", "plugin", "kitchen", "It smokes more", ("execute_repair",)))
    after = await house.info()

    assert [issue["uuid"] for issue in after["issues"]] == [issue["uuid"] for issue in before["issues"]]
    assert [entry["uuid"] for entry in after["suggestions"]] == [before["suggestions"][0]["uuid"]]


async def test_unsupported_and_unhealthy_are_told_once_each_and_are_no_issues_and_end(house: House) -> None:
    for reference in ("left", "right"):
        house.system.problems.report(Problem("wiring", "system", reference, severity="unhealthy"))
    house.system.problems.report(Problem("old_house", "system", None, severity="unsupported"))
    worse = await house.info()
    for reference in ("left", "right"):
        house.system.problems.clear("wiring", "system", reference)
    house.system.problems.clear("old_house")
    better = await house.info()

    assert (worse["unhealthy"], worse["unsupported"]) == (["wiring"], ["old_house"])
    assert [issue["type"] for issue in worse["issues"]] == ["smoke", "dust"]
    assert (better["unhealthy"], better["unsupported"]) == ([], [])


async def test_context_that_clients_do_not_know_is_shown_as_one_that_they_do(house: House) -> None:
    house.system.problems.report(Problem("leak", "garden", "hose", suggestions=("execute_stop",)))

    assert (await house.issue("leak"))["context"] == "system"
    assert {entry["context"] for entry in (await house.info())["suggestions"]} == {"plugin", "system"}


@pytest.mark.parametrize("extra", [{"path": Path("/x")}, {"at": datetime.now(UTC)}, {1: 2}, {"deep": {"set": {1, 2}}}])
async def test_facts_that_are_no_json_spoil_nothing(house: House, extra: dict[Any, Any]) -> None:
    house.system.problems.report(Problem("odd", "system", extra=extra))

    assert (await house.client.get("/resolution/info")).status == 200


# --- dismissing -------------------------------------------------------------------------------------------------------


async def test_dismissed_issue_stays_away_over_a_restart_and_comes_back_as_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.system.problems.report(SMOKE)
        house.system.problems.report(DUST)
        uuid = (await house.issue("smoke"))["uuid"]
        assert (await house.client.delete(f"/resolution/issue/{uuid}")).status == 200
        gone = (await house.types(), (await house.info())["suggestions"])
        house.system.problems.report(Problem("smoke", "plugin", "kitchen", "It smokes more"))
        still_gone = await house.types()
        again = await house.client.delete(f"/resolution/issue/{uuid}")
    async with opened(tmp_path) as house:
        after_restart = await house.types()
        house.system.problems.clear("smoke", "plugin", "kitchen")
        house.system.problems.report(Problem("smoke", "plugin", "kitchen", "It smokes again"))
        anew = await house.issue("smoke")

    assert (gone, still_gone, after_restart) == ((["dust"], []), ["dust"], ["dust"])
    assert (again.status, again.envelope["error_key"]) == (404, "resolution_issue_not_found_error")
    assert again.envelope["extra_fields"] == {"uuid": uuid}
    assert anew["uuid"] != uuid


async def test_dismissed_suggestion_is_made_no_more_and_the_issue_stays(house: House) -> None:
    uuid = await house.suggestion("execute_start")
    assert (await house.client.delete(f"/resolution/suggestion/{uuid}")).status == 200
    refused = [
        await house.client.delete(f"/resolution/suggestion/{uuid}"),
        await house.client.post(f"/resolution/suggestion/{uuid}"),
    ]
    (told,) = await house.heard(1)

    assert [entry["type"] for entry in (await house.info())["suggestions"]] == ["execute_repair"]
    assert await house.types() == ["dust", "smoke"]
    assert isinstance(told, IssueChanged)
    assert [suggestion.type for suggestion in told.suggestions] == ["execute_repair"]
    for answer in refused:
        assert (answer.status, answer.envelope["error_key"]) == (404, "resolution_suggestion_not_found_error")


async def test_what_was_dismissed_of_problems_that_went_while_nobody_looked_is_forgotten(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[ResolutionPlugin]) as system:
        await system.state.commit((await system.state.collection(Dismissed)).put("a" * 32, Dismissed("b" * 32)))
    async with running_system(tmp_path, plugins=[ResolutionPlugin]) as system:
        assert not await system.state.collection(Dismissed)


async def test_what_was_dismissed_of_problems_that_are_over_is_forgotten(house: House) -> None:
    await house.client.delete(f"/resolution/suggestion/{await house.suggestion('execute_start')}")
    await house.client.delete(f"/resolution/issue/{(await house.issue('smoke'))['uuid']}")
    dismissed = await house.system.state.collection(Dismissed)
    before = len(dismissed)
    house.system.problems.clear("smoke", "plugin", "kitchen")

    async def forgotten() -> bool:
        return not dismissed

    await until(forgotten, within_s=5, what="that it is forgotten")
    house.system.problems.report(SMOKE)

    assert before == 2
    assert [entry["type"] for entry in (await house.info())["suggestions"]] == ["execute_repair", "execute_start"]


# --- doing something --------------------------------------------------------------------------------------------------


async def test_hook_remedy_gives_the_job_that_does_what_is_suggested_and_then_the_issue_ends(house: House) -> None:
    uuid = await house.suggestion("execute_repair")
    plan = (await house.client.post(f"/resolution/suggestion/{uuid}?plan=1")).data
    before = house.kitchen.ventilated
    answer = await house.client.post(f"/resolution/suggestion/{uuid}")

    assert [step["what"] for step in plan["steps"]] == ["Open the window.", "Take the issue off the list."]
    assert (before, answer.status, house.kitchen.ventilated) == (0, 200, 1)
    assert await house.types() == ["dust"]


async def test_issue_stays_when_what_is_suggested_fails(house: House) -> None:
    house.kitchen.window_sticks = True
    answer = await house.client.post(f"/resolution/suggestion/{await house.suggestion('execute_repair')}")

    assert (answer.status, answer.message) == (500, "The window sticks")
    assert await house.types() == ["dust", "smoke"]


async def test_suggestion_that_nobody_can_carry_out_says_what_is_to_be_done(house: House) -> None:
    answer = await house.client.post(f"/resolution/suggestion/{await house.suggestion('execute_start')}")

    assert answer.status == 400
    assert "execute_start is nothing that can be done from here: It smokes in the kitchen" in answer.message
    assert await house.types() == ["dust", "smoke"]


async def test_unknown_ids_are_told_as_not_found(house: House) -> None:
    unknown = "0" * 32
    answers = [
        await house.client.get(f"/resolution/issue/{unknown}/suggestions"),
        await house.client.delete(f"/resolution/issue/{unknown}"),
        await house.client.post(f"/resolution/suggestion/{unknown}"),
    ]

    assert [answer.status for answer in answers] == [404, 404, 404]
    assert {answer.envelope["extra_fields"]["uuid"] for answer in answers} == {unknown}


# --- what others hear -------------------------------------------------------------------------------------------------


async def test_others_hear_of_issues_that_appear_change_and_end(house: House) -> None:
    house.system.problems.report(Problem("dust", "system", None, "It is very dusty", ("execute_reset",)))
    house.system.problems.clear("dust")
    changed, removed = await house.heard(2)

    assert isinstance(changed, IssueChanged)
    assert isinstance(removed, IssueRemoved)
    assert (changed.issue.type, changed.issue.uuid) == ("dust", removed.issue.uuid)
    assert [(entry.type, entry.context, entry.reference) for entry in changed.suggestions] == [
        ("execute_reset", "system", None)
    ]


async def test_others_hear_in_its_order_what_happens_in_one_moment(house: House) -> None:
    problems = house.system.problems
    problems.report(Problem("rust", "system"))
    problems.clear("dust")
    problems.report(DUST)
    told = await house.heard(3)

    assert [(type(event), event.issue.type) for event in told if isinstance(event, IssueRemoved | IssueChanged)] == [
        (IssueChanged, "rust"),
        (IssueRemoved, "dust"),
        (IssueChanged, "dust"),
    ]


async def test_others_hear_once_that_an_issue_was_dismissed_and_nothing_more_of_it(house: House) -> None:
    await house.client.delete(f"/resolution/issue/{(await house.issue('dust'))['uuid']}")
    house.system.problems.report(Problem("dust", "system", None, "It is very dusty"))
    house.system.problems.clear("dust")
    house.system.problems.report(Problem("rust", "system"))
    told = await house.heard(2)

    assert [(type(event), event.issue.type) for event in told if isinstance(event, IssueRemoved | IssueChanged)] == [
        (IssueRemoved, "dust"),
        (IssueChanged, "rust"),
    ]


async def test_issue_that_becomes_worse_is_told_as_removed(house: House) -> None:
    house.system.problems.report(Problem("dust", "system", None, "It burns", severity="unhealthy"))
    (told,) = await house.heard(1)

    assert isinstance(told, IssueRemoved)
    assert (await house.info())["unhealthy"] == ["dust"]
