"""Jobs as Core is told of them: one message for each job and each part of one that is something else than before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rooftree import JobInfo, unstructure


class JobMessages:
    """Remembers what was told of each job that has not ended."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, Mapping[str, Any]]] = {}

    def changed(self, job: JobInfo) -> list[Mapping[str, Any]]:
        """The records of a job, and of the jobs in it, that are not as they were told last. What has not begun is not
        told of."""
        before = self._told.get(job.uuid, {})
        records = {record["uuid"]: record for record in _records(job, parent_id=None)}
        if job.done:
            self._told.pop(job.uuid, None)
        else:
            self._told[job.uuid] = records
        return [record for uuid, record in records.items() if before.get(uuid) != record]


def _records(job: JobInfo, parent_id: str | None) -> Iterator[Mapping[str, Any]]:
    if job.done is None:
        return
    yield {
        "name": job.name,
        "reference": job.reference,
        "uuid": job.uuid,
        "progress": job.progress,
        "stage": job.stage,
        "done": job.done,
        "parent_id": parent_id,
        "errors": unstructure(job.errors),
        "created": job.created.isoformat(),
        "extra": job.extra,
    }
    for child in job.child_jobs:
        yield from _records(child, job.uuid)
