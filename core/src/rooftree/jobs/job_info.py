"""Jobs as the jobs API shows them, while they run and when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
import orjson
from attrs import field, frozen

from rooftree.errors import ExtraFields, RooftreeError
from rooftree.jobs.journal import JobRecord, StepState
from rooftree.jobs.phases import Phase
from rooftree.jobs.plans import ChildRecord
from rooftree.model import without_addresses

type JobFacts = dict[str, Any]
"""What is known of a job besides; its plugin decides."""


@frozen
class JobError:
    """Something that went wrong in a job."""

    type: str
    message: str
    stage: str | None = None
    error_key: str | None = None
    extra_fields: ExtraFields | None = None

    @classmethod
    def of(cls, error: Exception, answer: RooftreeError, stage: str | None) -> JobError:
        """The error as its answer tells it; what is no JSON in its fields becomes text."""
        fields = orjson.loads(orjson.dumps(dict(answer.extra_fields), default=str, option=orjson.OPT_NON_STR_KEYS))
        return cls(type(error).__name__, without_addresses(answer.message), stage, answer.error_key, fields or None)


@frozen
class StepError:
    """What went wrong, and the number of the step that it went wrong in; ``None`` where none had begun."""

    step: int | None
    error: JobError
    noted: bool = False
    """Whether the job went on without what went wrong."""

    @classmethod
    def read(cls, raw: dict[str, Any]) -> StepError:
        """One as the journal keeps it."""
        own = {"step", "noted"}
        error = JobError(**{key: value for key, value in raw.items() if key not in own})
        return cls(raw.get("step"), error, raw.get("noted", False))

    def written(self) -> dict[str, Any]:
        """It as plain data, for the journal."""
        return {**attrs.asdict(self.error), "step": self.step, **({"noted": True} if self.noted else {})}


@frozen(kw_only=True)
class JobInfo:
    """A job as the jobs API shows it."""

    name: str
    reference: str | None
    uuid: str
    progress: float
    """From 0 to 100, one decimal."""
    stage: str | None
    done: bool | None
    """``None`` before it has started, ``False`` while it runs."""
    created: datetime
    errors: list[JobError] = field(factory=list)
    extra: JobFacts | None = None
    child_jobs: list[JobInfo] = field(factory=list)

    def find(self, job_id: str) -> JobInfo | None:
        """This job, or the one of that id below it."""
        if self.uuid == job_id:
            return self
        return next((info for child in self.child_jobs if (info := child.find(job_id))), None)


@frozen
class StepProgress:
    """How far a step is."""

    state: StepState
    fraction: float
    weight: int = 1


@frozen
class JobPicture:
    """What a job's picture, and that of its children, is made of."""

    record: JobRecord
    phase: Phase
    steps: Sequence[StepProgress]
    errors: Sequence[StepError]
    stage: str | None = None
    current_step: int | None = None

    @property
    def progress(self) -> float:
        """How far the whole is, in per cent."""
        return 100.0 if self.phase is Phase.DONE else self._percent(self.steps)

    def info(self) -> JobInfo:
        """The job itself."""
        record = self.record
        return JobInfo(
            name=record.name,
            reference=record.reference,
            uuid=record.id,
            progress=self.progress,
            stage=self.stage,
            done=self.phase.done,
            created=record.created,
            errors=[entry.error for entry in self.errors if not entry.noted or self._innermost(entry) is None],
            child_jobs=self._below(record.id),
        )

    def _percent(self, steps: Sequence[StepProgress]) -> float:
        """How far steps are together, each counted by its weight."""
        done = sum(step.weight * step.fraction for step in steps)
        return round(100 * done / (sum(step.weight for step in steps) or 1), 1)

    def _below(self, parent: str) -> list[JobInfo]:
        return [self._child(child) for child in self.record.children if child.parent == parent]

    def _child(self, child: ChildRecord) -> JobInfo:
        steps = self.steps[child.first : child.end]
        current = self.current_step
        passed = not steps and current is not None and child.first <= current
        entered = current is not None and child.first <= current < child.end
        begun = passed or entered or any(step.state is not StepState.PLANNED for step in steps)
        ended = bool(self.phase.done) or passed or (bool(steps) and all(step.state is StepState.DONE for step in steps))
        return JobInfo(
            name=child.name,
            reference=child.reference,
            uuid=child.id,
            progress=self._percent(steps) if steps else 100.0 * ended,
            stage=self.stage if entered and not ended else None,
            done=ended if begun or ended else None,
            created=self.record.created,
            errors=[
                entry.error
                for entry in self.errors
                if (self._innermost(entry) is child if entry.noted else _is_in(child, entry))
            ],
            child_jobs=self._below(child.id),
        )

    def _innermost(self, entry: StepError) -> ChildRecord | None:
        """The child whose own step an error is from; ``None``: the job itself."""
        within = [child for child in self.record.children if _is_in(child, entry)]
        return within[-1] if within else None  # each stands before those in it


def _is_in(child: ChildRecord, entry: StepError) -> bool:
    return entry.step is not None and child.first <= entry.step < child.end


def ended_info(record: JobRecord) -> JobInfo:
    """The picture of a job that has ended, from the journal. How heavy its steps were is no longer known.

    One that was taken back is as far as it had come: up to the step that went wrong.
    """
    errors = [StepError.read(raw) for raw in record.errors]
    wrong = min((entry.step for entry in errors if entry.step is not None and not entry.noted), default=0)
    steps = [
        StepProgress(row.state, float(number < wrong or row.state is StepState.DONE))
        for number, row in enumerate(record.steps)
    ]
    return JobPicture(record, record.phase, steps, errors).info()
