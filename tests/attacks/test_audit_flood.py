"""A caller that changes very much: what others did stays in the audit log, and it has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from rooftree import (
    KNOWN,
    Collection,
    JobCall,
    Kernel,
    Plugin,
    Principal,
    Role,
    Routes,
    Step,
    Steps,
    document,
    job,
    step,
)
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for

LIMITS = {"kernel.changes_per_minute": 30, "kernel.audit_entries": 400, "kernel.audit_share": 60}
HOSTILE = Principal("addon", "local_hostile", Role.MANAGER)
ADMIN_ADDON = Principal("addon", "local_admin", Role.ADMIN)
QUIET = Principal("addon", "local_quiet", Role.DEFAULT)
CORE = Principal("core", "homeassistant", Role.ADMIN)


@document("test_audit_flood.option", version=1)
@frozen
class Option:
    number: int = 0


@frozen
class NewOption:
    number: int


@step("flood.nothing/1")
class Nothing(Step):
    async def do(self) -> None: ...


@job("flood")
async def flood() -> Steps:
    return [Nothing()]


routes = Routes()


@routes.post("/options", access=KNOWN)
async def set_option(body: NewOption) -> None:
    await Changing.kernel.commit(Changing.options.put("own", Option(body.number)))


@routes.post("/job", access=KNOWN)
def begin_job() -> JobCall[None]:
    return flood()


class Changing(Plugin):
    name = "changing"
    kernel: Kernel
    options: Collection[Option]

    def routes(self) -> Routes:
        return routes

    async def setup(self, kernel: Kernel) -> None:
        Changing.kernel, Changing.options = kernel, await kernel.collection(Option)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, plugins=[Changing], settings=LIMITS) as system:
        yield system


async def changes(system: System, who: Principal, number: int, path: str = "/options") -> list[int]:
    """Let somebody change something so often, as fast as it goes; the statuses."""
    async with Client.over_tcp(system, await token_for(system, who)) as client:
        statuses: list[int] = []
        for begin in range(0, number, 20):
            asked = (client.post(path, json={"number": begin + n}) for n in range(min(20, number - begin)))
            statuses += [answer.status for answer in await asyncio.gather(*asked)]
        return statuses


async def rows_of(system: System, who: Principal) -> int:
    return len(await system.audit.page(who=str(who), limit=1000))


@pytest.mark.parametrize("path", ["/options", "/job"])
async def test_what_others_did_stays_whatever_one_does(system: System, path: str) -> None:
    await changes(system, QUIET, 10)
    await changes(system, CORE, 50)
    before = [await rows_of(system, QUIET), await rows_of(system, CORE)]

    for _ in range(3):
        statuses = await changes(system, HOSTILE, 500, path)
        system.state._about_to_change.__self__._throttle._meters.clear()  # type: ignore[attr-defined]  # a minute has passed

    assert 429 in statuses
    assert [await rows_of(system, QUIET), await rows_of(system, CORE)] == before == [10, 50]
    assert await rows_of(system, HOSTILE) <= LIMITS["kernel.audit_share"]


@pytest.mark.parametrize("who", [HOSTILE, ADMIN_ADDON])
async def test_add_on_that_changes_something_all_the_time_is_told_to_wait(system: System, who: Principal) -> None:
    statuses = await changes(system, who, 100)

    assert (statuses.count(200), statuses.count(429)) == (30, 70)
    async with Client.over_tcp(system, await token_for(system, who)) as client:
        refused = await client.post("/options", json={"number": 1})
        begun = await client.post("/job")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "at most 30 times within 0:01:00" in refused.message and str(who) in refused.message
    assert begun.status == 429
    assert await changes(system, QUIET, 10) == [200] * 10


async def test_administrators_and_core_change_as_much_as_they_like(system: System) -> None:
    assert set(await changes(system, CORE, 200)) == {200}
    async with Client.over_unix(system) as client:
        assert {(await client.post("/options", json={"number": n})).status for n in range(100)} == {200}


async def test_one_callers_jobs_do_not_push_out_the_records_of_others(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rooftree.jobs.journal.KEEP", 40)
    await changes(system, CORE, 10, "/job")

    for _ in range(3):
        await changes(system, HOSTILE, 30, "/job")
        system.state._about_to_change.__self__._throttle._meters.clear()  # type: ignore[attr-defined]  # a minute has passed

    def callers(connection: object) -> list[str]:
        return [who for (who,) in connection.execute("SELECT caller FROM job")]  # type: ignore[attr-defined]

    kept = await system.database.read(callers)
    assert kept.count(str(CORE)) == 10
    assert kept.count(str(HOSTILE)) <= 40 // 4 + 1
