"""``/jobs``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import (
    ConditionNotMet,
    Failed,
    JobCancelled,
    Jobs,
    Lock,
    Plugin,
    Principal,
    Role,
    Run,
    Step,
    Steps,
    job,
    step,
)
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin


@step("test_jobs.wait/1")
class Wait(Step):
    """Waits for the test."""

    stage = "waiting"

    async def do(self, run: Run) -> None:
        """Half is done before."""
        run.progress(1, 2)
        await Working.may_end.wait()


@step("test_jobs.have_patience/1")
class HavePatience(Step):
    """Waits for the test, but not longer than its job is wanted."""

    stage = "having patience"
    interruptible = True

    async def do(self) -> None:
        """Wait."""
        await Working.may_end.wait()

    async def undo(self, _: None) -> None:
        """There is nothing to take back."""


@job("patient")
async def patient() -> Steps:
    """A job that can be cancelled."""
    return [HavePatience()]


@step("test_jobs.fail/1")
class Fail(Step):
    """Fails."""

    stage = "failing"

    async def do(self, run: Run) -> None:
        """Always."""
        raise Failed("It did not work")


@job("wait", reference="slug")
async def waiting(slug: str) -> Steps:
    """A job that lasts."""
    return [Wait()]


@job("nested", reference="slug")
async def nested(slug: str) -> Steps:
    """A job with one that lasts in it."""
    return [waiting(slug=slug)]


@job("queueing", locks=lambda: {Lock("bench", "one")})
async def queueing() -> Steps:
    """A job that wants what another one may hold."""
    return []


@job("holding", locks=lambda: {Lock("bench", "one")})
async def holding() -> Steps:
    """A job that holds it, and lasts."""
    return [Wait()]


@job("guarded", conditions=["internet_host"])
async def guarded() -> Steps:
    """A job that needs the internet."""
    return []


@job("fail", reference="slug")
async def failing(slug: str) -> Steps:
    """A job that fails."""
    return [Fail()]


class Working(Plugin):
    """Owns the steps."""

    name = "working"
    may_end: ClassVar[asyncio.Event]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The system, with somebody who has jobs."""
    Working.may_end = asyncio.Event()
    async with running_system(tmp_path, plugins=[SupervisorPlugin, Working]) as running:
        yield running
        Working.may_end.set()


async def begin(client: Client, jobs: Jobs) -> str:
    """Begin the job that lasts, and wait until it is half done; its id."""
    started = await jobs.run(waiting(slug="local_hello").in_background())
    assert started is not None
    await job_when(client, started.job_id, lambda shown: shown["progress"] == 50.0)
    return started.job_id


async def job_when(client: Client, job_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job as soon as ``condition`` holds for what is shown of it."""
    async with asyncio.timeout(10):
        while not condition(shown := (await client.get(f"/jobs/{job_id}")).data):
            pass
    return dict(shown)


async def ended(client: Client, job_id: str) -> dict[str, Any]:
    """The job, when it is done."""
    return await job_when(client, job_id, lambda shown: shown["done"])


async def test_without_jobs_there_is_nothing_to_list(client: Client) -> None:
    assert (await client.get("/jobs/info")).data == {"ignore_conditions": [], "jobs": []}


async def test_running_job_is_listed_and_shown(system: System, client: Client) -> None:
    job_id = await begin(client, system.jobs)

    listed = (await client.get("/jobs/info")).data["jobs"]
    shown = (await client.get(f"/jobs/{job_id}")).data

    assert listed == [shown]
    created = shown.pop("created")
    assert created.endswith("+00:00")
    assert shown == {
        "name": "wait",
        "reference": "local_hello",
        "uuid": job_id,
        "progress": 50.0,
        "stage": "waiting",
        "done": False,
        "errors": [],
        "extra": None,
        "child_jobs": [],
    }


async def test_failed_job_is_listed_with_its_error_until_it_is_deleted(system: System, client: Client) -> None:
    with pytest.raises(Failed) as caught:
        await system.jobs.run(failing(slug="local_hello"))
    job_id = caught.value.job_id

    (listed,) = (await client.get("/jobs/info")).data["jobs"]
    deleted = await client.delete(f"/jobs/{job_id}")

    assert (listed["uuid"], listed["done"]) == (job_id, True)
    assert listed["errors"] == [
        {"type": "Failed", "message": "It did not work", "stage": "failing", "error_key": None, "extra_fields": None}
    ]
    assert deleted.data == {}
    assert (await client.get("/jobs/info")).data["jobs"] == []


async def test_job_that_runs_cannot_be_deleted(system: System, client: Client) -> None:
    job_id = await begin(client, system.jobs)

    answer = await client.delete(f"/jobs/{job_id}")

    assert answer.status == 400
    assert "not done yet" in answer.message
    Working.may_end.set()
    assert (await ended(client, job_id))["progress"] == 100.0


async def test_deleted_job_can_not_be_deleted_again(system: System, client: Client) -> None:
    with pytest.raises(Failed) as caught:
        await system.jobs.run(failing(slug="local_hello"))

    answers = [await client.delete(f"/jobs/{caught.value.job_id}") for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 404]


@pytest.mark.parametrize("job_id", ["0" * 32, "0" * 31, "INFO", "nothing"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_job_that_does_not_exist_is_not_found(client: Client, method: str, job_id: str) -> None:
    answer = await client.request(method, f"/jobs/{job_id}")

    assert answer.status == 404
    assert answer.message


async def test_path_of_the_list_cannot_be_deleted(client: Client) -> None:
    assert (await client.delete("/jobs/info")).status == 405


async def test_children_are_below_their_job_and_can_be_asked_for(system: System, client: Client) -> None:
    started = await system.jobs.run(nested(slug="local_hello").in_background())
    assert started is not None
    shown = await job_when(client, started.job_id, lambda shown: shown["progress"] == 50.0)

    (inner,) = shown["child_jobs"]
    assert (inner["name"], inner["reference"], inner["stage"]) == ("wait", "local_hello", "waiting")
    assert (inner["progress"], inner["done"], inner["child_jobs"]) == (50.0, False, [])
    assert (await client.get(f"/jobs/{inner['uuid']}")).data == inner
    assert [listed["uuid"] for listed in (await client.get("/jobs/info")).data["jobs"]] == [started.job_id]
    assert (await client.post(f"/kernel/v1/jobs/{inner['uuid']}/cancel")).status == 409
    Working.may_end.set()
    assert (await ended(client, started.job_id))["child_jobs"][0]["done"] is True


# --- cancelling -----------------------------------------------------------------------------------------------------


async def test_cancelled_job_tells_who_cancelled_it(system: System, client: Client) -> None:
    call = asyncio.create_task(system.jobs.run(patient()))
    job_id = await the_job_at(client, "having patience")
    token = await token_for(system, Principal("addon", "local_keeper", Role.MANAGER))

    answer = await client.post(f"/kernel/v1/jobs/{job_id}/cancel", token=token)

    assert answer.data == {}
    with pytest.raises(JobCancelled):
        await call
    shown = (await client.get(f"/jobs/{job_id}")).data
    message = "patient was cancelled by addon:local_keeper; what it had done is taken back"
    assert shown["errors"] == [
        {
            "type": "JobCancelled",
            "message": message,
            "stage": "having patience",
            "error_key": "job_cancelled_error",
            "extra_fields": None,
        }
    ]
    entries = (await client.get(f"/kernel/v1/audit?job={job_id}")).data["entries"]
    assert [(entry["who"], entry["outcome"]) for entry in reversed(entries)] == [
        (None, "begun"),
        ("addon:local_keeper", "cancelled"),
        (None, "cancelled"),
        (None, "undone"),
        (None, "undone"),
    ]


async def test_job_that_can_only_go_forward_cannot_be_cancelled(system: System, client: Client) -> None:
    job_id = await begin(client, system.jobs)

    answer = await client.post(f"/kernel/v1/jobs/{job_id}/cancel")

    assert (answer.status, "can only go on to its end" in answer.message) == (409, True)
    Working.may_end.set()
    assert (await ended(client, job_id))["errors"] == []


async def test_job_that_waits_for_its_turn_is_cancelled_by_its_id(system: System, client: Client) -> None:
    await system.jobs.run(holding().in_background())
    queued = asyncio.create_task(system.jobs.run(queueing()))
    async with asyncio.timeout(10):
        while len(listed := (await client.get("/jobs/info")).data["jobs"]) < 2:
            pass
    assert (listed[0]["name"], listed[0]["done"]) == ("queueing", None)

    answer = await client.post(f"/kernel/v1/jobs/{listed[0]['uuid']}/cancel")

    assert answer.data == {}
    with pytest.raises(JobCancelled, match="queueing was cancelled by local:"):
        await queued
    assert (await client.get(f"/jobs/{listed[0]['uuid']}")).status == 404


async def the_job_at(client: Client, stage: str) -> str:
    """The id of the one job, as soon as it is at that stage."""
    async with asyncio.timeout(10):
        while True:
            for shown in (await client.get("/jobs/info")).data["jobs"]:
                if shown["stage"] == stage:
                    return str(shown["uuid"])


@pytest.mark.parametrize(("job_id", "status"), [("0" * 32, 404), ("nothing", 404)])
async def test_job_that_does_not_exist_cannot_be_cancelled(client: Client, job_id: str, status: int) -> None:
    assert (await client.post(f"/kernel/v1/jobs/{job_id}/cancel")).status == status


async def test_job_that_has_ended_cannot_be_cancelled(system: System, client: Client) -> None:
    with pytest.raises(Failed) as caught:
        await system.jobs.run(failing(slug="local_hello"))

    answer = await client.post(f"/kernel/v1/jobs/{caught.value.job_id}/cancel")

    assert (answer.status, answer.message) == (409, f"Job {caught.value.job_id} has ended already")


# --- conditions -----------------------------------------------------------------------------------------------------


async def test_condition_is_ignored_until_it_is_reset(system: System, client: Client) -> None:
    async def offline(fetch_bytes: int) -> str | None:
        return "no server answers"

    system.conditions.register("internet_host", offline, "working")
    with pytest.raises(ConditionNotMet):
        await system.jobs.run(guarded())

    assert (await client.post("/jobs/options", json={"ignore_conditions": ["internet_host"]})).data == {}
    assert (await client.get("/jobs/info")).data["ignore_conditions"] == ["internet_host"]
    assert (await client.get("/supervisor/info")).data["supported"] is False
    await system.jobs.run(guarded())
    assert (await client.post("/jobs/options", json={})).data == {}
    assert (await client.get("/jobs/info")).data["ignore_conditions"] == ["internet_host"], "what is absent stays"

    assert (await client.post("/jobs/reset")).data == {}
    assert (await client.get("/jobs/info")).data["ignore_conditions"] == []
    assert (await client.get("/supervisor/info")).data["supported"] is True
    with pytest.raises(ConditionNotMet):
        await system.jobs.run(guarded())


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"ignore_conditions": ["internet_host", "moon"]}, "ignore_conditions: moon is no condition; allowed are "),
        ({"ignore_conditions": "internet_host"}, "ignore_conditions: must be a list"),
        ({"ignore_conditions": [1]}, "ignore_conditions[0]: must be a string"),
        ({"ignore_conditions": None}, "ignore_conditions: "),
        ({"ignored": []}, "ignored: is not known here"),
    ],
)
async def test_options_that_make_no_sense_are_refused(client: Client, body: dict[str, object], sentence: str) -> None:
    answer = await client.post("/jobs/options", json=body)

    assert (answer.status, answer.message[: len(sentence)]) == (400, sentence)
    assert (await client.get("/jobs/info")).data["ignore_conditions"] == []


async def test_plan_means_nothing_where_no_job_is_started(client: Client) -> None:
    assert (await client.post("/jobs/options?plan=1", json={"ignore_conditions": ["healthy"]})).data == {}
    assert (await client.get("/jobs/info?plan=1")).data["ignore_conditions"] == ["healthy"]
    assert (await client.post("/jobs/reset?plan=1")).data == {}
    assert (await client.get("/jobs/info")).data["ignore_conditions"] == []
