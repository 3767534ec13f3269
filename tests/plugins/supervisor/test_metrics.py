"""``/kernel/v1/metrics``, read with Prometheus' own parser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rooftree import JobChanged, JobError, JobInfo, Kernel, Plugin, Principal, Problem, Role
from rooftree.http.traffic import BOUNDS_S, Traffic
from rooftree.process.system import System
from rooftree.testing import Client, running_system, token_for
from rooftree_supervisor.plugin import SupervisorPlugin

METRICS = "/kernel/v1/metrics"


async def scraped(client: Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, by its name and labels."""
    answer = await client.get(METRICS)
    assert answer.status == 200, answer.text
    families: Iterable[object] = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples  # type: ignore[attr-defined]  # the library has no types
    }


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_requests_are_counted_by_method_declared_route_and_status(client: Client) -> None:
    before = await scraped(client)
    for _ in range(3):
        await client.get("/supervisor/ping")
    await client.get(f"/jobs/{'0' * 32}")
    await client.get("/no/such/thing")
    await client.request("PROPFIND", "/supervisor/ping")

    after = await scraped(client)

    count = "rooftree_http_request_duration_seconds_count"
    ping = sample(count, method="GET", route="/supervisor/ping", status="200")
    assert after[ping] - before.get(ping, 0) == 3
    assert after[sample(count, method="GET", route="/jobs/{job_id}", status="404")] == 1
    assert after[sample(count, method="GET", route="", status="404")] == 1
    assert after[sample(count, method="other", route="", status="405")] == 1


async def test_names_that_clients_choose_make_no_labels(client: Client) -> None:
    first = len(await scraped(client))
    for number in range(50):
        await client.get(f"/no/such/thing/{number}")
        await client.request("PROPFIND", f"/supervisor/ping/{number}")
    await scraped(client)

    assert len(await scraped(client)) - first < 5 * (len(BOUNDS_S) + 4)


async def test_jobs_that_end_are_counted_by_outcome(system: System, client: Client) -> None:
    for outcome in (None, "app_unknown_error", "job_cancelled_error", None):
        errors = [JobError("Some", "went wrong", error_key=outcome)] if outcome else []
        for done in (False, True):
            system.bus.publish(JobChanged(job_info(done=done, errors=errors)))
    await system.bus.drained()

    numbers = await scraped(client)

    ended = "rooftree_jobs_ended_total"
    assert numbers[sample(ended, job="wind", outcome="done")] == 2
    assert numbers[sample(ended, job="wind", outcome="failed")] == 1
    assert numbers[sample(ended, job="wind", outcome="cancelled")] == 1
    assert numbers[sample("rooftree_events_published_total", type="job_changed")] == 8


def job_info(*, done: bool, errors: list[JobError]) -> JobInfo:
    return JobInfo(
        name="wind", reference=None, uuid="0" * 32, progress=0.0, stage=None, done=done, created=datetime.now(UTC),
        errors=errors,
    )  # fmt: skip


async def test_plugins_problems_loop_and_process_are_there(system: System, client: Client) -> None:
    system.problems.report(Problem("smoke", message="There is smoke", severity="unhealthy"))

    numbers = await scraped(client)

    assert numbers[sample("rooftree_plugin_state", plugin="supervisor", state="ok")] == 1
    assert numbers[sample("rooftree_problems", severity="unhealthy")] == 1
    assert numbers[sample("rooftree_jobs", state="runs")] == 0
    assert numbers[sample("rooftree_loop_blocks_total")] == 0
    assert numbers[sample("rooftree_loop_lag_seconds")] >= 0
    assert numbers[sample("process_resident_memory_bytes")] > 1_000_000
    assert numbers[sample("process_open_fds")] > 3


async def test_metrics_of_plugins_are_shown_beside_the_kernels(tmp_path: Path) -> None:
    class Counting(Plugin):
        name = "counting"

        async def setup(self, kernel: Kernel) -> None:
            kernel.metrics.counter("strikes", "Strikes, by bell", labels=("bell",)).add(2, bell='great "Tom"')
            kernel.metrics.gauge("hands", "Hands", read=lambda: 2)

    async with (
        running_system(tmp_path, plugins=[SupervisorPlugin, Counting]) as system,
        Client.over_unix(system) as client,
    ):
        numbers = await scraped(client)
        await system.plugins.disable("counting")
        later = await scraped(client)

    assert numbers[sample("rooftree_plugin_counting_strikes_total", bell='great "Tom"')] == 2
    assert numbers[sample("rooftree_plugin_counting_hands")] == 2
    assert not any("counting_" in name for name, _ in later)


async def test_answer_says_that_it_is_the_text_format(client: Client) -> None:
    answer = await client.get(METRICS)

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(("role", "status"), [(Role.MANAGER, 200), (Role.HOMEASSISTANT, 403), (Role.DEFAULT, 403)])
async def test_metrics_are_for_managers(system: System, role: Role, status: int) -> None:
    token = await token_for(system, Principal("token", "prometheus", role))

    async with Client.over_tcp(system, token) as program:
        assert (await program.get(METRICS)).status == status


def test_answers_are_grouped_by_how_long_they_took() -> None:
    traffic = Traffic()
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        traffic.note("GET", "/notes", 200, seconds)

    (answers,) = traffic.answers().values()

    assert answers.count == sum(answers.by_duration) == 4
    assert answers.by_duration[0] == 2  # a bound is within its group
    assert answers.by_duration[BOUNDS_S.index(0.5)] == 1
    assert answers.by_duration[-1] == 1


def test_prometheus_is_not_imported_before_somebody_scrapes() -> None:
    code = "import sys, rooftree_supervisor.plugin; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"False"
