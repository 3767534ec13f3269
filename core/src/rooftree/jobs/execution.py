"""Execution: a job's steps are done one after the other, and taken back in reverse order when one of them fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from rooftree.errors import Failed, RooftreeError, Unavailable
from rooftree.events import Problem, Problems
from rooftree.jobs.journal import JobState, Journal, StepState
from rooftree.jobs.running import Job, JobCancelled
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
        self._ends_not_written: dict[str, tuple[JobState, list[dict[str, Any]], bool]] = {}

    async def carry_out(self, job: Job, *, listed: bool) -> None:
        """Do what is still to be done, and on failure take back what was; raises :class:`Suspended`."""
        try:
            await self.do_all(job)
        except Suspended:
            raise
        except Exception as error:
            await self.fail(job, error)
            return
        job.complete()
        await reach("job:end")
        self._problems.clear(UNDO_FAILED, "system", _of(job))
        await self.end(job, JobState.DONE, listed=listed)
        job.tell(None)

    async def do_all(self, job: Job, *, can_wait: bool = False) -> None:
        """Do every step that is not done; raises what goes wrong, :class:`JobCancelled` or :class:`Suspended`.

        :param can_wait: whether the caller tries again when something is missing; then what only tidies up is no longer
            left undone for that
        """
        for number, planned in enumerate(job.steps):
            if job.states[number] is not StepState.DONE:
                await self._do(job, number, planned, can_wait)
        job.refuse_cancelled()

    async def _do(self, job: Job, number: int, planned: Step, can_wait: bool) -> None:
        self._suspension.interrupt(job.record.owner)
        job.refuse_cancelled()
        verbs = Verbs(planned, self._directory)
        job.enter(number, planned.stage)
        name = f"step:{planned.kind}"
        if job.states[number] is StepState.PLANNED:
            before = await verbs.before()
            await reach(f"{name}:before")
            job.refuse_cancelled()
            await self._journal.begin_step(job.id, number, before)
            job.befores[number] = before
            job.states[number] = StepState.DOING
            job.refuse_cancelled()  # meanwhile it could still be cancelled; from here on its own step decides
        await reach(f"{name}:do")
        result, outcome = await self._done(job, number, planned, verbs, can_wait)
        await reach(f"{name}:done")
        await self._journal.end_step(job.id, number, result, outcome)
        job.results[number] = result
        job.states[number] = StepState.DONE
        job.advance(number, 1.0)

    async def _done(self, job: Job, number: int, planned: Step, verbs: Verbs, can_wait: bool) -> tuple[Any, str]:
        """A step's result, and its outcome for the audit log."""
        doing = verbs.do(Run(job, number))
        try:
            return await (job.interruptibly(doing) if planned.interruptible else doing), "done"
        except JobCancelled:
            raise
        except Exception as error:
            if not planned.tidies or (can_wait and isinstance(error, Unavailable)):
                raise
            expected = isinstance(error, RooftreeError)
            log.warning("not_tidied_up", step=planned.kind, reason=str(error), exc_info=not expected)
            return None, "failed"

    async def fail(self, job: Job, error: Exception) -> None:
        """Record the error, take back every step begun, then tell who waits."""
        answer: RooftreeError
        if isinstance(error, RooftreeError):
            answer = error
        elif (refusal := explained(error)) is not None:
            answer = refusal
        else:
            answer = Failed(f"The job failed: {str(error) or type(error).__name__}")
            log.exception("job_crashed", exc_info=error)
        answer.job_id = job.id
        job.taking_back = True
        job.add_error(error, answer)
        if job.cancelled not in {None, error}:  # its step ended in an error of its own when it was cancelled
            job.add_error(job.cancelled, job.cancelled)
        log.warning("job_failed", reference=job.record.reference, stage=job.stage, error=answer.message)
        outcome = "failed" if job.cancelled is None else "cancelled"
        with unwritable_is_logged():
            await self._journal.fail(job.id, job.raw_errors(), job.doing, outcome)
        await self.take_back(job, lambda: job.tell(answer))
        await self.end(job, JobState.FAILED, listed=True)
        job.tell(answer)

    async def take_back(self, job: Job, waits: Callable[[], Any] = lambda: None) -> bool:
        """Undo the steps begun, the last first, as far as they can be; whether all of it could.

        A step that is done and has no ``undo`` is where the way back ends: it stays, and so does what it was done for.

        :param waits: called before waiting for something that is missing
        """
        whole = True
        for number in reversed(range(len(job.steps))):
            if not job.has_begun(number):
                continue
            planned = job.steps[number]
            if not planned.reversible() and job.states[number] is StepState.DONE:
                log.warning("not_taken_back_further", step=planned.kind)
                return False
            await reach(f"step:{planned.kind}:undo")
            undo = partial(Verbs(planned, self._directory).undo, job.befores.get(number))
            failure = await self._until_available(job, undo, waits)
            if failure is not None:
                self._report(job, planned, failure)
            state = StepState.UNDONE if failure is None and planned.reversible() else StepState.NOT_UNDONE
            whole = whole and state is StepState.UNDONE
            with unwritable_is_logged():
                await self._journal.undo_step(job.id, number, state)
            job.states[number] = state
        return whole

    def _report(self, job: Job, planned: Step, failure: RooftreeError) -> None:
        """Say what stays of a job; until one of its kind on the same thing has been done."""
        what = (
            f"{planned.what().rstrip('.')} ({planned.acts_on()})" if planned.acts_on() else planned.what().rstrip(".")
        )
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
        self, job: Job, attempt: Callable[[], Coroutine[Any, Any, None]], waits: Callable[[], Any]
    ) -> RooftreeError | None:
        """Try until what it needs is there. Any other failure is recorded with the job, which goes on, and returned."""
        tries = 0
        while True:
            try:
                await attempt()
                return None
            except Unavailable as error:
                if tries == 0:
                    waits()
                    log.warning("job_waits", reason=error.message)
                await self._suspension.pause(job, tries)
                tries += 1
            except Exception as error:
                log.exception("undo_failed", stage=job.stage)
                answer = error if isinstance(error, RooftreeError) else Failed(f"Taking back failed: {error}")
                job.add_error(error, answer)
                return answer

    async def end(self, job: Job, state: JobState, *, listed: bool) -> None:
        """Write a job's end, and tell that it has ended."""
        self._ends_not_written[job.id] = (state, job.raw_errors(), listed)
        with unwritable_is_logged():
            await self.write_ends()
        job.done = True
        self._ended(job, listed)
        self._changed(job)

    async def write_ends(self) -> None:
        """Write the ends of jobs, with those that could not be written earlier.

        Before a job is accepted this must have worked: a job that ended on a full disk would be taken back at the next
        start, over whatever later jobs made of the same things.
        """
        for job_id, (state, errors, listed) in list(self._ends_not_written.items()):
            await self._journal.end(job_id, state, errors, listed=listed)
            self._ends_not_written.pop(job_id, None)

    def has_ended(self, job_id: str) -> bool:
        """Whether it ended on a disk that could not be written, which the journal does not know."""
        return job_id in self._ends_not_written


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
