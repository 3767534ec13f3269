"""No spelling of any route of ours is worth more than the canonical one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rooftree.http.paths import segments
from rooftree.http.table import Entry
from rooftree.process.system import System
from tests.contract.access_table import filled
from tests.contract.door import ANOTHER, CALLERS, Wire, house_with_closed_rooms, paths_of, tokens_of_callers
from tests.kernel.spellings import canonical, spellings

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLERS_HERE = ("anonymous", "addon-no-api", "default", "manager")
"""Those for whom there is something to win."""
ANSWERS = {400, 401, 403, 404, 405}
"""What a spelling is answered that leads to no handler."""
HUGE = 2_000
"""Bytes of a target that one caller may send for all: what is refused there has not been read any further."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with house_with_closed_rooms(tmp_path_factory.mktemp("house")) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def wire(system: System) -> AsyncIterator[Wire]:
    wire = Wire(system.port)
    yield wire
    wire.close()


@pytest.mark.parametrize("caller", CALLERS_HERE)
async def test_no_spelling_of_any_route_gets_further_than_the_canonical_one(
    system: System, wire: Wire, caller: str
) -> None:
    token = (await tokens_of_callers(system)).get(caller)
    entries = system.server.table.entries
    declared = {f"{entry.route.method} {entry.route.path}": entry.route.access for entry in entries}
    reached = {f"{entry.route.method} {path}": entry for entry in entries for path in entry.route.paths}
    tried = 0

    for entry, path in paths_of(entries):
        method = entry.route.method
        for addon in (ANOTHER, "self") if path.startswith("/addons/{addon}") else (ANOTHER,):
            plain = filled(path, addon)
            assert (await wire.knock(method, plain, token)).reached in {f"{method} {entry.route.path}", None}
            for what, target in spellings(plain.decode()).items():
                if target == plain or (len(target) > HUGE and caller != "anonymous"):
                    continue
                knock = await wire.knock(method, target, token)
                tried += 1

                where = f"{caller}: {method} {plain!r}: {what}: {target[:80]!r}: {knock}"
                if knock.reached is None:
                    assert knock.status in ANSWERS, where
                else:  # Then it is the one spelling of a thing that this caller may ask for, but for a free text in it.
                    assert rest_is_canonical(target.decode(), reached[knock.reached]), where
                    assert declared[knock.reached].allows(CALLERS.get(caller), knock.parts), where

    assert tried > 3_000


def rest_is_canonical(target: str, entry: Entry) -> bool:
    """Whether all of a path is in its one spelling, but the parts that are declared as free texts."""
    declared = next(path for path in entry.route.paths if path.count("/") == target.count("/")).split("/")
    spelt = [
        "x" if template.strip("{}") in entry.free_texts else segment
        for template, segment in zip(declared, target.split("/"), strict=True)
    ]
    path = "/".join(spelt)
    return canonical(segments(path)) == path


async def test_spellings_of_an_open_route_lead_nowhere(wire: Wire) -> None:
    knocks = {what: await wire.knock("GET", target) for what, target in spellings("/supervisor/ping").items()}

    assert [what for what, knock in knocks.items() if knock.reached is not None] == []
    assert {knocks[what].status for what in ("trailing slash", "escaped dots", "escaped tab", "24 KB")} == {400}
