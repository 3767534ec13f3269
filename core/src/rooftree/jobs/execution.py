"""Execution: a job's steps are done one after the other, and taken back in reverse order when one of them fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

from rooftree.errors import Failed, RooftreeError, Unavailable
from rooftree.jobs.journal import JobState, Journal, StepState
from rooftree.jobs.running import Job, JobCancelled
from rooftree.jobs.steps import Run, Step, Verbs
from rooftree.jobs.suspension import Suspended, Suspension
from rooftree.services import ServiceDirectory
from rooftree.state import explained, reach

log = structlog.get_logger(__name__)


class Execution:
    """Carries jobs out, and takes them back.

    :param changed: told of every job that went on noticeably
    :param ended: told of every job that has ended, and whether it is to be listed
    """

    def __init__(
        self,
        journal: Journal,
        directory: ServiceDirectory,
        suspension: Suspension,
        changed: Callable[[Job], None],
        ended: Callable[[Job, bool], None],
    ) -> None:
        self._journal = journal
        self._directory = directory
        self._suspension = suspension
        self._changed = changed
        self._ended = ended
        self._ends_not_written: dict[str, tuple[JobState, list[dict[str, Any]], bool]] = {}

    async def carry_out(self, started: Job, *, listed: bool) -> None:
        """Do what is still to be done, and on failure take back what was; raises :class:`Suspended`."""
        try:
            await self.do_all(started)
        except Suspended:
            raise
        except Exception as error:
            await self.fail(started, error)
            return
        started.complete()
        await reach("job:end")
        await self.end(started, JobState.DONE, listed=listed)
        started.tell(None)

    async def do_all(self, started: Job, *, can_wait: bool = False) -> None:
        """Do every step that is not done; raises what goes wrong, :class:`JobCancelled` or :class:`Suspended`.

        :param can_wait: whether the caller tries again when something is missing; then what only tidies up is no longer
            left undone for that
        """
        for number, planned in enumerate(started.steps):
            if started.states[number] is not StepState.DONE:
                await self._do(started, number, planned, can_wait)
        started.refuse_cancelled()

    async def _do(self, started: Job, number: int, planned: Step, can_wait: bool) -> None:
        self._suspension.interrupt(started.record.owner)
        started.refuse_cancelled()
        verbs = Verbs(planned, self._directory)
        started.enter(number, planned.stage)
        name = f"step:{planned.kind}"
        if started.states[number] is StepState.PLANNED:
            before = await verbs.before()
            await reach(f"{name}:before")
            started.refuse_cancelled()
            await self._journal.begin_step(started.id, number, before)
            started.befores[number] = before
            started.states[number] = StepState.DOING
            started.refuse_cancelled()  # meanwhile it could still be cancelled; from here on its own step decides
        await reach(f"{name}:do")
        result, outcome = await self._done(started, number, planned, verbs, can_wait)
        await reach(f"{name}:done")
        await self._journal.end_step(started.id, number, result, outcome)
        started.results[number] = result
        started.states[number] = StepState.DONE
        started.advance(number, 1.0)

    async def _done(self, started: Job, number: int, planned: Step, verbs: Verbs, can_wait: bool) -> tuple[Any, str]:
        """A step's result, and its outcome for the audit log."""
        doing = verbs.do(Run(started, number))
        try:
            return await (started.interruptibly(doing) if planned.interruptible else doing), "done"
        except JobCancelled:
            raise
        except Exception as error:
            if not planned.tidies or (can_wait and isinstance(error, Unavailable)):
                raise
            expected = isinstance(error, RooftreeError)
            log.warning("not_tidied_up", step=planned.kind, reason=str(error), exc_info=not expected)
            return None, "failed"

    async def fail(self, started: Job, error: Exception) -> None:
        """Record the error, take back every step begun, then tell who waits."""
        answer: RooftreeError
        if isinstance(error, RooftreeError):
            answer = error
        elif (refusal := explained(error)) is not None:
            answer = refusal
        else:
            answer = Failed(f"The job failed: {str(error) or type(error).__name__}")
            log.exception("job_crashed", exc_info=error)
        answer.job_id = started.id
        started.taking_back = True
        started.add_error(error, answer)
        if started.cancelled not in {None, error}:  # its step ended in an error of its own when it was cancelled
            started.add_error(started.cancelled, started.cancelled)
        log.warning("job_failed", reference=started.record.reference, stage=started.stage, error=answer.message)
        outcome = "failed" if started.cancelled is None else "cancelled"
        with unwritable_is_logged():
            await self._journal.fail(started.id, started.raw_errors(), started.doing, outcome)
        await self.take_back(started, lambda: started.tell(answer))
        await self.end(started, JobState.FAILED, listed=True)
        started.tell(answer)

    async def take_back(self, started: Job, waits: Callable[[], Any] = lambda: None) -> None:
        """Undo the steps begun, the last first, as far as they can be.

        A step that is done and has no ``undo`` is where the way back ends: it stays, and so does what it was done for.

        :param waits: called before waiting for something that is missing
        """
        for number in reversed(range(len(started.steps))):
            if not started.has_begun(number):
                continue
            planned = started.steps[number]
            if not planned.reversible() and started.states[number] is StepState.DONE:
                log.warning("not_taken_back_further", step=planned.kind)
                return
            await reach(f"step:{planned.kind}:undo")
            undo = partial(Verbs(planned, self._directory).undo, started.befores.get(number))
            undone = await self._until_available(started, undo, waits)
            outcome = "undone" if undone and planned.reversible() else "not_undone"
            with unwritable_is_logged():
                await self._journal.undo_step(started.id, number, outcome)
            started.states[number] = StepState.UNDONE

    async def _until_available(
        self, started: Job, attempt: Callable[[], Coroutine[Any, Any, None]], waits: Callable[[], Any]
    ) -> bool:
        """Try until what it needs is there. Any other failure is recorded with the job, which goes on (false)."""
        tries = 0
        while True:
            try:
                await attempt()
                return True
            except Unavailable as error:
                if tries == 0:
                    waits()
                    log.warning("job_waits", reason=error.message)
                await self._suspension.pause(started, tries)
                tries += 1
            except Exception as error:
                log.exception("undo_failed", stage=started.stage)
                answer = error if isinstance(error, RooftreeError) else Failed(f"Taking back failed: {error}")
                started.add_error(error, answer)
                return False

    async def end(self, started: Job, state: JobState, *, listed: bool) -> None:
        """Write a job's end, and tell that it has ended."""
        self._ends_not_written[started.id] = (state, started.raw_errors(), listed)
        with unwritable_is_logged():
            await self.write_ends()
        started.done = True
        self._ended(started, listed)
        self._changed(started)

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


class unwritable_is_logged(contextlib.AbstractContextManager[None]):  # read as a sentence after `with`
    """On the way back a full disk must not stop the taking back: the row stays open and the next start repeats it."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Unavailable):
            log.error("journal_unwritable", error=error.message)
            return True
        return False
