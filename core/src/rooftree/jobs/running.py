"""A job under way: its phase, its steps with their states, its progress, and how it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import structlog
from attrs import define

from rooftree.errors import Conflict, Failed, RooftreeError
from rooftree.jobs.job_info import JobError, JobInfo, JobPicture, StepError, StepProgress
from rooftree.jobs.journal import JobRecord, StepState
from rooftree.jobs.phases import FIRST, FOLLOWING, ForbiddenTransition, Phase
from rooftree.jobs.plans import ResolvedPlan
from rooftree.jobs.steps import Step

log = structlog.get_logger(__name__)

WAITING_STAGE = "waiting"
"""The stage of a job that waits for something that is missing."""


class JobInterrupted(Failed):
    """The process ended while the job ran; what it had done was taken back at the next start."""

    error_key = "job_interrupted_error"


class JobCancelled(Conflict):
    """Somebody cancelled the job; what it had done was taken back."""

    error_key = "job_cancelled_error"


@define
class JobStep:
    """A step of a job under way."""

    step: Step
    state: StepState = StepState.PLANNED
    before: Any = None
    result: Any = None
    fraction: float = 0.0

    @property
    def begun(self) -> bool:
        """Whether it was begun and not taken back: it may be done not at all, by half, or wholly."""
        return self.state in {StepState.DOING, StepState.DONE}


class Job:
    """A job under way.

    :param changed: told when it went on noticeably
    """

    def __init__(self, record: JobRecord, changed: Callable[[Job], None], phase: Phase = Phase.WAITING) -> None:
        if phase not in FIRST:
            raise ForbiddenTransition(phase, phase)
        self.id = record.id
        self.record = record
        self.phase = phase
        self.stage: str | None = None if phase is Phase.WAITING else WAITING_STAGE
        self.steps: tuple[JobStep, ...] = ()
        self.errors: list[StepError] = []
        self.task: asyncio.Task[None] | None = None
        self.accepted = _answer()
        """Done when the journal has it."""
        self.finished = _answer()
        """Done when whoever waits for its end may go on."""
        self.cancellation: JobCancelled | None = None
        self.given_up: Failed | None = None
        """Why it ends though its code never came back."""
        self._current_step: int | None = None
        self._published_percent = 0.0
        self._changed = changed
        self._interruptible: asyncio.Task[Any] | None = None
        self._woken = asyncio.Event()

    def __str__(self) -> str:
        of = f" of {self.record.reference}" if self.record.reference else ""
        return f"{self.record.name}{of} ({self.id})"

    def become(self, phase: Phase) -> None:
        """Enter another phase; raises :class:`ForbiddenTransition` for one that can't follow."""
        if phase not in FOLLOWING[self.phase]:
            raise ForbiddenTransition(self.phase, phase)
        self.phase = phase

    # --- steps --------------------------------------------------------------------------------------------------------

    def take_over(self, resolved: ResolvedPlan) -> None:
        """Take a plan over: its steps, and the children they belong to."""
        self.record = attrs.evolve(self.record, children=resolved.children)
        self.steps = tuple(JobStep(step) for step in resolved.steps)

    def take_up(self, steps: list[Step]) -> None:
        """Take the steps of the record over, as far as they were when the journal was last written."""
        self.stage = None
        self.steps = tuple(
            JobStep(step, row.state, row.before, row.result, float(row.state is StepState.DONE))
            for step, row in zip(steps, self.record.steps, strict=True)
        )

    def enter(self, number: int) -> None:
        """A step begins."""
        self.stage = self.steps[number].step.stage
        self._current_step = number
        self._changed(self)

    def advance(self, number: int, fraction: float) -> None:
        """A step is that far; never runs backwards. What is below one per cent of the job is not told as an event."""
        step = self.steps[number]
        step.fraction = max(step.fraction, min(1.0, max(0.0, fraction)))
        progress = self._picture().progress
        if progress >= self._published_percent + 1 or (progress == 100.0 and self._published_percent < 100.0):
            self._published_percent = progress
            self._changed(self)

    @property
    def is_past_return(self) -> bool:
        """Whether only the way forward remains: all is done, or something that cannot be taken back was begun."""
        return all(step.state is StepState.DONE for step in self.steps) or not all(
            step.step.reversible() for step in self.steps if step.begun
        )

    def before_of(self, number: int) -> Any:
        """What ``before`` of the step of that number returned."""
        return self.steps[number].before

    def result_of(self, kind: type[Step], before: int) -> Any:
        """The journaled result of the nearest step of that class before number ``before``."""
        for step in reversed(self.steps[:before]):
            if isinstance(step.step, kind):
                return step.result
        raise LookupError(f"no {kind.kind} comes before step {before} of job {self.record.name}")

    @property
    def doing(self) -> int | None:
        """The number of the step that was begun last, while it is not done."""
        current = self._current_step
        return current if current is not None and self.steps[current].state is StepState.DOING else None

    # --- errors -------------------------------------------------------------------------------------------------------

    def add_error(self, error: Exception, answer: RooftreeError) -> None:
        """Note what went wrong, with the step that it went wrong in."""
        self.errors.append(self._step_error(error, answer))

    def note(self, number: int, error: RooftreeError) -> None:
        """Note what went wrong in a step that goes on without it."""
        self.errors.append(StepError(number, JobError.of(error, error, self.stage), noted=True))
        self._changed(self)

    def _step_error(self, error: Exception, answer: RooftreeError) -> StepError:
        return StepError(self._current_step, JobError.of(error, answer, self.stage))

    def raw_errors(self) -> list[dict[str, Any]]:
        """The errors as plain data, for the journal; that it was cancelled is one of them from then on."""
        errors = self.errors
        if self.phase is Phase.CANCELLING and self.cancellation is not None:
            errors = [*errors, self._step_error(self.cancellation, self.cancellation)]
        return [error.written() for error in errors]

    # --- cancelling ---------------------------------------------------------------------------------------------------

    def cancel(self, by: str) -> bool:
        """Let the job end and be taken back: at once where its step may be interrupted, else when that has ended.

        Returns whether the journal has to know. Raises :class:`~rooftree.errors.Conflict` where only the way forward
        remains, it is on its way back, or the code that could take it back is not there.
        """
        if self.phase is Phase.UNDOING:
            raise Conflict(f"Job {self.id} is being taken back already")
        if self.phase in {Phase.RECOVERING, Phase.SUSPENDED}:
            raise Conflict(f"Job {self.id} waits for its plugin, without which it can't be taken back")
        if self.phase is Phase.RUNNING and self.is_past_return:
            raise Conflict(f"Job {self.id} has done what can't be taken back; it can only go on to its end")
        if self.cancellation is not None:
            return False
        runs = self.phase is Phase.RUNNING
        outcome = "what it had done is taken back" if runs else "it had not begun"
        self.cancellation = JobCancelled(f"{self.record.name} was cancelled by {by}; {outcome}")
        if runs:
            self.become(Phase.CANCELLING)
        self.wake()
        if self._interruptible is not None:
            self._interruptible.cancel()
        return runs

    def refuse_cancelled(self) -> None:
        """Raise :class:`JobCancelled` when somebody cancelled it."""
        if self.cancellation is not None:
            raise self.cancellation

    async def interruptibly[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``; raises :class:`JobCancelled`, when it has ended, if the job is cancelled meanwhile."""
        if self.cancellation is not None:
            work.close()
            raise self.cancellation
        task = asyncio.get_running_loop().create_task(work)
        self._interruptible = task
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and not current.cancelling():  # else it is the job's own task: Rooftree stops
                self.refuse_cancelled()
            raise
        finally:
            self._interruptible = None

    # --- waiting ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something has changed that it may be waiting for."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Wait as its step wants, and show that."""
        stage, self.stage = self.stage, WAITING_STAGE
        self._changed(self)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.stage = stage
            self._changed(self)

    async def rest(self, seconds: float) -> None:
        """Wait for something that is missing, and show that, until the time is over or it is woken."""
        stage, self.stage = self.stage, WAITING_STAGE
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
        finally:
            self._woken.clear()
            self.stage = stage

    def tell(self, error: Exception | None) -> None:
        """Let whoever waits know how it went, unless they know already."""
        if not self.finished.done():
            if error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error)

    def info(self) -> JobInfo:
        """A picture of it, with its children."""
        return self._picture().info()

    def _picture(self) -> JobPicture:
        steps = [StepProgress(step.state, step.fraction, step.step.weight) for step in self.steps]
        return JobPicture(self.record, self.phase, steps, tuple(self.errors), self.stage, self._current_step)


def _answer() -> asyncio.Future[None]:
    """What a caller may wait for; nobody has to, for a client may have gone."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
