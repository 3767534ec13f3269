"""A job under way: its steps with their states, its progress, its children, and how it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import attrs
import orjson
from attrs import field, frozen

from rooftree.errors import Conflict, ExtraFields, Failed, RooftreeError
from rooftree.jobs.journal import JobRecord, JobState, StepState
from rooftree.jobs.plans import ChildRecord, ResolvedPlan
from rooftree.jobs.steps import Step


class JobInterrupted(Failed):
    """The process ended while the job ran; what it had done was taken back at the next start."""

    error_key = "job_interrupted_error"


class JobCancelled(Conflict):
    """Somebody cancelled the job; what it had done was taken back."""

    error_key = "job_cancelled_error"


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
        return cls(type(error).__name__, answer.message, stage, answer.error_key, fields or None)


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
        return next((found for child in self.child_jobs if (found := child.find(job_id))), None)


class Job:
    """A job under way."""

    def __init__(self, record: JobRecord, changed: Callable[[Job], None]) -> None:
        self.id = record.id
        self.record = record
        self.stage: str | None = None
        self.done: bool | None = None
        self.steps: tuple[Step, ...] = ()
        self.states: list[StepState] = []
        self.befores: dict[int, Any] = {}
        self.results: dict[int, Any] = {}
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.finished.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.task: asyncio.Task[None] | None = None
        self.cancelled: JobCancelled | None = None
        self.taking_back = False
        self.planned = False
        """Whether its steps are known; not before its plan is made, or while their code is not loaded."""
        self.accepted = False
        """Whether the journal has it."""
        self.rests = False
        """Whether it waits for something that is missing."""
        self._errors: list[tuple[int | None, JobError]] = []
        self._now: int | None = None
        self._told = 0.0
        self._whole = False
        self._fractions: list[float] = []
        self._changed = changed
        self._interruptible: asyncio.Task[Any] | None = None
        self._wake = asyncio.Event()

    def __str__(self) -> str:
        of = f" of {self.record.reference}" if self.record.reference else ""
        return f"{self.record.name}{of} ({self.id})"

    # --- steps --------------------------------------------------------------------------------------------------------

    def take_over(self, resolved: ResolvedPlan) -> None:
        """Take a plan over: its steps, and the children they belong to."""
        self.record = attrs.evolve(self.record, children=resolved.children)
        self._plan(resolved.steps)

    def take_up(self, steps: list[Step]) -> None:
        """Take the steps of the record over, as far as they were when the journal was last written."""
        self._plan(tuple(steps))
        for number, row in enumerate(self.record.steps):
            self.states[number] = row.state
            self.befores[number] = row.before
            self.results[number] = row.result
            self._fractions[number] = 1.0 if row.state is StepState.DONE else 0.0

    def _plan(self, steps: tuple[Step, ...]) -> None:
        self.planned = True
        self.steps = steps
        self.states = [StepState.PLANNED] * len(steps)
        self._fractions = [0.0] * len(steps)

    def enter(self, number: int, stage: str | None) -> None:
        """A step begins."""
        self.done = False
        self.stage = stage
        self._now = number
        self._changed(self)

    def advance(self, number: int, fraction: float) -> None:
        """A step is that far; never runs backwards. What is below one per cent of the job is not told as an event."""
        self._fractions[number] = max(self._fractions[number], min(1.0, max(0.0, fraction)))
        progress = self.progress
        if progress >= self._told + 1 or (progress == 100.0 and self._told < 100.0):
            self._told = progress
            self._changed(self)

    def complete(self) -> None:
        """All is done."""
        self.stage = None
        self._whole = True

    @property
    def progress(self) -> float:
        """How far the whole is, in per cent."""
        return 100.0 if self._whole else self._share(0, len(self.steps))

    def _share(self, first: int, end: int) -> float:
        """How far the steps from ``first`` up to ``end`` are, each counted by its weight."""
        weights = [step.weight for step in self.steps[first:end]]
        done = sum(weight * part for weight, part in zip(weights, self._fractions[first:end], strict=True))
        return round(100 * done / (sum(weights) or 1), 1)

    @property
    def waits_for_code(self) -> bool:
        """Whether it was found in the journal, and no plugin has come yet that knows its steps."""
        return bool(self.record.steps) and not self.steps

    def has_begun(self, number: int) -> bool:
        """Whether a step was begun and not taken back: it may be done not at all, by half, or wholly."""
        return self.states[number] in {StepState.DOING, StepState.DONE}

    def is_past_return(self) -> bool:
        """Whether only the way forward is left: all is done, or something that cannot be taken back was begun."""
        begun = [step for number, step in enumerate(self.steps) if self.has_begun(number)]
        return all(state is StepState.DONE for state in self.states) or not all(step.reversible() for step in begun)

    def result_of(self, kind: type[Step], before: int) -> Any:
        """The journaled result of the nearest step of that class before number ``before``."""
        for number in range(before - 1, -1, -1):
            if isinstance(self.steps[number], kind):
                return self.results.get(number)
        raise LookupError(f"no {kind.kind} comes before step {before} of job {self.record.name}")

    @property
    def doing(self) -> int | None:
        """The number of the step that was begun last, while it is not done."""
        return self._now if self._now is not None and self.states[self._now] is StepState.DOING else None

    # --- errors -------------------------------------------------------------------------------------------------------

    @property
    def errors(self) -> list[JobError]:
        """What went wrong, in the order in which it did."""
        return [error for _, error in self._errors]

    def add_error(self, error: Exception, answer: RooftreeError) -> None:
        """Note what went wrong, with the step that it went wrong in."""
        self._errors.append((self._now, JobError.of(error, answer, self.stage)))

    def recall_errors(self) -> None:
        """Take up the errors that the journal has of it."""
        self._errors = [job_error(raw) for raw in self.record.errors]

    def raw_errors(self) -> list[dict[str, Any]]:
        """The errors as plain data, for the journal; that it was cancelled is one of them from then on."""
        errors = self._errors
        if self.cancelled is not None and not self.taking_back:
            errors = [*errors, (self._now, JobError.of(self.cancelled, self.cancelled, self.stage))]
        return [{**attrs.asdict(error), "step": number} for number, error in errors]

    # --- cancelling ---------------------------------------------------------------------------------------------------

    def cancel(self, by: str) -> bool:
        """Let the job end and be taken back: at once where its step may be interrupted, else when that has ended.

        Returns whether it was this call that did so. Raises :class:`~rooftree.errors.Conflict` where only the way
        forward is left, it is on its way back, or the code that could take it back is not there.
        """
        if self.taking_back:
            raise Conflict(f"Job {self.id} is being taken back already")
        if self.accepted and not self.planned:
            raise Conflict(f"Job {self.id} waits for its plugin, without which it can't be taken back")
        if self.planned and self.is_past_return():
            raise Conflict(f"Job {self.id} has done what can't be taken back; it can only go on to its end")
        if self.cancelled is not None:
            return False
        outcome = "what it had done is taken back" if self.planned else "it had not begun"
        self.cancelled = JobCancelled(f"{self.record.name} was cancelled by {by}; {outcome}")
        self._wake.set()
        if self._interruptible is not None:
            self._interruptible.cancel()
        return True

    def refuse_cancelled(self) -> None:
        """Raise :class:`JobCancelled` when somebody cancelled it."""
        if self.cancelled is not None:
            raise self.cancelled

    async def interruptibly[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``; raises :class:`JobCancelled`, when it has ended, if the job is cancelled meanwhile."""
        if self.cancelled is not None:
            work.close()
            raise self.cancelled
        task = asyncio.get_running_loop().create_task(work)
        self._interruptible = task
        try:
            return await task
        except asyncio.CancelledError:
            _refuse_unless_cancelling(self.cancelled)
            raise
        finally:
            self._interruptible = None

    async def until_cancelled(self) -> None:
        """Wait until somebody cancels it."""
        await self._wake.wait()

    def tell(self, error: Exception | None) -> None:
        """Let whoever waits know how it went, unless they know already."""
        if not self.finished.done():
            if error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error)

    def info(self) -> JobInfo:
        """A picture of it, with its children."""
        errors = tuple(self._errors)
        shown = _Picture(self.record, tuple(self.states), errors, self._share, self.stage, self._now, self.done)
        return shown.job(self.progress)


@frozen
class _Picture:
    """What a job's picture, and that of its children, is made of."""

    record: JobRecord
    states: tuple[StepState, ...]
    errors: tuple[tuple[int | None, JobError], ...]
    share: Callable[[int, int], float]
    stage: str | None
    now: int | None
    done: bool | None

    def job(self, progress: float) -> JobInfo:
        """The job itself."""
        record = self.record
        return JobInfo(
            name=record.name,
            reference=record.reference,
            uuid=record.id,
            progress=progress,
            stage=self.stage,
            done=self.done,
            created=record.created,
            errors=[error for _, error in self.errors],
            child_jobs=self._below(record.id),
        )

    def _below(self, parent: str) -> list[JobInfo]:
        return [self._child(child) for child in self.record.children if child.parent == parent]

    def _child(self, child: ChildRecord) -> JobInfo:
        states = self.states[child.first : child.end]
        passed = not states and self.now is not None and child.first <= self.now
        entered = self.now is not None and child.first <= self.now < child.end
        begun = passed or entered or any(state is not StepState.PLANNED for state in states)
        ended = self.done is True or passed or (bool(states) and all(state is StepState.DONE for state in states))
        runs = entered and not ended
        return JobInfo(
            name=child.name,
            reference=child.reference,
            uuid=child.id,
            progress=self.share(child.first, child.end) if states else 100.0 * ended,
            stage=self.stage if runs else None,
            done=ended if begun or ended else None,
            created=self.record.created,
            errors=[error for step, error in self.errors if step is not None and child.first <= step < child.end],
            child_jobs=self._below(child.id),
        )


def _refuse_unless_cancelling(cancelled: JobCancelled | None) -> None:
    """Raise ``cancelled``, unless it was rather the task itself that somebody cancelled: the daemon stops."""
    current = asyncio.current_task()
    if cancelled is not None and current is not None and not current.cancelling():
        raise cancelled from None


def ended_info(record: JobRecord) -> JobInfo:
    """The picture of a job that has ended, from the journal. How heavy its steps were is no longer known.

    One that was taken back is as far as it had come: up to the step that went wrong.
    """
    states = tuple(row.state for row in record.steps)
    errors = tuple(job_error(raw) for raw in record.errors)
    wrong = min((step for step, _ in errors if step is not None), default=0)

    def share(first: int, end: int) -> float:
        done = sum(number < wrong or states[number] is StepState.DONE for number in range(first, end))
        return round(100 * done / ((end - first) or 1), 1)

    progress = 100.0 if record.state is JobState.DONE else share(0, len(states))
    return _Picture(record, states, errors, share, None, None, True).job(progress)


def job_error(raw: dict[str, Any]) -> tuple[int | None, JobError]:
    """An error as the journal keeps it: the number of the step it happened in, and what it was."""
    return raw.get("step"), JobError(**{key: value for key, value in raw.items() if key != "step"})
