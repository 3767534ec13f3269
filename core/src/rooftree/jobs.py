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
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from attrs import evolve, field, frozen
from cattrs.errors import BaseValidationError

from rooftree.context import caller
from rooftree.conversion import describe
from rooftree.errors import Failed, Invalid, NotFound, NotReady, RooftreeError, Unavailable
from rooftree.events import Event, EventBus
from rooftree.failpoints import reach
from rooftree.injection import Injector, is_service, parameters
from rooftree.journal import JobRecord, JobState, Journal, StepRecord, StepState
from rooftree.locks import Lock, LockTable
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


@frozen
class JobKind:
    """A kind of job: made with :func:`job`, run with :meth:`Jobs.run`."""

    name: str
    plan: Callable[..., Coroutine[Any, Any, Steps]]
    reference: str | None
    locks: Callable[..., Iterable[Lock]]
    recovery: Recovery


def job(
    name: str,
    *,
    reference: str | None = None,
    locks: Callable[..., Iterable[Lock]] = lambda **_: (),
    recovery: Recovery = "undo",
) -> Callable[[Callable[..., Coroutine[Any, Any, Steps]]], JobKind]:
    """Make a plan a kind of job.

    :param name: what the jobs API calls it; the reference's name where it has one
    :param reference: the name of the plan's argument that says what the job acts on
    :param locks: called with the plan's arguments (not its services): what the job holds from before its plan is made
        until it has ended. Who comes later waits.
    :param recovery: what happens to a job that a kill interrupted: ``undo`` takes it back, ``forward`` finishes it
    """

    def decorate(plan: Callable[..., Coroutine[Any, Any, Steps]]) -> JobKind:
        return JobKind(name, plan, reference, locks, recovery)

    return decorate


class JobInterrupted(Failed):
    """The process ended while the job ran; what it had done was taken back at the next start."""

    error_key = "job_interrupted_error"


@frozen
class JobError:
    """Something that went wrong in a job."""

    type: str
    message: str
    stage: str | None = None
    error_key: str | None = None
    extra_fields: dict[str, Any] | None = None


@frozen(kw_only=True)
class JobInfo:
    """A job as the jobs API shows it."""

    name: str
    reference: str | None
    uuid: str
    progress: float
    stage: str | None
    done: bool | None
    """``None`` before it has started, ``False`` while it runs."""
    created: datetime
    errors: list[JobError] = field(factory=list)
    extra: dict[str, Any] | None = None
    child_jobs: list[JobInfo] = field(factory=list)


@frozen
class JobStarted:
    """The answer to a call that does not wait for its job."""

    job_id: str


@frozen
class JobChanged(Event):
    """A job began, went on noticeably, or ended."""

    job: JobInfo


class Job:
    """A job under way."""

    def __init__(self, record: JobRecord, changed: Callable[[Job], None]) -> None:
        self.id = record.id
        self.record = record
        self.errors: list[JobError] = []
        self.stage: str | None = None
        self.done: bool | None = None
        self.progress = 0.0
        self.steps: tuple[Step, ...] = ()
        self.states: list[StepState] = []
        self.befores: dict[int, Any] = {}
        self.results: dict[int, Any] = {}
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.finished.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._fractions: list[float] = []
        self._changed = changed

    def plan(self, steps: Steps) -> None:
        """Take the steps over."""
        self.steps = tuple(steps)
        self.states = [StepState.PLANNED] * len(self.steps)
        self._fractions = [0.0] * len(self.steps)

    def enter(self, number: int, stage: str | None) -> None:
        """A step begins."""
        self.done = False
        self.stage = stage
        self._changed(self)

    def advance(self, number: int, fraction: float) -> None:
        """A step is that far."""
        self._fractions[number] = max(self._fractions[number], min(1.0, max(0.0, fraction)))
        whole = sum(step.weight for step in self.steps) or 1
        done = sum(step.weight * part for step, part in zip(self.steps, self._fractions, strict=True))
        progress = round(100 * done / whole, 1)
        if progress >= self.progress + 1 or (progress == 100.0 and self.progress < 100.0):
            self.progress = progress
            self._changed(self)

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

    def info(self) -> JobInfo:
        """A picture of it."""
        return JobInfo(
            name=self.record.name,
            reference=self.record.reference,
            uuid=self.id,
            progress=self.progress,
            stage=self.stage,
            done=self.done,
            created=self.record.created,
            errors=list(self.errors),
        )

    def raw_errors(self) -> list[dict[str, Any]]:
        """The errors as plain data, for the journal."""
        return [
            {"type": e.type, "message": e.message, "stage": e.stage, "error_key": e.error_key,
             "extra_fields": e.extra_fields}
            for e in self.errors
        ]  # fmt: skip


class _Suspended(Exception):
    """The daemon stops; the job stays open in the journal and is recovered at the next start."""


class Jobs:
    """The job manager."""

    def __init__(self, journal: Journal, directory: ServiceDirectory, bus: EventBus) -> None:
        self._journal = journal
        self._directory = directory
        self._bus = bus
        self._locks = LockTable()
        self._jobs: dict[str, Job] = {}
        self._ended: dict[str, JobInfo] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._ends_not_written: dict[str, tuple[JobState, list[dict[str, Any]], bool]] = {}

    async def run(self, kind: JobKind, *, background: bool = False, **arguments: Any) -> JobStarted | None:
        """Plan, accept and run a job.

        Returns when it has ended, or with its id as soon as it is accepted where ``background`` is true. What the plan
        refuses is raised as it is; a job that fails raises its error, with ``job_id`` set.
        """
        self._refuse_when_stopping()
        locks = frozenset(kind.locks(**arguments))
        started = self._new(kind, arguments, locks)
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        accepted.add_done_callback(lambda future: future.cancelled() or future.exception())  # a client may have gone
        self._spawn(started, self._live(started, kind, arguments, locks, accepted, background))
        await asyncio.shield(accepted)
        if background:
            return JobStarted(started.id)
        await asyncio.shield(started.finished)
        return None

    def _new(self, kind: JobKind, arguments: Mapping[str, Any], locks: frozenset[Lock]) -> Job:
        who = caller.get()
        record = JobRecord(
            id=secrets.token_hex(16),
            name=kind.name,
            reference=str(arguments[kind.reference]) if kind.reference else None,
            owner=kind.plan.__module__.partition(".")[0],
            caller=str(who) if who else None,
            recovery=kind.recovery,
            locks=tuple((lock.kind, lock.name) for lock in sorted(locks, key=str)),
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

    def _spawn(self, started: Job, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"job {started.record.name} {started.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(
        self,
        started: Job,
        kind: JobKind,
        arguments: Mapping[str, Any],
        locks: frozenset[Lock],
        accepted: asyncio.Future[None],
        background: bool,
    ) -> None:
        """A job from its plan to its end."""
        structlog.contextvars.bind_contextvars(job=started.id, job_name=kind.name)
        try:
            await self._locks.take(locks, started.id)
            try:
                self._refuse_when_stopping()
                started.plan(await self._plan(kind, arguments))
                await self._write_ends()
                await self._journal.accept(self._planned(started))
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

    async def _plan(self, kind: JobKind, arguments: Mapping[str, Any]) -> Steps:
        wanted = {
            p.name: p.kind
            for p in parameters(kind.plan)
            if p.name not in arguments and (p.required or is_service(self._directory, p.kind))
        }
        return await kind.plan(**Injector(self._directory, wanted).resolve(), **arguments)

    def _planned(self, started: Job) -> JobRecord:
        rows = tuple(StepRecord(kind=step.kind, arguments=step.to_journal()) for step in started.steps)
        started.record = evolve(started.record, steps=rows)
        return started.record

    async def _carry_out(self, started: Job, *, listed: bool) -> None:
        """Do what is still to be done, and on failure take back what was."""
        try:
            for number, planned in enumerate(started.steps):
                if started.states[number] is not StepState.DONE:
                    await self._do(started, number, planned)
        except _Suspended:
            raise
        except Exception as error:
            await self._fail(started, error)
            return
        started.progress = 100.0
        started.stage = None
        await reach("job:end")
        await self._record_end(started, JobState.DONE, listed=listed)
        self._publish(started)
        if not started.finished.done():
            started.finished.set_result(None)

    async def _do(self, started: Job, number: int, planned: Step) -> None:
        if self._stopping.is_set():
            raise _Suspended
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
        try:
            result = await verbs.do(Run(started, number))
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
        started.errors.append(_job_error(error, answer, started.stage))
        log.warning("job_failed", reference=started.record.reference, stage=started.stage, error=answer.message)
        with _unwritable_is_logged():
            await self._journal.fail(started.id, started.raw_errors())
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
                await self._pause(tries)
                tries += 1
            except Exception as error:
                log.exception("undo_failed", stage=started.stage)
                answer = error if isinstance(error, RooftreeError) else Failed(f"Taking back failed: {error}")
                started.errors.append(_job_error(error, answer, started.stage))
                return

    async def _pause(self, tries: int) -> None:
        """Wait before the next try; raises :class:`_Suspended` as soon as the daemon stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S[min(tries, len(RETRY_S) - 1)]):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise _Suspended

    def _refuse_when_stopping(self) -> None:
        if self._stopping.is_set():
            raise NotReady("Rooftree is stopping; no new job is begun")

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
        self._locks.release(started.id)
        self._jobs.pop(started.id, None)
        _tell(started.finished, NotReady("Rooftree is stopping; the job goes on at the next start"))

    def _publish(self, started: Job) -> None:
        self._bus.publish(JobChanged(started.info()))

    async def recover(self) -> None:
        """Take up the jobs that a kill left open; they hold their locks at once and go on by themselves."""
        for info in reversed([_ended_info(record) for record in await self._journal.listed_jobs(LISTED)]):
            self._list(info)
        for record in await self._journal.open_jobs():
            left = Job(record, self._publish)
            self._jobs[left.id] = left
            left.stage = "waiting"
            left.done = False
            self._locks.take_now(frozenset(Lock(kind, name) for kind, name in record.locks), left.id)
            log.warning("job_was_interrupted", job=left.id, name=record.name, reference=record.reference)
            self._spawn(left, self._recover(left))

    async def _recover(self, left: Job) -> None:
        record = left.record
        structlog.contextvars.bind_contextvars(job=left.id, job_name=record.name)
        try:
            await self._until_loaded(left)
            if record.state is JobState.RUNNING and (record.recovery == "forward" or left.is_past_return()):
                await self._carry_forward(left)
                return
            left.errors = [JobError(**error) for error in record.errors]
            if not left.errors:
                interrupted = JobInterrupted(f"{record.name} was interrupted by the end of Rooftree and taken back")
                left.errors.append(_job_error(interrupted, interrupted, None))
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
                for number, planned in enumerate(left.steps):
                    if left.states[number] is not StepState.DONE:
                        await self._do(left, number, planned)
                break
            except Unavailable as error:
                if tries == 0:
                    log.warning("job_waits", reason=error.message)
                left.stage = "waiting"
                await self._pause(tries)
                tries += 1
            except _Suspended:
                raise
            except Exception as error:
                await self._fail(left, error)
                return
        left.progress, left.stage = 100.0, None
        await self._record_end(left, JobState.DONE, listed=True)
        self._publish(left)
        log.info("job_finished_after_restart", reference=left.record.reference)

    async def _until_loaded(self, left: Job) -> None:
        """Wait until the plugins that own the job's steps are loaded."""
        tries = 0
        while True:
            try:
                steps = [Step.from_journal(row.kind, row.arguments) for row in left.record.steps]
                break
            except KeyError as error:
                if tries == 0:
                    log.warning("job_waits", reason=f"no loaded plugin knows the step {error}", owner=left.record.owner)
            except (BaseValidationError, ValueError, TypeError) as error:
                if tries == 0:
                    reason = f"a step in the journal does not fit its class: {'; '.join(describe(error))}"
                    log.error("job_waits", reason=reason, owner=left.record.owner)
            await self._pause(tries)
            tries += 1
        left.plan(steps)
        for number, row in enumerate(left.record.steps):
            left.states[number] = row.state
            left.befores[number] = row.before
            left.results[number] = row.result

    def listing(self) -> list[JobInfo]:
        """What there is to show, newest first: open jobs, and ended ones whose outcome nobody has waited for."""
        infos = {info.uuid: info for info in self._ended.values()}
        infos.update({job.id: job.info() for job in self._jobs.values()})
        return sorted(infos.values(), key=lambda info: info.created, reverse=True)

    async def get(self, job_id: str) -> JobInfo:
        """One job, also an ended one that is no longer listed; raises :class:`NotFound`."""
        found = self._jobs.get(job_id)
        if found is not None:
            return found.info()
        if job_id in self._ended:
            return self._ended[job_id]
        record = await self._journal.find(job_id)
        if record is None:
            raise NotFound(f"There is no job {job_id}")
        return _ended_info(record)

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
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=STUBBORN_S)
        with _unwritable_is_logged():
            await self._write_ends()


JOBS = Service[Jobs]("jobs/1")


def _tell(waiting: asyncio.Future[None], error: Exception) -> None:
    """Let whoever waits know of an error, unless they know the outcome already."""
    if not waiting.done():
        waiting.set_exception(error)


def _job_error(error: Exception, answer: RooftreeError, stage: str | None) -> JobError:
    return JobError(
        type=type(error).__name__,
        message=answer.message,
        stage=stage,
        error_key=answer.error_key,
        extra_fields=dict(answer.extra_fields) or None,
    )


def _ended_info(record: JobRecord) -> JobInfo:
    return JobInfo(
        name=record.name,
        reference=record.reference,
        uuid=record.id,
        progress=100.0 if record.state is JobState.DONE else 0.0,
        stage=None,
        done=True,
        created=record.created,
        errors=[JobError(**error) for error in record.errors],
    )


class _unwritable_is_logged(contextlib.AbstractContextManager[None]):
    """On the way back a full disk must not stop the taking back: the row stays open and the next start repeats it."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Unavailable):
            log.error("journal_unwritable", error=error.message)
            return True
        return False
