"""Who may call what: as reviewed, as written for people, and as the reference says but for good reasons."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rooftree.process.system import System
from tests.contract import access_table
from tests.contract.access_differences import DIFFERENCES, Difference
from tests.contract.access_table import BEGIN, END, GOLDEN, PAGE, Asked, as_page, as_tsv, ask, filled, read
from tests.contract.door import CALLERS, Wire, house_with_closed_rooms, tokens_of_callers
from tests.requirements import SHARED, needs_shared

REFERENCE = SHARED / "reference" / "access-matrix.tsv"
ADD_ONS = [name for name, who in CALLERS.items() if who.kind == "addon"]
REGENERATE = "`make access-table` writes what the routes say; review what it changes"

needs_reference = needs_shared(REFERENCE)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with house_with_closed_rooms(tmp_path_factory.mktemp("house")) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(system: System) -> list[Asked]:
    """What every route says to everybody."""
    return await ask(system)


async def test_every_plugin_and_every_route_is_asked(system: System, asked: list[Asked]) -> None:
    declared = {(entry.route.method, path) for entry in system.server.table.entries for path in entry.route.paths}

    assert {one.row for one in asked if "/self/" not in one.path} == declared
    assert {one.owner for one in asked} >= {"addons", "docker", "store", "supervisor"}
    assert len(asked) >= 90


async def test_routes_say_what_was_reviewed(asked: list[Asked]) -> None:
    found = {one.row: dict(one.verdicts) for one in asked}

    assert found == read(GOLDEN), REGENERATE
    assert GOLDEN.read_text() == as_tsv(asked), REGENERATE


async def test_page_for_people_says_the_same(asked: list[Asked]) -> None:
    page = PAGE.read_text()

    assert page == as_page(asked, page), REGENERATE


async def test_page_without_its_marks_is_not_taken_for_one_without_tables(asked: list[Asked]) -> None:
    for page in ("", BEGIN, END, f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="are missing"):
            as_page(asked, page)


ONE_OF_MANY = {"/services/mqtt": "/services/{service}"}
"""Paths of the reference that go through a route for all of their kind here."""


def differing() -> dict[tuple[str, str, str], tuple[str, str]]:
    """Method, path and caller where our verdict is not the reference's, with both; for the routes that both know."""
    ours = read(GOLDEN)
    theirs = {(method, ONE_OF_MANY.get(path, path)): verdicts for (method, path), verdicts in read(REFERENCE).items()}
    return {
        (*row, caller): (theirs[row][caller], verdict)
        for row in ours.keys() & theirs.keys()
        for caller, verdict in ours[row].items()
        if verdict != theirs[row][caller]
    }


@needs_reference
async def test_reference_says_the_same_but_where_a_reason_is_given() -> None:
    unexplained = {
        cell: verdicts
        for cell, verdicts in differing().items()
        if not any(one.covers(*cell, *verdicts) for one in DIFFERENCES)
    }

    assert unexplained == {}


@needs_reference
@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: f"{one.route} {one.reference} {one.here}")
async def test_difference_that_is_explained_is_there_for_each_caller(difference: Difference) -> None:
    explained = {cell[2] for cell, verdicts in differing().items() if difference.covers(*cell, *verdicts)}

    assert explained == set(difference.callers)


@needs_reference
async def test_nobody_of_the_reference_is_missing() -> None:
    with REFERENCE.open() as file:
        assert file.readline().split() == ["method", "path", *access_table.EVERYBODY]
    assert len(read(GOLDEN).keys() & read(REFERENCE).keys()) >= 74


async def test_own_slug_is_worth_what_self_is(system: System, asked: list[Asked]) -> None:
    tokens = await tokens_of_callers(system)
    verdicts = {one.row: one.verdicts for one in asked}
    wire = Wire(system.port)
    checked = 0
    for method, path in verdicts:
        if "{addon}" not in path:
            continue
        as_self = path.replace("{addon}", "self", 1)
        for caller in ADD_ONS:
            named = await wire.knock(method, filled(path, CALLERS[caller].id), tokens[caller])
            by_self = await wire.knock(method, filled(path, "self"), tokens[caller])

            assert named.status == by_self.status, f"{caller}: {method} {path}"
            if (method, as_self) in verdicts:
                assert (named.reached is not None) == (verdicts[method, as_self][caller] in {"ok", "open"})
            checked += 1
    wire.close()

    assert checked >= 30 * len(ADD_ONS)


async def test_self_reaches_the_handler_as_the_add_on_that_calls(system: System) -> None:
    tokens = await tokens_of_callers(system)
    wire = Wire(system.port)

    knocks = {caller: await wire.knock("GET", b"/addons/self/info", tokens[caller]) for caller in ADD_ONS}
    wire.close()

    assert {caller: knock.parts for caller, knock in knocks.items()} == {
        caller: {"addon": CALLERS[caller].id} for caller in ADD_ONS
    }
