"""Execution: a job's steps are done one after the other, and taken back in reverse order when one of them fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any

import structlog

from rooftree.errors import Failed, RooftreeError, Unavailable
from rooftree.events import Problem, Problems
from rooftree.jobs.journal import Journal, StepState
from rooftree.jobs.phases import Phase
from rooftree.jobs.running import Job, JobCancelled, JobStep
from rooftree.jobs.steps import Run, Step, Verbs
from rooftree.jobs.suspension import Suspended, Suspension
from rooftree.services import ServiceDirectory
from rooftree.state import explained, reach

log = structlog.get_logger(__name__)


UNDO_FAILED = "undo_failed"
"""The type of the problem that something could not be taken back."""


class Execution:
    """Carries jobs out, and takes them back.

    :param changed: told of every job that went on noticeably
    :param ended: told of every job that has ended, and whether it is to be listed
    :param problems: what could not be taken back is one
    """

    def __init__(
        self,
        journal: Journal,
        directory: ServiceDirectory,
        suspension: Suspension,
        changed: Callable[[Job], None],
        ended: Callable[[Job, bool], None],
        problems: Problems,
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._suspension = suspension
        self._changed = changed
        self._ended = ended
        self._problems = problems
        self._ends_not_written: dict[str, tuple[Phase, list[dict[str, Any]], bool]] = {}

    async def carry_out(self, job: Job, *, listed: bool, patient: bool = False) -> None:
        """Do what is still to be done, and on failure take back what was; raises :class:`Suspended`.

        :param patient: whether it waits for what is missing outside; then what only tidies up is no longer left undone
            for that
        """
        do_all = partial(self._do_all, job, patient)
        try:
            await (self._until_available(job, do_all) if patient else do_all())
        except Suspended:
            raise
        except Exception as error:
            await self.fail(job, error)
            return
        job.stage = None
        await reach("job:end")
        self._problems.clear(UNDO_FAILED, "system", _of(job))
        await self.end(job, Phase.DONE, listed=listed)
        job.tell(None)

    async def _do_all(self, job: Job, patient: bool) -> None:
        for number, step in enumerate(job.steps):
            if step.state is not StepState.DONE:
                await self._do(job, number, step, patient)
        job.refuse_cancelled()

    async def _do(self, job: Job, number: int, step: JobStep, patient: bool) -> None:
        self._suspension.interrupt(job.record.owner)
        job.refuse_cancelled()
        verbs = Verbs(step.step, self._directory)
        job.enter(number)
        place = f"step:{step.step.kind}"
        if step.state is StepState.PLANNED:
            before = await verbs.before()
            await reach(f"{place}:before")
            job.refuse_cancelled()
            await self._journal.begin_step(job.id, number, before)
            step.before, step.state = before, StepState.DOING
            job.refuse_cancelled()  # meanwhile it could still be cancelled; from here on its own step decides
        await reach(f"{place}:do")
        result, outcome = await self._done(job, number, verbs, patient)
        await reach(f"{place}:done")
        await self._journal.end_step(job.id, number, result, outcome)
        step.result, step.state = result, StepState.DONE
        job.advance(number, 1.0)

    async def _done(self, job: Job, number: int, verbs: Verbs, patient: bool) -> tuple[Any, str]:
        """A step's result, and its outcome for the audit log."""
        step = job.steps[number].step
        doing = verbs.do(Run(job, number))
        try:
            return await (job.interruptibly(doing) if step.interruptible else doing), "done"
        except JobCancelled:
            raise
        except Exception as error:
            if not step.tidies or (patient and isinstance(error, Unavailable)):
                raise
            expected = isinstance(error, RooftreeError)
            log.warning("not_tidied_up", step=step.kind, reason=str(error), exc_info=not expected)
            return None, "failed"

    async def fail(self, job: Job, error: Exception) -> None:
        """Record the error, take back every step begun, then tell who waits."""
        answer = _answer(error)
        answer.job_id = job.id
        job.become(Phase.UNDOING)
        job.add_error(error, answer)
        if job.cancellation not in {None, error}:  # its step ended in an error of its own when it was cancelled
            job.add_error(job.cancellation, job.cancellation)
        log.warning("job_failed", reference=job.record.reference, stage=job.stage, error=answer.message)
        outcome = "failed" if job.cancellation is None else "cancelled"
        with unwritable_is_logged():
            await self._journal.fail(job.id, job.raw_errors(), job.doing, outcome)
        await self.take_back(job, answer)

    async def take_back(self, job: Job, answer: RooftreeError | None = None) -> None:
        """Undo the steps begun, the last first, as far as they can be, and end the job as failed.

        A step that is done and has no ``undo`` is where the way back ends: it stays, and so does what it was done for.

        :param answer: what who waits is told, before waiting for something that is missing
        """
        for number, step in reversed([*enumerate(job.steps)]):
            if not step.begun:
                continue
            reversible = step.step.reversible()
            if not reversible and step.state is StepState.DONE:
                log.warning("not_taken_back_further", step=step.step.kind)
                break
            await reach(f"step:{step.step.kind}:undo")
            undone = await self._undo(job, step, answer)
            state = StepState.UNDONE if undone and reversible else StepState.NOT_UNDONE
            with unwritable_is_logged():
                await self._journal.undo_step(job.id, number, state)
            step.state = state
        await self.end(job, Phase.FAILED, listed=True)
        job.tell(answer)

    async def _undo(self, job: Job, step: JobStep, answer: RooftreeError | None) -> bool:
        """Whether a step could be undone; where not, that is an error of the job, which goes on, and a problem."""
        undo = partial(Verbs(step.step, self._directory).undo, step.before)
        try:
            await self._until_available(job, undo, lambda: job.tell(answer))
        except Suspended:
            raise
        except Exception as error:
            log.error("undo_failed", stage=job.stage, reason=str(error), exc_info=not isinstance(error, RooftreeError))
            failure = error if isinstance(error, RooftreeError) else Failed(f"Taking back failed: {error}")
            job.add_error(error, failure)
            self._report(job, step.step, failure)
            return False
        return True

    def _report(self, job: Job, step: Step, failure: RooftreeError) -> None:
        """Say what stays of a job; until one of its kind on the same thing has been done."""
        what = step.what().rstrip(".") + (f" ({step.acts_on()})" if step.acts_on() else "")
        self._problems.report(
            Problem(
                UNDO_FAILED,
                "system",
                _of(job),
                f"{job.record.name} failed, and a part of what it had done could not be taken back: {what}: "
                f"{failure.message}. Mend that by hand, or do the same again",
            )
        )

    async def _until_available(
        self, job: Job, attempt: Callable[[], Coroutine[Any, Any, None]], waits: Callable[[], Any] = lambda: None
    ) -> None:
        """Try until what it needs is there; raises any other failure, and :class:`Suspended`.

        :param waits: called before waiting
        """
        for tries in count():
            try:
                await attempt()
                return
            except Unavailable as error:
                if tries == 0:
                    waits()
                    log.warning("job_waits", reason=error.message)
            await self._suspension.pause(job, tries)

    async def end(self, job: Job, phase: Phase, *, listed: bool) -> None:
        """Write a job's end, and tell that it has ended."""
        self._ends_not_written[job.id] = (phase, job.raw_errors(), listed)
        with unwritable_is_logged():
            await self.write_ends()
        job.become(phase)
        self._ended(job, listed)
        self._changed(job)

    async def write_ends(self) -> None:
        """Write the ends of jobs, with those that could not be written earlier.

        Before a job is accepted this must have worked: a job that ended on a full disk would be taken back at the next
        start, over whatever later jobs made of the same things.
        """
        for job_id, (phase, errors, listed) in list(self._ends_not_written.items()):
            await self._journal.end(job_id, phase, errors, listed=listed)
            self._ends_not_written.pop(job_id, None)

    def has_ended(self, job_id: str) -> bool:
        """Whether it ended on a disk that could not be written, which the journal does not know."""
        return job_id in self._ends_not_written


def _answer(error: Exception) -> RooftreeError:
    """What who waits for the job is told."""
    if isinstance(error, RooftreeError):
        return error
    refusal = explained(error)
    if refusal is not None:
        return refusal
    log.exception("job_crashed", exc_info=error)
    return Failed(f"The job failed: {type(error).__name__}{f': {error}' if str(error) else ''}")


def _of(job: Job) -> str:
    """A job's kind and what it acts on, as a problem's reference."""
    return f"{job.record.name}/{job.record.reference or ''}"


class unwritable_is_logged(contextlib.AbstractContextManager[None]):  # read as a sentence after `with`
    """On the way back a full disk must not stop the taking back: the row stays open and the next start repeats it."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Unavailable):
            log.error("journal_unwritable", error=error.message)
            return True
        return False
