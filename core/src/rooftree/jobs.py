"""Jobs: operations with an id, a plan, progress and a memory that outlives the process.

A job begins as a plan, a plain function that looks and waits but changes nothing, and returns the complete list of
steps. The list is journaled in the transaction that accepts the request; from then on the operation can't be lost. A
step that fails takes the job back: every step begun is undone, in reverse order. A kill is found at the next start and
recovered the way the job declares: back, or forward. What needs a plugin or an engine that is not there waits, visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from attrs import evolve, frozen
from cattrs.errors import BaseValidationError

from rooftree.conditions import Conditions
from rooftree.context import begins, caller, job_under_way, plugin_under_way
from rooftree.conversion import describe
from rooftree.errors import Conflict, Failed, Invalid, NotFound, NotReady, RateLimited, RooftreeError, Unavailable
from rooftree.events import Event, EventBus
from rooftree.failpoints import reach
from rooftree.injection import Injector, is_service, parameters
from rooftree.journal import JobRecord, JobState, Journal, StepRecord, StepState
from rooftree.locks import Lock, LockTable
from rooftree.plans import Child, ChildRecord, Made, Plan, PlanMade, sum_known
from rooftree.rates import Meter, Rate
from rooftree.running_job import Job, JobCancelled, JobInfo, JobInterrupted, ended_info
from rooftree.services import Service, ServiceDirectory
from rooftree.steps import Run, Step, Steps, Verbs

log = structlog.get_logger(__name__)

LISTED = 100
"""Finished jobs that the jobs API shows at most: those that failed, and those whose caller did not wait."""
RETRY_S = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries of a recovery that waits for something; the last is repeated."""

STUBBORN_S = 2.0
"""Seconds that a step that does not heed its cancellation can hold up a stop."""

type Recovery = Literal["undo", "forward"]
type WhenBusy = Literal["wait", "refuse"]


@frozen
class JobKind:
    """A kind of job: made with :func:`job`, run with :meth:`Jobs.run`."""

    name: str
    plan: Callable[..., Coroutine[Any, Any, Steps]]
    reference: str | None
    locks: Callable[..., Iterable[Lock]]
    recovery: Recovery
    conditions: tuple[str, ...] = ()
    when_busy: WhenBusy = "wait"
    at_most: Rate | None = None
    makes_room: bool = False

    def refers_to(self, arguments: Mapping[str, Any]) -> str | None:
        """What the job acts on."""
        return str(arguments[self.reference]) if self.reference else None


def job(
    name: str,
    *,
    reference: str | None = None,
    locks: Callable[..., Iterable[Lock]] = lambda **_: (),
    recovery: Recovery = "undo",
    conditions: Collection[str] = (),
    when_busy: WhenBusy = "wait",
    at_most: Rate | None = None,
    makes_room: bool = False,
) -> Callable[[Callable[..., Coroutine[Any, Any, Steps]]], JobKind]:
    """Make a plan a kind of job.

    :param name: what the jobs API calls it; the reference's name where it has one
    :param reference: the name of the plan's argument that says what the job acts on
    :param locks: called with the plan's arguments (not its services): what the job holds from before its plan is made
        until it has ended, together with what its children hold
    :param recovery: what happens to a job that a kill interrupted: ``undo`` takes it back, ``forward`` finishes it
    :param conditions: names of :class:`~rooftree.conditions.Conditions` without which it is not begun
    :param when_busy: what happens to a job whose locks another one holds: it ``wait``\\ s for its turn, or is
        ``refuse``\\ d, naming the job in the way
    :param at_most: how often it may begin for one reference; what comes too soon is refused, saying when it may
    :param makes_room: it leads to more room on the data disk, and is accepted when there is none left
    """

    def decorate(plan: Callable[..., Coroutine[Any, Any, Steps]]) -> JobKind:
        return JobKind(name, plan, reference, locks, recovery, tuple(conditions), when_busy, at_most, makes_room)

    return decorate


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


class _Suspended(Exception):
    """The daemon, or the job's plugin, stops; the job stays open in the journal and is recovered later."""


class Jobs:
    """The job manager."""

    def __init__(self, journal: Journal, directory: ServiceDirectory, bus: EventBus, conditions: Conditions) -> None:
        self._journal = journal
        self._directory = directory
        self._bus = bus
        self._conditions = conditions
        self._locks = LockTable()
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, JobInfo] = {}
        self._meters: dict[tuple[str, str | None], Meter] = {}
        self._stopping = asyncio.Event()
        self._suspended: dict[str, str] = {}
        self._ends_not_written: dict[str, tuple[JobState, list[dict[str, Any]], bool]] = {}
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
        self._refuse_when_stopping(_owner(kind))
        self._refuse_too_soon(kind, arguments)
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
        self._refuse_too_soon(kind, arguments)
        made = await self._make(kind, arguments, root="")
        self._refuse_busy(kind, made.locks)
        return Plan.of(made, await made.described(self._directory), map(self._named, self._locks.holders(made.locks)))

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
            owner=_owner(kind),
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
        self._jobs[started.id] = started
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
                await self._write_ends()
                started.refuse_cancelled()
                self._begin(started, kind, made)
                await self._journal.accept(started.record, makes_room=kind.makes_room)
            except Exception as error:
                accepted.set_exception(error)
                return
            await reach("job:accepted")
            accepted.set_result(None)
            with contextlib.suppress(_Suspended):
                await self._carry_out(started, listed=background)
        finally:
            if not accepted.done():
                accepted.set_exception(NotReady("Rooftree is stopping; the job was not begun"))
            self._close(started)

    async def _take_and_make(self, started: Job, kind: JobKind, arguments: Mapping[str, Any]) -> Made:
        """Take what the job has to hold, and make its plan. Which children it has is known only then: where they need
        more, all is given back and taken together, so that no two jobs can wait for each other."""
        locks = frozenset(kind.locks(**arguments))
        while True:
            self._refuse_busy(kind, locks)
            await self._locks.take(locks, started.id)
            self._refuse_when_stopping(_owner(kind))
            made = await self._make(kind, arguments, started.id)
            if made.locks <= locks:
                break
            self._locks.release(started.id)
            locks |= made.locks
        if "free_space" in kind.conditions and (amount := await self._fetch_bytes(made)):
            await self._conditions.require(kind.name, ["free_space"], amount)
        return made

    async def _fetch_bytes(self, made: Made) -> int | None:
        return sum_known([await Verbs(step, self._directory).fetch_bytes() for step in made.steps])

    async def _make(self, kind: JobKind, arguments: Mapping[str, Any], root: str) -> Made:
        """The plan with those of its children, unfolded into one list of steps."""
        steps: list[Step] = []
        children: list[ChildRecord] = []
        locks: set[Lock] = set()

        async def unfold(kind: JobKind, arguments: Mapping[str, Any], job_id: str) -> None:
            await self._conditions.require(kind.name, kind.conditions)
            locks.update(kind.locks(**arguments))
            for part in await self._plan(kind, arguments):
                if not isinstance(part, Child):
                    steps.append(part)
                    continue
                begun = ChildRecord(name=part.kind.name, reference=part.kind.refers_to(part.arguments), parent=job_id,
                                    first=len(steps), end=len(steps))  # fmt: skip
                place = len(children)
                children.append(begun)
                await unfold(part.kind, part.arguments, begun.id)
                children[place] = evolve(begun, end=len(steps))

        await unfold(kind, arguments, root)
        return Made(
            name=kind.name,
            reference=kind.refers_to(arguments),
            steps=tuple(steps),
            children=tuple(children),
            locks=frozenset(locks),
        )

    async def _plan(self, kind: JobKind, arguments: Mapping[str, Any]) -> Steps:
        wanted = {
            p.name: p.kind
            for p in parameters(kind.plan)
            if p.name not in arguments and (p.required or is_service(self._directory, p.kind))
        }
        return await kind.plan(**Injector(self._directory, wanted).resolve(), **arguments)

    def _begin(self, started: Job, kind: JobKind, made: Made) -> None:
        """Take the plan over into the job and its record."""
        started.take_over(made)
        rows = tuple(StepRecord(kind=s.kind, arguments=s.to_journal(), subject=s.acts_on()) for s in made.steps)
        held = tuple((lock.kind, lock.name) for lock in sorted(made.locks, key=str))
        started.record = evolve(started.record, steps=rows, locks=held)
        if kind.at_most is not None:
            self._meter(kind, started.record.reference).note()

    async def _carry_out(self, started: Job, *, listed: bool) -> None:
        """Do what is still to be done, and on failure take back what was."""
        try:
            await self._do_all(started)
        except _Suspended:
            raise
        except Exception as error:
            await self._fail(started, error)
            return
        started.complete()
        await reach("job:end")
        await self._record_end(started, JobState.DONE, listed=listed)
        self._publish(started)
        if not started.finished.done():
            started.finished.set_result(None)

    async def _do_all(self, started: Job) -> None:
        for number, planned in enumerate(started.steps):
            if started.states[number] is not StepState.DONE:
                await self._do(started, number, planned)
        started.refuse_cancelled()

    async def _do(self, started: Job, number: int, planned: Step) -> None:
        if self._is_suspended(started):
            raise _Suspended
        started.refuse_cancelled()
        verbs = Verbs(planned, self._directory)
        started.enter(number, planned.stage)
        name = f"step:{planned.kind}"
        if started.states[number] is StepState.PLANNED:
            before = await verbs.before()
            await reach(f"{name}:before")
            await self._journal.begin_step(started.id, number, before)
            started.befores[number] = before
            started.states[number] = StepState.DOING
        await reach(f"{name}:do")
        doing = verbs.do(Run(started, number))
        try:
            result = await (started.interruptibly(doing) if planned.interruptible else doing)
        except JobCancelled:
            raise
        except Exception as error:
            if not planned.tidies:
                raise
            expected = isinstance(error, RooftreeError)
            log.warning("not_tidied_up", step=planned.kind, reason=str(error), exc_info=not expected)
            result = None
        await reach(f"{name}:done")
        await self._journal.end_step(started.id, number, result)
        started.results[number] = result
        started.states[number] = StepState.DONE
        started.advance(number, 1.0)

    async def _fail(self, started: Job, error: Exception) -> None:
        """Record the error, take back every step begun, then tell who waits."""
        answer = (
            error
            if isinstance(error, RooftreeError)
            else Failed(f"The job failed: {str(error) or type(error).__name__}")
        )
        if not isinstance(error, RooftreeError):
            log.exception("job_crashed", exc_info=error)
        answer.job_id = started.id
        started.taking_back = True
        started.add_error(error, answer)
        log.warning("job_failed", reference=started.record.reference, stage=started.stage, error=answer.message)
        with _unwritable_is_logged():
            await self._journal.fail(started.id, started.raw_errors(), started.doing)
        await self._undo(started, lambda: _tell(started.finished, answer))
        await self._record_end(started, JobState.FAILED, listed=True)
        self._publish(started)
        _tell(started.finished, answer)

    async def _undo(self, started: Job, waits: Callable[[], Any]) -> None:
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
            verbs = Verbs(planned, self._directory)
            await reach(f"step:{planned.kind}:undo")
            await self._until_available(started, lambda v=verbs, n=number: v.undo(started.befores.get(n)), waits)  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            with _unwritable_is_logged():
                await self._journal.undo_step(started.id, number)
            started.states[number] = StepState.UNDONE

    async def _until_available(
        self, started: Job, attempt: Callable[[], Coroutine[Any, Any, None]], waits: Callable[[], Any]
    ) -> None:
        """Try until what it needs is there. Any other failure is recorded with the job, which goes on."""
        tries = 0
        while True:
            try:
                await attempt()
                return
            except Unavailable as error:
                if tries == 0:
                    waits()
                    log.warning("job_waits", reason=error.message)
                await self._pause(started, tries)
                tries += 1
            except Exception as error:
                log.exception("undo_failed", stage=started.stage)
                answer = error if isinstance(error, RooftreeError) else Failed(f"Taking back failed: {error}")
                started.add_error(error, answer)
                return

    async def _pause(self, waiting: Job, tries: int) -> None:
        """Wait before the next try, or until the job is cancelled; raises :class:`_Suspended` when the daemon stops."""
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait())]
        if not waiting.taking_back:
            ends.append(asyncio.create_task(waiting.until_cancelled()))
        try:
            await asyncio.wait(ends, timeout=RETRY_S[min(tries, len(RETRY_S) - 1)], return_when="FIRST_COMPLETED")
        finally:
            for end in ends:
                end.cancel()
        if self._stopping.is_set():
            raise _Suspended

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refuse_when_stopping(self, owner: str) -> None:
        if self._stopping.is_set():
            raise NotReady("Rooftree is stopping; no new job is begun")
        if owner in self._suspended:
            raise NotReady(f"Plugin {self._suspended[owner]} is not running; none of its jobs is begun")

    def _refuse_too_soon(self, kind: JobKind, arguments: Mapping[str, Any]) -> None:
        if kind.at_most is None:
            return
        reference = kind.refers_to(arguments)
        wait_s = self._meter(kind, reference).wait_s()
        if wait_s > 0:
            what = f"{kind.name} of {reference}" if reference else kind.name
            raise RateLimited(f"{what} may begin {kind.at_most}; it may again in {wait_s:.0f} s", wait_s=round(wait_s))

    def _meter(self, kind: JobKind, reference: str | None) -> Meter:
        assert kind.at_most is not None
        return self._meters.setdefault((kind.name, reference), Meter(kind.at_most))

    def _refuse_busy(self, kind: JobKind, locks: frozenset[Lock]) -> None:
        holder = next(iter(self._locks.holders(locks)), None)
        if kind.when_busy != "refuse" or holder is None:
            return
        other = self._jobs.get(holder)
        name = other.record.name if other else "a job"
        raise JobBusy(f"{kind.name} can't begin while {self._named(holder)} is under way", job_id=holder, name=name)

    def _named(self, job_id: str) -> str:
        found = self._jobs.get(job_id)
        if found is None:
            return job_id
        of = f" of {found.record.reference}" if found.record.reference else ""
        return f"{found.record.name}{of} ({job_id})"

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _record_end(self, started: Job, state: JobState, *, listed: bool) -> None:
        self._ends_not_written[started.id] = (state, started.raw_errors(), listed)
        with _unwritable_is_logged():
            await self._write_ends()
        started.done = True
        self._jobs.pop(started.id, None)  # shown from the list from now on, or not at all
        if listed:
            self._list(started.info())

    async def _write_ends(self) -> None:
        """Write the ends of jobs, with those that could not be written earlier.

        Before a job is accepted this must have worked: a job that ended on a full disk would be taken back at the next
        start, over whatever later jobs made of the same things.
        """
        for job_id, (state, errors, listed) in list(self._ends_not_written.items()):
            await self._journal.end(job_id, state, errors, listed=listed)
            self._ends_not_written.pop(job_id, None)

    def _list(self, info: JobInfo) -> None:
        self._ended[info.uuid] = info
        while len(self._ended) > LISTED:
            self._ended.pop(next(iter(self._ended)))

    def _close(self, started: Job) -> None:
        waits = started.record.owner in self._suspended and not self._stopping.is_set()
        if waits and started.record.steps and started.done is not True:
            _tell(
                started.finished, NotReady("The plugin that did this has stopped; the job goes on when it runs again")
            )
            return  # what the job holds it keeps: it is not over
        self._locks.release(started.id)
        self._jobs.pop(started.id, None)
        _tell(started.finished, NotReady("Rooftree is stopping; the job goes on at the next start"))

    def _publish(self, started: Job) -> None:
        self._bus.publish(JobChanged(started.info()))

    async def cancel(self, job_id: str) -> None:
        """Let a job end before its time, and be taken back; returns when that has begun.

        Raises :class:`NotFound`, and :class:`Conflict` for one that has ended, is a part of another, can only go
        forward any more, or waits for code that is not installed.
        """
        found = self._jobs.get(job_id)
        if found is None:
            root = next((open_job for open_job in self._jobs.values() if open_job.info().find(job_id)), None)
            if root is not None:
                raise Conflict(f"Job {job_id} is a part of {self._named(root.id)}; cancel that")
            await self.get(job_id)
            raise Conflict(f"Job {job_id} has ended already")
        if found.record.steps and not found.steps:
            raise Conflict(f"Job {job_id} waits for its plugin, without which it can't be taken back")
        who = caller.get()
        found.cancel(str(who) if who else "Rooftree")

    # --- recovery -----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up the jobs that a kill left open; they hold their locks at once and go on by themselves."""
        for info in reversed([ended_info(record) for record in await self._journal.listed_jobs(LISTED)]):
            self._list(info)
        for record in await self._journal.open_jobs():
            self._take_up(record)

    def _take_up(self, record: JobRecord) -> None:
        left = Job(record, self._publish)
        self._jobs[left.id] = left
        left.stage = "waiting"
        left.done = False
        self._locks.take_now(frozenset(Lock(kind, name) for kind, name in record.locks), left.id)
        log.warning("job_was_interrupted", job=left.id, name=record.name, reference=record.reference)
        self._spawn(left, self._recover(left))

    async def _recover(self, left: Job) -> None:
        record = left.record
        self._enter(left)
        try:
            await self._until_loaded(left)
            self._enter(left)  # its plugin is known from here on
            if record.state is JobState.RUNNING and (record.recovery == "forward" or left.is_past_return()):
                await self._carry_forward(left)
                return
            left.taking_back = True
            left.recall_errors()
            if not left.errors:
                interrupted = JobInterrupted(f"{record.name} was interrupted by the end of Rooftree and taken back")
                left.add_error(interrupted, interrupted)
                with _unwritable_is_logged():
                    await self._journal.fail(left.id, left.raw_errors())
            await self._undo(left, lambda: None)
            left.stage = None
            await self._record_end(left, JobState.FAILED, listed=True)
            self._publish(left)
            log.info("job_taken_back", reference=record.reference)
        except _Suspended:
            pass
        finally:
            self._close(left)

    async def _carry_forward(self, left: Job) -> None:
        """Finish an interrupted job, waiting for whatever of the outside is missing."""
        tries = 0
        while True:
            try:
                await self._do_all(left)
                break
            except Unavailable as error:
                if tries == 0:
                    log.warning("job_waits", reason=error.message)
                left.stage = "waiting"
                await self._pause(left, tries)
                tries += 1
            except _Suspended:
                raise
            except Exception as error:
                await self._fail(left, error)
                return
        left.complete()
        await self._record_end(left, JobState.DONE, listed=True)
        self._publish(left)
        log.info("job_finished_after_restart", reference=left.record.reference)

    async def _until_loaded(self, left: Job) -> None:
        """Wait until the plugins that own the job's steps are loaded, and its own runs."""
        tries = 0
        while True:
            try:
                steps = [Step.from_journal(row.kind, row.arguments) for row in left.record.steps]
                if left.record.owner not in self._suspended:
                    break
            except KeyError as error:
                if tries == 0:
                    log.warning("job_waits", reason=f"no loaded plugin knows the step {error}", owner=left.record.owner)
            except (BaseValidationError, ValueError, TypeError) as error:
                if tries == 0:
                    reason = f"a step in the journal does not fit its class: {'; '.join(describe(error))}"
                    log.error("job_waits", reason=reason, owner=left.record.owner)
            await self._pause(left, tries)
            tries += 1
        left.take_up(steps)

    # --- plugins that come and go -------------------------------------------------------------------------------------

    def _is_suspended(self, some: Job) -> bool:
        return self._stopping.is_set() or some.record.owner in self._suspended

    async def suspend(self, owner: str, plugin: str, grace_s: float) -> None:
        """Begin no more jobs of a plugin, let their running steps end for ``grace_s`` seconds, and keep the rest open:
        they wait, visibly, until :meth:`resume`.

        :param owner: the plugin's package
        :param plugin: its name, for who asks
        """
        self._suspended[owner] = plugin
        mine = [some for some in self._jobs.values() if some.record.owner == owner]
        for some in mine:
            if some.task is not None and not some.record.steps:  # it waits for its turn, or its plan
                some.task.cancel()
        await _settled({some.task for some in mine if some.task is not None}, grace_s)
        for some in mine:
            record = await self._journal.find(some.id)
            if record is not None and record.ended is None and some.id not in self._ends_not_written:
                self._take_up(record)

    def resume(self, owner: str) -> None:
        """The plugin runs again: so do its jobs."""
        self._suspended.pop(owner, None)

    def listing(self) -> list[JobInfo]:
        """What there is to show, newest first: open jobs, and ended ones whose outcome nobody has waited for."""
        infos = {info.uuid: info for info in self._ended.values()}
        infos.update({job.id: job.info() for job in self._jobs.values()})
        return sorted(infos.values(), key=lambda info: info.created, reverse=True)

    async def get(self, job_id: str) -> JobInfo:
        """One job or child of one, also one that has ended and is no longer listed; raises :class:`NotFound`."""
        for info in (*(some.info() for some in self._jobs.values()), *self._ended.values()):
            if found := info.find(job_id):
                return found
        record = await self._journal.find(job_id)
        found = ended_info(record).find(job_id) if record is not None else None
        if found is None:
            raise NotFound(f"There is no job {job_id}")
        return found

    async def forget(self, job_id: str) -> None:
        """Take an ended job off the list; raises :class:`NotFound`, or :class:`Invalid` while it runs."""
        if job_id in self._jobs:
            raise Invalid(f"Job {job_id} is not done yet; it can be taken off the list when it is")
        if job_id not in self._ended:
            raise NotFound(f"There is no job {job_id} on the list")
        await self._journal.forget(job_id)
        self._ended.pop(job_id, None)

    async def stop(self, grace_s: float) -> None:
        """Let running steps finish for ``grace_s`` seconds, then leave the rest to the next start."""
        self._stopping.set()
        await _settled({some.task for some in self._jobs.values() if some.task is not None}, grace_s)
        with _unwritable_is_logged():
            await self._write_ends()


JOBS = Service[Jobs]("jobs/1")


def _owner(kind: JobKind) -> str:
    """The package that a kind of job comes from."""
    return kind.plan.__module__.partition(".")[0]


async def _settled(tasks: Collection[asyncio.Task[None]], grace_s: float) -> None:
    """Wait for tasks, and cancel those that take too long."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace_s)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STUBBORN_S)


def _tell(waiting: asyncio.Future[None], error: Exception) -> None:
    """Let whoever waits know of an error, unless they know the outcome already."""
    if not waiting.done():
        waiting.set_exception(error)


class _unwritable_is_logged(contextlib.AbstractContextManager[None]):
    """On the way back a full disk must not stop the taking back: the row stays open and the next start repeats it."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Unavailable):
            log.error("journal_unwritable", error=error.message)
            return True
        return False
