"""Jobs: operations with an id, a plan, progress and a memory that outlives the process.

A job begins as a plan, a plain function that looks and waits but changes nothing, and returns the complete list of
steps (:mod:`~rooftree.planning`). The list is journaled in the transaction that accepts the request; from then on the
operation can't be lost. A step that fails takes the job back: every step begun is undone, in reverse order
(:mod:`~rooftree.execution`). A kill is found at the next start and recovered the way the job declares: back, or forward
(:mod:`~rooftree.recovery`). What needs a plugin or an engine that is not there waits, visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from attrs import evolve, frozen

from rooftree import locks
from rooftree.clock import MACHINE, Clock
from rooftree.conditions import Conditions
from rooftree.context import begins, caller, job_under_way, plugin_under_way
from rooftree.errors import Conflict, Failed, NotReady
from rooftree.events import Event, EventBus
from rooftree.execution import Execution, unwritable_is_logged
from rooftree.failpoints import reach
from rooftree.job_kinds import JobKind
from rooftree.job_list import JobList
from rooftree.journal import JobRecord, JobState, Journal, StepRecord
from rooftree.locks import Lock, LockTable
from rooftree.planning import Planner, limits_of
from rooftree.plans import Made, Plan, PlanMade
from rooftree.rates import Throttle
from rooftree.recovery import WAITING, Recovery
from rooftree.running_job import Job, JobInfo
from rooftree.services import Service, ServiceDirectory
from rooftree.suspension import Suspended, Suspension, settled

log = structlog.get_logger(__name__)


class JobBusy(Conflict):
    """Another job holds what this one would change. ``extra_fields``: ``job_id``, ``name`` of the other."""

    error_key = "job_concurrency_error"


@frozen
class JobStarted:
    """The answer to a call that does not wait for its job."""

    job_id: str


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
        self._execution = Execution(journal, directory, self._suspension, self._publish, self._list.end)
        self._recovery = Recovery(journal, self._execution, self._suspension)
        self.plugin_of: Callable[[str], str | None] = lambda package: None
        """The plugin of a package; set by whoever knows plugins."""

    async def run(self, kind: JobKind, *, background: bool = False, **arguments: Any) -> JobStarted | None:
        """Plan, accept and run a job.

        Returns when it has ended, or with its id as soon as it is accepted where ``background`` is true. What the plan
        refuses is raised as it is, and so is :class:`JobBusy`, :class:`~rooftree.errors.RateLimited` and
        :class:`~rooftree.conditions.ConditionNotMet`; a job that fails raises its error, with ``job_id`` set.

        From a route this needs ``starts=`` in the route's declaration (``TypeError``).
        """
        await self._refuse_undeclared(kind, arguments)
        self._suspension.refuse(kind.owner)
        self._throttle.refuse_too_soon(limits_of(kind, arguments))
        self._about_to_change()
        started = self._new(kind, arguments)
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        accepted.add_done_callback(lambda future: future.cancelled() or future.exception())  # a client may have gone
        self._spawn(started, self._live(started, kind, arguments, accepted, background))
        await asyncio.shield(accepted)
        if background:
            return JobStarted(started.id)
        await asyncio.shield(started.finished)
        return None

    async def preview(self, kind: JobKind, **arguments: Any) -> Plan:
        """What :meth:`run` would do now; refuses what it would refuse, and changes nothing."""
        made = await self._planner.make(kind, arguments, root="")
        self._refuse_busy(kind, made.locks)
        waits_for = map(self._list.named, self._locks.holders(made.locks))
        return Plan.of(made, await made.described(self._directory), waits_for)

    async def _refuse_undeclared(self, kind: JobKind, arguments: Mapping[str, Any]) -> None:
        """Hold a route to what it declared to begin, and answer with the plan where only that was asked for."""
        route = begins.get()
        if route is None:
            return
        if route.kind is not kind and route.kind != "any":
            raise TypeError(f"a route that begins {kind.name} must declare it with starts=")
        if route.plan_only:
            raise PlanMade(await self.preview(kind, **arguments))

    def _new(self, kind: JobKind, arguments: Mapping[str, Any]) -> Job:
        who = caller.get()
        record = JobRecord(
            id=secrets.token_hex(16),
            name=kind.name,
            reference=kind.refers_to(arguments),
            owner=kind.owner,
            caller=str(who) if who else None,
            recovery=kind.recovery,
            locks=(),
            state=JobState.RUNNING,
            listed=False,
            errors=(),
            created=datetime.now(UTC),
            ended=None,
            steps=(),
        )
        started = Job(record, self._publish)
        self._list.add(started)
        return started

    def _enter(self, some: Job) -> None:
        """Say to all that runs in the job's task which job it is, and whose."""
        structlog.contextvars.bind_contextvars(job=some.id, job_name=some.record.name)
        plugin_under_way.set(self.plugin_of(some.record.owner))
        job_under_way.set(some.id)
        begins.set(None)

    def _spawn(self, started: Job, work: Coroutine[Any, Any, None]) -> None:
        started.task = asyncio.get_running_loop().create_task(work, name=f"job {started.record.name} {started.id}")

    async def _live(
        self,
        started: Job,
        kind: JobKind,
        arguments: Mapping[str, Any],
        accepted: asyncio.Future[None],
        background: bool,
    ) -> None:
        """A job from its plan to its end."""
        self._enter(started)
        try:
            try:
                made = await started.interruptibly(self._take_and_make(started, kind, arguments))
                await self._execution.write_ends()
                await self._accept(started, kind, made)
            except Exception as error:
                accepted.set_exception(error)
                return
            await reach("job:accepted")
            accepted.set_result(None)
            with contextlib.suppress(Suspended):
                await self._execution.carry_out(started, listed=background)
        finally:
            if not accepted.done():
                accepted.set_exception(self._not_begun(kind))
            self._close(started)

    async def _take_and_make(self, started: Job, kind: JobKind, arguments: Mapping[str, Any]) -> Made:
        """Take what the job has to hold, and make its plan. Which children it has is known only then: where they need
        more, all is given back and taken together, so that no two jobs can wait for each other."""
        wanted = frozenset(kind.locks(**arguments))
        while True:
            self._refuse_busy(kind, wanted)
            await self._locks.take(wanted, started.id)
            made = await self._planner.make(kind, arguments, started.id)
            if made.locks <= wanted:
                return made
            self._locks.release(started.id)
            wanted |= made.locks

    async def _accept(self, started: Job, kind: JobKind, made: Made) -> None:
        """Take the plan over into the job and the journal."""
        started.refuse_cancelled()
        self._throttle.refuse_too_soon(made.limits)  # others may have begun since the plan was made
        self._throttle.note(made.limits)
        started.take_over(made)
        rows = tuple(StepRecord(kind=s.kind, arguments=s.to_journal(), subject=s.acts_on()) for s in made.steps)
        started.record = evolve(started.record, steps=rows, locks=locks.written(made.locks))
        try:
            await self._journal.accept(started.record, makes_room=kind.makes_room)
        except Exception:
            self._throttle.take_back(made.limits)
            raise
        started.accepted = True

    def _not_begun(self, kind: JobKind) -> NotReady:
        try:
            self._suspension.refuse(kind.owner)
        except NotReady as reason:
            return reason
        return NotReady(f"{kind.name} was not begun")

    def _refuse_busy(self, kind: JobKind, wanted: frozenset[Lock]) -> None:
        holder = next(iter(self._locks.holders(wanted)), None)
        if kind.when_busy != "refuse" or holder is None:
            return
        other = self._list.find_open(holder)
        name = other.record.name if other else "a job"
        busy = f"{kind.name} can't begin while {self._list.named(holder)} is under way"
        raise JobBusy(busy, job_id=holder, name=name)

    def _close(self, started: Job) -> None:
        """What is left to do when a job's task ends, however it does."""
        if (
            self._suspension.is_off(started.record.owner)
            and not self._suspension.is_final
            and started.accepted
            and started.done is not True
        ):
            started.tell(NotReady("The plugin that did this has stopped; the job goes on when it runs again"))
            return  # what the job holds it keeps: it is not over
        self._locks.release(started.id)
        self._list.remove(started.id)
        started.tell(NotReady("Rooftree is stopping; the job goes on at the next start"))

    def _publish(self, some: Job) -> None:
        self._bus.publish(JobChanged(some.info()))

    async def cancel(self, job_id: str) -> None:
        """Let a job end before its time, and be taken back; returns when that has begun, and can't be lost any more.

        Raises :class:`NotFound`, and :class:`Conflict` for one that has ended, is a part of another, can only go
        forward any more, or waits for code that is not installed.
        """
        found = self._list.find_open(job_id)
        if found is None:
            root = next((some for some in self._list if some.info().find(job_id)), None)
            if root is not None:
                raise Conflict(f"Job {job_id} is a part of {root}; cancel that")
            await self._list.get(job_id)
            raise Conflict(f"Job {job_id} has ended already")
        who = str(caller.get() or "Rooftree")
        if found.cancel(who) and found.planned:
            with unwritable_is_logged():
                await self._journal.cancel(job_id, who, found.raw_errors())

    # --- interrupted jobs, and plugins that come and go ---------------------------------------------------------------

    async def recover(self) -> None:
        """Take up the jobs that a kill left open; they hold their locks at once and go on by themselves."""
        await self._list.load()
        for record in await self._journal.open_jobs():
            self._take_up(record)

    def _take_up(self, record: JobRecord) -> None:
        left = Job(record, self._publish)
        left.accepted = True
        left.stage = WAITING
        left.done = False
        self._list.add(left)
        self._locks.take_now(locks.read(record.locks), left.id)
        log.warning("job_was_interrupted", job=left.id, name=record.name, reference=record.reference)
        self._spawn(left, self._recover(left))

    async def _recover(self, left: Job) -> None:
        self._enter(left)
        try:
            with contextlib.suppress(Suspended):
                await self._recovery.until_loaded(left)
                self._enter(left)  # its plugin is known from here on
                await self._recovery.recover(left)
        finally:
            self._close(left)

    async def suspend(self, owner: str, plugin: str, grace_s: float) -> None:
        """Begin no more jobs of a plugin, let their running steps end for ``grace_s`` seconds, and keep the rest open:
        they wait, visibly, until :meth:`resume`.

        :param owner: the plugin's package
        :param plugin: its name, for who asks
        """
        self._suspension.suspend(owner, plugin)
        mine = [some for some in self._list if some.record.owner == owner]
        for some in mine:
            if some.task is not None and (not some.planned or some.rests):  # for its turn, its plan, something missing
                some.task.cancel()
        await settled({some.task for some in mine if some.task is not None}, grace_s)
        for some in mine:
            record = await self._journal.find(some.id)
            if record is not None and record.ended is None and not self._execution.has_ended(some.id):
                self._take_up(record)

    def resume(self, owner: str) -> None:
        """The plugin runs again: so do its jobs."""
        self._suspension.resume(owner)

    async def give_up(self, owner: str, reason: str) -> None:
        """End the jobs of a plugin that wait for its code, which will not come back: as failed, and not taken back.

        :param owner: the plugin's package
        """
        for some in [some for some in self._list if some.record.owner == owner and some.waits_for_code]:
            if some.task is not None:
                some.task.cancel()
                await asyncio.wait({some.task})
            error = Failed(reason)
            some.add_error(error, error)
            await self._execution.end(some, JobState.FAILED, listed=True)

    async def stop(self, grace_s: float) -> None:
        """Let running steps finish for ``grace_s`` seconds, then leave the rest to the next start."""
        self._suspension.end_all()
        await settled({some.task for some in self._list if some.task is not None}, grace_s)
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
