"""The shape of our answers beside what the existing supervisor was recorded to answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rooftree import JobInfo, structure, unstructure
from rooftree.testing import Client
from rooftree_supervisor.models import Info, SupervisorInfo
from tests.plugins.recordings import difference, needs_recordings, recorded

pytestmark = needs_recordings

OURS = {"supervisor.info": {"rooftree"}}
"""Keys that we answer besides."""
LATER = {f"data.feature_flags.{flag} is on one side only" for flag in ("app_drop_net_raw", "app_reduced_capabilities")}
"""What the official client knows and the existing supervisor did not answer when it was recorded."""


@pytest.mark.parametrize(
    "name",
    ["supervisor.ping", "supervisor.info", "root.info", "root.available_updates", "jobs.info", "supervisor.stats"],
)
async def test_answer_has_the_recorded_shape(client: Client, name: str) -> None:
    record = recorded(name)

    answer = await client.get(record["path"])

    data = {key: value for key, value in answer.data.items() if key not in OURS.get(name, ())}
    assert answer.status == record["status"]
    assert set(difference(record["answer"]["data"], data)) <= LATER


@pytest.mark.parametrize("name", ["supervisor.logs", "supervisor.logs_latest"])
async def test_log_is_sent_as_recorded(client: Client, name: str) -> None:
    record = recorded(name)

    answer = await client.get(record["path"])

    assert answer.status == record["status"]
    assert answer.headers["Content-Type"] == record["content_type"]


@pytest.mark.parametrize(
    ("name", "model", "ours"),
    [("supervisor.info", SupervisorInfo, {"rooftree": "0.1.0", "timezone": "Etc/UTC"}), ("root.info", Info, {})],
)
def test_recorded_answer_fits_our_model(name: str, model: type, ours: dict[str, Any]) -> None:
    data = recorded(name)["answer"]["data"] | ours

    assert unstructure(structure(data, model)) == data


def test_job_has_the_recorded_shape() -> None:
    ours = unstructure(
        JobInfo(
            name="backup", reference=None, uuid="0" * 32, progress=0.0, stage=None, done=None, created=datetime.now(UTC)
        )
    )

    assert difference(recorded("jobs.get")["answer"]["data"], ours) == []
