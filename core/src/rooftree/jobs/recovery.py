"""Recovery: a job that a kill, a stop or its plugin's end left open is taken back or finished, as it declares.

What it needs may be missing: the plugin whose step it is, an engine. It waits for that, visibly, and holds up nobody
but those who want the same things.
"""

from __future__ import annotations

from itertools import count

import structlog
from cattrs.errors import BaseValidationError

from rooftree.errors import Failed
from rooftree.jobs.execution import Execution
from rooftree.jobs.job_info import StepError
from rooftree.jobs.phases import Phase
from rooftree.jobs.running import Job, JobInterrupted
from rooftree.jobs.steps import Step
from rooftree.jobs.suspension import Suspension
from rooftree.model import describe

log = structlog.get_logger(__name__)


class Recovery:
    """Brings open jobs to their end."""

    def __init__(self, execution: Execution, suspension: Suspension) -> None:
        self._execution = execution
        self._suspension = suspension

    async def recover(self, job: Job) -> None:
        """Bring a job whose code is there to its end; raises :class:`Suspended`."""
        record = job.record
        if record.phase is Phase.RUNNING and (record.recovery == "forward" or job.is_past_return):
            job.become(Phase.RUNNING)
            await self._execution.carry_out(job, listed=True, patient=True)
            return
        job.errors = [StepError.read(raw) for raw in record.errors]
        if job.errors:
            job.become(Phase.UNDOING)
            await self._execution.take_back(job)
        else:
            why = f"{record.name} was interrupted by the end of Rooftree, and is taken back"
            await self._execution.fail(job, JobInterrupted(why))

    async def give_up(self, job: Job, reason: Failed) -> None:
        """End a job whose code will not come back: as failed, and not taken back."""
        job.add_error(reason, reason)
        await self._execution.end(job, Phase.FAILED, listed=True)

    async def until_loaded(self, job: Job) -> None:
        """Wait until the plugins that own the job's steps are loaded, and its own runs; raises :class:`Suspended`, or
        :class:`~rooftree.errors.Failed` where the job was given up."""
        for tries in count():
            try:
                steps = [Step.from_journal(row.kind, row.arguments) for row in job.record.steps]
                if not self._suspension.is_off(job.record.owner):
                    job.take_up(steps)
                    return
            except KeyError as error:
                if tries == 0:
                    log.warning("job_waits", reason=f"no loaded plugin knows the step {error}", owner=job.record.owner)
            except (BaseValidationError, ValueError, TypeError) as error:
                if tries == 0:
                    reason = f"a step in the journal does not fit its class: {'; '.join(describe(error))}"
                    log.error("job_waits", reason=reason, owner=job.record.owner)
            await self._suspension.wait_for_code(job, tries)
