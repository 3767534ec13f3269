"""What keeps a job from beginning: conditions, other jobs, and having begun just now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rooftree import (
    ConditionNotMet,
    Invalid,
    JobBusy,
    Kernel,
    Lock,
    NotReady,
    Plugin,
    Problem,
    Rate,
    RateLimited,
    Step,
    Steps,
    Unavailable,
    job,
    step,
)
from rooftree.jobs import conditions
from rooftree.jobs.journal import Journal
from rooftree.jobs.kinds import JobKind
from rooftree.process.system import System, SystemStateChanged
from rooftree.testing import running_system
from tests.kernel.world import BEFORE, Put, World, Worldly, put, until

MIB = 1024 * 1024


@step("test_job_conditions.fetch/1")
class Fetch(Step):
    """Fetches so many bytes."""

    amount: int | None

    async def fetch_bytes(self) -> int | None:
        return self.amount

    async def do(self, world: World) -> None:
        await world.reach("fetch")


@job("online", conditions=["internet_host"])
async def online(world: World) -> Steps:
    await world.reach("plan")
    return [Put("one")]


@job("parent_of_online")
async def parent_of_online() -> Steps:
    return [Put("before"), online()]


@job("fetch", conditions=["free_space"])
async def fetch(amounts: tuple[int | None, ...]) -> Steps:
    return [Fetch(amount) for amount in amounts]


@job("parent_of_fetch")
async def parent_of_fetch(amounts: tuple[int | None, ...]) -> Steps:
    return [Put("one"), fetch(amounts=amounts)]


@job("fetch_and_more", conditions=["free_space"])
async def fetch_and_more(amounts: tuple[int | None, ...]) -> Steps:
    return [*(Fetch(amount) for amount in amounts), impatient(name="one")]


@job("cure", conditions=["healthy"])
async def healthy_only() -> Steps:
    return [Put("one")]


@job("impatient", reference="name", locks=lambda name: {Lock("thing", name)}, when_busy="refuse")
async def impatient(name: str) -> Steps:
    return [Put(name)]


RARELY = Rate(1, timedelta(hours=1))


@job("rare", reference="name", at_most=RARELY)
async def rare(name: str) -> Steps:
    return [Put(name)]


@job("parent_of_rare")
async def parent_of_rare() -> Steps:
    return [rare(name="one")]


def says(system: System, reason: str | None, condition: str = "internet_host") -> None:
    """From now on a condition does not hold, for that reason; or holds."""

    async def check(fetch_bytes: int) -> str | None:
        return reason

    system.conditions.register(condition, check, "test")


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [online, parent_of_online])
async def test_job_whose_condition_does_not_hold_is_refused_with_the_reason(
    system: System, world: World, kind: object
) -> None:
    says(system, "no server on the internet answers")

    with pytest.raises(ConditionNotMet) as refused:
        await system.jobs.run(kind())  # type: ignore[arg-type]

    assert refused.value.message == (
        "online was not begun: no server on the internet answers (condition internet_host)"
    )
    assert (refused.value.status, refused.value.error_key) == (400, "job_condition_error")
    assert refused.value.extra_fields == {"job": "online", "condition": "internet_host"}
    assert (world.things, world.happened) == (BEFORE, [])
    assert await Journal(system.database).open_jobs() == []
    says(system, None)
    assert await system.jobs.run(kind()) is None  # type: ignore[arg-type]


async def test_condition_that_nobody_checks_holds(system: System, world: World) -> None:
    assert await system.jobs.run(online()) is None


async def test_ignored_condition_lets_the_job_begin_and_is_reported_after_a_restart_too(
    tmp_path: Path, world: World
) -> None:
    async with running_system(tmp_path, plugins=[Worldly]) as system:
        await system.conditions.ignore(["internet_host", "healthy", "internet_host"], unchecked=["internet_host"])

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        says(system, "no server on the internet answers")
        assert system.conditions.ignored == ("healthy", "internet_host")
        assert await system.jobs.run(online()) is None
        (reported,) = [problem for problem in system.problems if problem.type == "job_conditions"]
        assert "healthy, internet_host" in reported.message
        assert reported.severity == "unsupported"

        await system.conditions.ignore([])

        assert not [problem for problem in system.problems if problem.type == "job_conditions"]
        with pytest.raises(ConditionNotMet):
            await system.jobs.run(online())


async def test_condition_that_is_none_cannot_be_ignored(system: System) -> None:
    says(system, None, "moon_is_full")

    with pytest.raises(Invalid, match=r"ignore_conditions: sun_shines is no condition; allowed are .*moon_is_full"):
        await system.conditions.ignore(["moon_is_full", "sun_shines"])

    assert system.conditions.ignored == ()
    await system.conditions.ignore(["moon_is_full"])


async def test_check_that_breaks_refuses_the_job_until_it_is_ignored(system: System, world: World) -> None:
    async def check(fetch_bytes: int) -> str | None:
        raise ZeroDivisionError("division by zero")

    system.conditions.register("internet_host", check, "network")

    with pytest.raises(ConditionNotMet, match="its check by plugin network failed: division by zero; ignore"):
        await system.jobs.run(online())

    await system.conditions.ignore(["internet_host"])
    assert await system.jobs.run(online()) is None


async def test_check_that_hangs_holds_no_job_up_for_ever(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(fetch_bytes: int) -> str | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(conditions, "CHECK_WITHIN_S", 0.01)
    system.conditions.register("internet_host", check, "network")

    async with asyncio.timeout(5):
        with pytest.raises(ConditionNotMet, match=r"took more than 0\.01 s"):
            await system.jobs.run(online())


async def test_condition_belongs_to_one_plugin_and_goes_with_it(tmp_path: Path, world: World) -> None:
    class Network(Plugin):
        name = "network"

        async def setup(self, kernel: Kernel) -> None:
            kernel.condition("internet_host", self.check)

        async def check(self, fetch_bytes: int) -> str | None:
            return "the cable is out"

    Network.__module__ = "network_under_test"  # of a package of its own, as a plugin is
    async with running_system(tmp_path, plugins=[Worldly, Network]) as system:
        with pytest.raises(ValueError, match="already checked by plugin network"):
            says(system, None)
        with pytest.raises(ConditionNotMet, match="the cable is out"):
            await system.jobs.run(online())

        await system.plugins.disable("network")

        assert await system.jobs.run(online()) is None


@pytest.mark.parametrize("kind", [fetch, parent_of_fetch, fetch_and_more])
@pytest.mark.parametrize("amounts", [(10 * MIB,), (4 * MIB, 6 * MIB), (10 * MIB, None)])
async def test_room_is_asked_for_what_will_be_fetched(
    tmp_path: Path, world: World, kind: JobKind, amounts: tuple[int | None, ...]
) -> None:
    asked = list[int]()

    async def check(fetch_bytes: int) -> str | None:
        asked.append(fetch_bytes)
        return "the disk is full" if fetch_bytes > 5 * MIB else None

    async with running_system(tmp_path, plugins=[Worldly]) as system:
        system.conditions.forget("free_space")
        system.conditions.register("free_space", check, "test")
        for begin in (system.jobs.run, system.jobs.preview):
            asked.clear()
            with pytest.raises(ConditionNotMet, match="the disk is full"):
                await begin(kind(amounts=amounts))
            assert asked == [0, 10 * MIB]
        assert world.things == BEFORE


async def test_free_space_is_that_of_the_data_disk(tmp_path: Path, world: World) -> None:
    settings = {"kernel.min_free_mib": 1_000_000}
    async with running_system(tmp_path, plugins=[Worldly], settings=settings) as system:
        with pytest.raises(ConditionNotMet, match=r"\d+ MiB are free on the data disk, and it needs 1000000"):
            await system.jobs.run(fetch(amounts=(0,)))


async def test_unhealthy_system_refuses_what_asks_for_health_and_nothing_else(system: System, world: World) -> None:
    system.problems.report(Problem("docker_gateway", message="It is open", severity="unhealthy"))

    with pytest.raises(ConditionNotMet, match="the system is unhealthy: docker_gateway; mend that first"):
        await system.jobs.run(healthy_only())

    assert await system.jobs.run(put(name="x")) is None


# --- another job is in the way ----------------------------------------------------------------------------------------


async def test_job_that_does_not_wait_is_refused_naming_the_one_in_the_way(system: System, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    holder = asyncio.create_task(system.jobs.run(put(name="one")))
    await world.reached("do one")
    job_id = system.jobs.listing()[0].uuid

    with pytest.raises(JobBusy) as refused:
        await system.jobs.run(impatient(name="one"))

    assert refused.value.message == f"impatient can't begin while put of one ({job_id}) is under way"
    assert (refused.value.status, refused.value.error_key) == (400, "job_concurrency_error")
    assert refused.value.extra_fields == {"job_id": job_id, "name": "put"}
    assert await system.jobs.run(impatient(name="two")) is None
    world.gates["do one"].set()
    await holder
    assert await system.jobs.run(impatient(name="one")) is None


async def test_job_that_does_not_wait_is_refused_by_one_that_queues(system: System, world: World) -> None:
    world.gates["do one"] = asyncio.Event()
    holder = asyncio.create_task(system.jobs.run(put(name="one", names=("one",))))
    await world.reached("do one")
    queued = asyncio.create_task(system.jobs.run(put(name="one", names=("two",))))
    await until(lambda: len(system.jobs.listing()) == 2)

    with pytest.raises(JobBusy):
        await system.jobs.run(impatient(name="one"))

    world.gates["do one"].set()
    await asyncio.gather(holder, queued)


# --- it began just now ------------------------------------------------------------------------------------------------


async def test_job_that_began_just_now_is_refused_for_that_reference(system: System, world: World) -> None:
    await system.jobs.run(rare(name="one"))

    with pytest.raises(RateLimited, match=r"rare of one may begin at most 1 time within 1:00:00; it may again in"):
        await system.jobs.run(rare(name="one"))

    assert await system.jobs.run(rare(name="two")) is None
    assert world.happened.count("do one") == 1


async def test_of_many_at_once_only_as_many_begin_as_may(system: System, world: World) -> None:
    outcomes = await asyncio.gather(*(system.jobs.run(rare(name="one")) for _ in range(5)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes].count(RateLimited) == 4
    assert world.happened.count("do one") == 1


@pytest.mark.parametrize("first", [rare, parent_of_rare])
async def test_limit_of_a_child_counts_and_refuses_too(system: System, world: World, first: JobKind) -> None:
    await system.jobs.run(first(name="one") if first is rare else first())

    for again in (system.jobs.run, system.jobs.preview):
        with pytest.raises(RateLimited):
            await again(parent_of_rare())


async def test_job_that_was_refused_does_not_count(system: System, world: World, disk: Callable[[str], None]) -> None:
    disk("nospace")
    with pytest.raises(Unavailable):
        await system.jobs.run(rare(name="one"))
    disk("")

    assert await system.jobs.run(rare(name="one")) is None


# --- its plugin does not run ------------------------------------------------------------------------------------------


async def test_job_of_a_stopped_plugin_is_not_begun_and_that_is_what_its_caller_is_told(
    system: System, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rooftree.plugins import plugins

    monkeypatch.setattr(plugins, "DRAIN_S", 0.05)
    world.gates["plan"] = asyncio.Event()
    planning = asyncio.create_task(system.jobs.run(put(name="x")))
    await world.reached("plan")

    await system.plugins.disable("worldly")

    begin: list[Callable[[], Awaitable[object]]] = [
        lambda: planning,
        lambda: system.jobs.run(put(name="x")),
        lambda: system.jobs.preview(put(name="x")),
    ]
    for each in begin:
        with pytest.raises(NotReady, match="Plugin worldly is not running; none of its jobs is begun"):
            await each()
    assert system.jobs.listing() == []


async def test_system_is_frozen_as_long_as_anybody_wants_it_and_jobs_that_need_it_running_do_not_begin(
    tmp_path: Path,
) -> None:
    states = list[str]()
    async with running_system(tmp_path, plugins=[]) as system:
        system.bus.subscribe(SystemStateChanged, lambda event: states.append(event.state), "test")
        with pytest.raises(ConditionNotMet, match="the system is not frozen: running"):
            await system.conditions.require("thaw", ["frozen"])

        for purpose in ("backup", "snapshot"):
            system.freeze(purpose)
        system.thaw("backup")

        await system.conditions.require("thaw", ["frozen"])
        with pytest.raises(ConditionNotMet, match="the system is not running: freeze"):
            await system.conditions.require("backup", ["running"])
        system.thaw("snapshot")
        system.thaw("snapshot")
        await system.conditions.require("backup", ["running"])
        await system.bus.drained()

        assert states == ["freeze", "running"]
