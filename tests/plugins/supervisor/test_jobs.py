"""``/jobs``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rooftree import Failed, Jobs, Plugin, Run, Step, Steps, job, step
from rooftree.interfaces import hooks
from rooftree.system import System
from rooftree.testing import Client, running_system
from rooftree_supervisor.plugin import SupervisorPlugin


@step("test_jobs.wait/1")
class Wait(Step):
    """Waits for the test."""

    stage = "waiting"

    async def do(self, run: Run) -> None:
        """Half is done before."""
        run.progress(1, 2)
        await Working.may_end.wait()


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
    async with running_system(tmp_path, plugins=[SupervisorPlugin, Working], specifications=[hooks]) as running:
        yield running
        Working.may_end.set()


async def begin(client: Client, jobs: Jobs) -> str:
    """Begin the job that lasts, and wait until it is half done; its id."""
    started = await jobs.run(waiting, background=True, slug="local_hello")
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
        await system.jobs.run(failing, slug="local_hello")
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
        await system.jobs.run(failing, slug="local_hello")

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
