"""Recovery: a job that a kill, a stop or its plugin's end left open is taken back or finished, as it declares.

What it needs may be missing: the plugin whose step it is, an engine. It waits for that, visibly, and holds up nobody
but those who want the same things.
"""

from __future__ import annotations

import structlog
from cattrs.errors import BaseValidationError

from rooftree.errors import Unavailable
from rooftree.jobs.execution import Execution, unwritable_is_logged
from rooftree.jobs.journal import JobState, Journal
from rooftree.jobs.running import Job, JobInterrupted
from rooftree.jobs.steps import Step
from rooftree.jobs.suspension import Suspended, Suspension
from rooftree.model import describe

log = structlog.get_logger(__name__)

WAITING = "waiting"
"""The stage of a job that waits for something that is missing."""


class Recovery:
    """Brings open jobs to their end."""

    def __init__(self, journal: Journal, execution: Execution, suspension: Suspension) -> None:
        self._journal = journal
        self._execution = execution
        self._suspension = suspension

    async def recover(self, job: Job) -> None:
        """Bring a job whose code is there to its end; raises :class:`Suspended`."""
        record = job.record
        if record.state is JobState.RUNNING and (record.recovery == "forward" or job.is_past_return()):
            await self._carry_forward(job)
            return
        job.taking_back = True
        job.recall_errors()
        if not job.errors:
            interrupted = JobInterrupted(f"{record.name} was interrupted by the end of Rooftree, and is taken back")
            job.add_error(interrupted, interrupted)
            with unwritable_is_logged():
                await self._journal.fail(job.id, job.raw_errors())
        whole = await self._execution.take_back(job)
        job.stage = None
        await self._execution.end(job, JobState.FAILED, listed=True)
        log.info("job_taken_back" if whole else "job_taken_back_in_part", reference=record.reference)

    async def _carry_forward(self, job: Job) -> None:
        """Finish an interrupted job, waiting for whatever of the outside is missing."""
        tries = 0
        while True:
            try:
                await self._execution.do_all(job, can_wait=True)
                break
            except Unavailable as error:
                if tries == 0:
                    log.warning("job_waits", reason=error.message)
                job.stage = WAITING
                await self._suspension.pause(job, tries)
                tries += 1
            except Suspended:
                raise
            except Exception as error:
                await self._execution.fail(job, error)
                return
        job.complete()
        await self._execution.end(job, JobState.DONE, listed=True)
        log.info("job_finished_after_restart", reference=job.record.reference)

    async def until_loaded(self, job: Job) -> None:
        """Wait until the plugins that own the job's steps are loaded, and its own runs; raises :class:`Suspended`."""
        tries = 0
        while True:
            try:
                steps = [Step.from_journal(row.kind, row.arguments) for row in job.record.steps]
                if not self._suspension.is_off(job.record.owner):
                    break
            except KeyError as error:
                if tries == 0:
                    log.warning("job_waits", reason=f"no loaded plugin knows the step {error}", owner=job.record.owner)
            except (BaseValidationError, ValueError, TypeError) as error:
                if tries == 0:
                    reason = f"a step in the journal does not fit its class: {'; '.join(describe(error))}"
                    log.error("job_waits", reason=reason, owner=job.record.owner)
            await self._suspension.pause(job, tries)
            tries += 1
        job.take_up(steps)
