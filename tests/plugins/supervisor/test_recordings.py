"""The shape of our answers beside what the existing supervisor was recorded to answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rooftree import JobInfo, structure, unstructure
from rooftree.testing import Client
from rooftree_supervisor.models import Info, SupervisorInfo

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "recordings.json"

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not beside this checkout")

OURS = {"supervisor.info": {"rooftree"}}
"""Keys that we answer besides."""


def recorded(name: str) -> dict[str, Any]:
    """What was recorded under ``name``."""
    return dict(json.loads(RECORDINGS.read_text())[name])


def difference(recorded: Any, answered: Any, where: str = "data") -> list[str]:
    """Where two answers differ in keys or types. ``null`` fits everything; of lists the first elements are compared."""
    if recorded is None or answered is None:
        return []
    if isinstance(recorded, dict) and isinstance(answered, dict):
        found = [f"{where}.{key} is on one side only" for key in sorted(recorded.keys() ^ answered.keys())]
        for key in recorded.keys() & answered.keys():
            found += difference(recorded[key], answered[key], f"{where}.{key}")
        return found
    if isinstance(recorded, list) and isinstance(answered, list):
        return difference(recorded[0], answered[0], f"{where}[0]") if recorded and answered else []
    if _kind(recorded) != _kind(answered):
        return [f"{where} is {answered!r}, was {recorded!r}"]
    return []


def _kind(value: object) -> str:
    """Its type in JSON."""
    return "number" if type(value) in {int, float} else type(value).__name__


@pytest.mark.parametrize(
    "name", ["supervisor.ping", "supervisor.info", "root.info", "root.available_updates", "jobs.info"]
)
async def test_answer_has_the_recorded_shape(client: Client, name: str) -> None:
    record = recorded(name)

    answer = await client.get(record["path"])

    data = {key: value for key, value in answer.data.items() if key not in OURS.get(name, ())}
    assert answer.status == record["status"]
    assert difference(record["answer"]["data"], data) == []


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
