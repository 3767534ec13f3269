"""Jobs: operations with an id, a plan, progress and a memory that outlives the process.

A job begins as a plan, a plain function that looks and waits but changes nothing, and returns the complete list of
steps (:mod:`~rooftree.jobs.planning`). The list is journaled in the transaction that accepts the request; from then on
the operation can't be lost. A step that fails takes the job back: every step begun is undone, in reverse order
(:mod:`~rooftree.jobs.execution`). A kill is found at the next start and recovered the way the job declares: back, or
forward (:mod:`~rooftree.jobs.recovery`). What needs a plugin or an engine that is not there waits, visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from attrs import evolve, frozen

from rooftree.clock import MACHINE, Clock
from rooftree.context import caller, job_under_way, plugin_under_way
from rooftree.errors import Conflict, Failed, NotReady, Stopping
from rooftree.events import Event, EventBus, Problems
from rooftree.jobs import locks
from rooftree.jobs.conditions import Conditions
from rooftree.jobs.execution import Execution, unwritable_is_logged
from rooftree.jobs.job_info import JobInfo
from rooftree.jobs.journal import JobRecord, Journal, StepRecord
from rooftree.jobs.kinds import JobCall, JobKind, JobStarted
from rooftree.jobs.listing import JobList
from rooftree.jobs.locks import Lock, LockTable
from rooftree.jobs.phases import Phase
from rooftree.jobs.planning import Planner, limits_of
from rooftree.jobs.plans import Plan, ResolvedPlan
from rooftree.jobs.recovery import Recovery
from rooftree.jobs.running import Job
from rooftree.jobs.suspension import Suspended, Suspension, wait_or_cancel
from rooftree.model import Throttle
from rooftree.services import Service, ServiceDirectory
from rooftree.state import reach

log = structlog.get_logger(__name__)


class JobBusy(Conflict):
    """Another job holds what this one would change. ``extra_fields``: ``job_id``, ``name`` of the other."""

    status = 400  # as clients know it: by that they tell that another such job is under way
    error_key = "job_concurrency_error"


@frozen
class JobChanged(Event):
    """A job began, went on noticeably, or ended."""

    job: JobInfo


class Jobs:
    """The job manager.

    :param about_to_change: called before a job is begun; what it raises refuses the job
    """

    def __init__(
        self,
        journal: Journal,
        directory: ServiceDirectory,
        bus: EventBus,
        conditions: Conditions,
        problems: Problems,
        clock: Clock = MACHINE,
        about_to_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._about_to_change = about_to_change
        self._directory = directory
        self._bus = bus
        self._locks = LockTable()
        self._list = JobList(journal)
        self._throttle = Throttle(clock)
        self._suspension = Suspension()
        self._planner = Planner(directory, conditions, self._suspension, self._throttle)
        self._execution = Execution(journal, directory, self._suspension, self._publish, self._list.end, problems)
        self._recovery = Recovery(self._execution, self._suspension)
        self.plugin_of: Callable[[str], str | None] = lambda package: None
        """The plugin of a package; set by whoever knows plugins."""

    async def run[R](self, call: JobCall[R]) -> R:
        """Plan, accept and run a job.

        Returns ``None`` when it has ended, or :class:`JobStarted` as soon as it is accepted where it is called in the
        background; in place of either what the call says that it answers (:meth:`JobCall.answering`). What
        the plan refuses is raised as it is, and so is :class:`JobBusy`, :class:`~rooftree.errors.RateLimited` and
        :class:`~rooftree.jobs.conditions.ConditionNotMet`; a job that fails raises its error, with ``job_id`` set.
        """
        self._suspension.refuse(call.kind.owner)
        self._throttle.refuse_too_soon(limits_of(call))
        self._about_to_change()
        job = self._new(call)
        self._spawn(job, self._live(job, call))
        await asyncio.shield(job.accepted)
        if not call.background:
            await asyncio.shield(job.finished)
        usual = JobStarted(job.id) if call.background else None
        return cast("R", usual if call.answer is None else call.answer(job.id))

    async def preview(self, call: JobCall[Any]) -> Plan:
        """What :meth:`run` would do now; refuses what it would refuse, and changes nothing."""
        with contextlib.ExitStack() as holding:
            for context in call.holding:
                holding.enter_context(context)
            resolved = await self._planner.resolve(call, root="")
            self._refuse_busy(call.kind, resolved.locks)
            waits_for = map(self._list.named, self._locks.holders(resolved.locks))
            return Plan.of(resolved, await resolved.described(self._directory), waits_for)

    def _new(self, call: JobCall[Any]) -> Job:
        kind, who = call.kind, caller.get()
        record = JobRecord(
            id=secrets.token_hex(16),
            name=kind.name,
            reference=kind.refers_to(call.arguments),
            owner=kind.owner,
            caller=str(who) if who else None,
            recovery=kind.recovery,
            created=datetime.now(UTC),
        )
        job = Job(record, self._publish)
        self._list.add(job)
        return job

    def _enter(self, job: Job) -> None:
        """Say to all that runs in the job's task which job it is, and whose."""
        structlog.contextvars.bind_contextvars(job=job.id, job_name=job.record.name)
        plugin_under_way.set(self.plugin_of(job.record.owner))
        job_under_way.set(job.id)

    def _spawn(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        job.task = asyncio.get_running_loop().create_task(work, name=f"job {job.record.name} {job.id}")
        job.task.add_done_callback(lambda _: self._close(job))  # also where it is cancelled before it has started

    async def _live(self, job: Job, call: JobCall[Any]) -> None:
        """A job from its plan to its end."""
        self._enter(job)
        with contextlib.ExitStack() as holding:
            try:
                for context in call.holding:
                    holding.enter_context(context)
                resolved = await job.interruptibly(self._take_and_resolve(job, call))
                await self._execution.write_ends()
                await self._accept(job, call.kind, resolved)
            except Exception as error:
                job.become(Phase.REFUSED)
                job.accepted.set_exception(error)
                return
            await reach("job:accepted")
            job.accepted.set_result(None)
            with contextlib.suppress(Suspended):
                await self._execution.carry_out(job, listed=call.background)

    async def _take_and_resolve(self, job: Job, call: JobCall[Any]) -> ResolvedPlan:
        """Take what the job has to hold, and make its plan. Which children it has is known only then: where they need
        more, all is given back and taken together, so that no two jobs can wait for each other."""
        wanted = frozenset(call.kind.locks(**call.arguments))
        while True:
            self._refuse_busy(call.kind, wanted)
            await self._locks.take(wanted, job.id)
            resolved = await self._planner.resolve(call, job.id)
            if resolved.locks <= wanted:
                return resolved
            self._locks.release(job.id)
            wanted |= resolved.locks

    async def _accept(self, job: Job, kind: JobKind, resolved: ResolvedPlan) -> None:
        """Take the plan over into the job and the journal."""
        job.refuse_cancelled()
        self._throttle.refuse_too_soon(resolved.limits)  # others may have begun since the plan was made
        self._throttle.note(resolved.limits)
        job.take_over(resolved)
        rows = tuple(
            StepRecord(kind=step.kind, arguments=step.to_journal(), subject=step.acts_on()) for step in resolved.steps
        )
        job.record = evolve(job.record, steps=rows, locks=locks.written(resolved.locks))
        job.become(Phase.RUNNING)  # before the journal has it: who cancels it meanwhile is written behind it
        try:
            await self._journal.accept(job.record, makes_room=kind.makes_room)
        except Exception:
            self._throttle.take_back(resolved.limits)
            raise

    def _refuse_busy(self, kind: JobKind, wanted: frozenset[Lock]) -> None:
        holder = next(iter(self._locks.holders(wanted)), None)
        if kind.when_busy != "refuse" or holder is None:
            return
        other = self._list.find_open(holder)
        name = other.record.name if other else "a job"
        busy = f"{kind.name} can't begin while {self._list.named(holder)} is under way"
        raise JobBusy(busy, job_id=holder, name=name)

    def _close(self, job: Job) -> None:
        """What remains to be done when a job's task ends, however it does."""
        if not job.phase.is_last:
            job.become(Phase.REFUSED if job.phase is Phase.WAITING else Phase.SUSPENDED)
        if not job.accepted.done():
            job.accepted.set_exception(self._not_begun(job))
        if job.phase is Phase.SUSPENDED and not self._suspension.is_final:
            job.tell(Stopping("The plugin that did this has stopped; the job goes on when it runs again"))
            return  # what the job holds it keeps: it is not over
        self._let_go(job)
        job.tell(Stopping("Rooftree is stopping; the job goes on at the next start"))

    def _not_begun(self, job: Job) -> NotReady:
        try:
            self._suspension.refuse(job.record.owner)
        except Stopping as reason:
            return reason
        return NotReady(f"{job.record.name} was not begun")

    def _let_go(self, job: Job) -> None:
        self._locks.release(job.id)
        self._list.remove(job.id)

    def _publish(self, job: Job) -> None:
        self._bus.publish(JobChanged(job.info()))

    async def cancel(self, job_id: str) -> None:
        """Let a job end before its time, and be taken back; returns when that has begun, and can't be lost any more.

        Raises :class:`NotFound`, and :class:`Conflict` for one that has ended, is a part of another, can only go
        forward any more, or waits for code that is not installed.
        """
        job = self._list.find_open(job_id)
        if job is None:
            root = next((root for root in self._list if root.info().find(job_id)), None)
            if root is not None:
                raise Conflict(f"Job {job_id} is a part of {root}; cancel that")
            await self._list.get(job_id)
            raise Conflict(f"Job {job_id} has ended already")
        who = str(caller.get() or "Rooftree")
        if job.cancel(who):
            with unwritable_is_logged():
                await self._journal.cancel(job_id, who, job.raw_errors())

    # --- interrupted jobs, and plugins that come and go ---------------------------------------------------------------

    async def recover(self) -> None:
        """Take up the jobs that a kill left open; they hold their locks at once and go on by themselves."""
        await self._list.load()
        for record in await self._journal.open_jobs():
            self._take_up(record)

    def _take_up(self, record: JobRecord) -> None:
        job = Job(record, self._publish, Phase.RECOVERING)
        self._list.add(job)
        self._locks.take_now(locks.read(record.locks), job.id)
        log.warning("job_was_interrupted", job=job.id, name=record.name, reference=record.reference)
        self._spawn(job, self._recover(job))

    async def _recover(self, job: Job) -> None:
        self._enter(job)
        with contextlib.suppress(Suspended):
            try:
                await self._recovery.until_loaded(job)
            except Failed as reason:
                await self._recovery.give_up(job, reason)
                return
            self._enter(job)  # its plugin is known from here on
            await self._recovery.recover(job)

    async def suspend(self, owner: str, plugin: str, grace_s: float) -> None:
        """Begin no more jobs of a plugin, let their running steps end for ``grace_s`` seconds, and keep the rest open:
        they wait, visibly, until :meth:`resume`.

        :param owner: the plugin's package
        :param plugin: its name, for who asks
        """
        self._suspension.suspend(owner, plugin)
        jobs = [job for job in self._list if job.record.owner == owner and job.phase is not Phase.RECOVERING]
        await self._halt(jobs, grace_s)
        for job in jobs:
            if job.phase is Phase.SUSPENDED:
                await self._keep_open(job)

    async def _halt(self, jobs: Iterable[Job], grace_s: float) -> None:
        """Let running steps end for ``grace_s`` seconds, and nothing else."""
        tasks = set()
        for job in jobs:
            job.wake()
            if job.task is not None:
                tasks.add(job.task)
                if job.phase is Phase.WAITING:
                    job.task.cancel()
        await wait_or_cancel(tasks, grace_s)

    async def _keep_open(self, job: Job) -> None:
        """Take a job up again whose plugin has stopped; until that runs again it waits."""
        record = await self._journal.find(job.id)
        if record is None or record.ended is not None or self._execution.has_ended(job.id):
            self._let_go(job)
        else:
            self._take_up(record)

    def resume(self, owner: str) -> None:
        """The plugin runs again: so do its jobs."""
        self._suspension.resume(owner)
        for job in self._list:
            job.wake()
            if job.record.owner == owner and job.phase is Phase.SUSPENDED:  # by a step that would not end in time
                self._spawn(job, self._keep_open(job))

    async def give_up(self, owner: str, reason: str) -> None:
        """End the jobs of a plugin that wait for its code, which will not come back: as failed, and not taken back.

        :param owner: the plugin's package
        """
        jobs = [job for job in self._list if job.record.owner == owner and job.phase is Phase.RECOVERING]
        for job in jobs:
            job.given_up = Failed(reason)
            job.wake()
        if tasks := {job.task for job in jobs if job.task is not None}:
            await asyncio.wait(tasks)

    async def stop(self, grace_s: float) -> None:
        """Let running steps finish for ``grace_s`` seconds, then leave the rest to the next start."""
        self._suspension.is_final = True
        await self._halt(self._list, grace_s)
        with unwritable_is_logged():
            await self._execution.write_ends()

    # --- the list -----------------------------------------------------------------------------------------------------

    def listing(self) -> list[JobInfo]:
        """What there is to show, newest first: open jobs, and ended ones whose outcome nobody has waited for."""
        return self._list.listing()

    async def get(self, job_id: str) -> JobInfo:
        """One job or child of one, also one that has ended and is no longer listed; raises :class:`NotFound`."""
        return await self._list.get(job_id)

    async def forget(self, job_id: str) -> None:
        """Take an ended job off the list; raises :class:`NotFound`, or :class:`Invalid` while it runs."""
        await self._list.forget(job_id)


JOBS = Service[Jobs]("jobs/1")
