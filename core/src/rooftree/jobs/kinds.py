"""Kinds of jobs: a plan, with what is declared beside it: what it holds, needs, and how often it may begin.

A kind is called with its plan's arguments (``install(slug=slug)``). That gives a value, a :class:`JobCall`, and begins
nothing: whoever has it runs it (:meth:`~rooftree.jobs.Jobs.run`), plans it, returns it from a route, or puts it among
the steps of another plan, where it is a job in a job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

from attrs import evolve, field, frozen

from rooftree.jobs.locks import Lock
from rooftree.jobs.steps import Step
from rooftree.model import Rate

type Steps = Sequence[Step | JobCall[Any]]
"""What a plan returns: steps, and jobs among them.

A job among them is planned, locked, journaled and taken back with its parent, and shown below it with an id, stage and
progress of its own.
"""
type Recovery = Literal["undo", "forward"]
type WhenBusy = Literal["wait", "refuse"]


@frozen
class JobKind:
    """A kind of job: made with :func:`job`, run with :meth:`~rooftree.jobs.Jobs.run`."""

    name: str
    plan: Callable[..., Coroutine[Any, Any, Steps]]
    reference: str | None
    locks: Callable[..., Iterable[Lock]]
    recovery: Recovery
    conditions: tuple[str, ...] = ()
    when_busy: WhenBusy = "wait"
    at_most: Rate | None = None
    makes_room: bool = False

    def __call__(self, **arguments: Any) -> JobCall[None]:
        """A call of it, which begins nothing yet; ``arguments`` are the plan's that are no services."""
        return JobCall(self, arguments)

    @property
    def owner(self) -> str:
        """The package that it comes from."""
        return self.plan.__module__.partition(".")[0]

    def refers_to(self, arguments: Mapping[str, Any]) -> str | None:
        """What the job acts on."""
        return str(arguments[self.reference]) if self.reference else None


@frozen
class JobStarted:
    """The answer to a job that was begun in the background."""

    job_id: str


@frozen
class JobCall[Answer]:
    """A kind of job with the arguments of one call of it. The type says what a route answers that returns it."""

    kind: JobKind
    arguments: Mapping[str, Any]
    background: bool = False
    """Whether who runs it waits only until it is accepted."""
    holding: tuple[AbstractContextManager[object], ...] = field(default=(), eq=False, repr=False)
    answer: Callable[[str], Any] | None = field(default=None, eq=False, repr=False)
    """What is answered in place of what else would be, made of the job's id."""

    def in_background(self, background: bool = True) -> JobCall[JobStarted | None]:
        """The same, begun without waiting for its end; answers with the job's id."""
        return cast("JobCall[JobStarted | None]", evolve(self, background=background))

    def detached(self) -> JobCall[Answer]:
        """The same, begun without waiting for its end; for a route whose answer has no place for the job's id."""
        return evolve(self, background=True)

    def answering[Other](self, answer: Callable[[str], Other]) -> JobCall[Other]:
        """The same, for a route whose answer is what ``answer`` makes of the job's id, be it that the job has ended or
        that it has begun in the background."""
        return cast("JobCall[Other]", evolve(self, answer=answer))

    def during(self, context: AbstractContextManager[object]) -> JobCall[Answer]:
        """The same, with something in force from before its plan is made until it has ended; such as a login, which the
        journal must not see and the steps look up (:class:`~rooftree.CallMemory`). After a kill it is not in force any
        more."""
        return evolve(self, holding=(*self.holding, context))


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

    All but ``recovery`` and ``when_busy``, which are the whole job's affair, hold where it is another job's child too.

    :param name: what the jobs API calls it; the reference's name where it has one
    :param reference: the name of the plan's argument that says what the job acts on
    :param locks: called with the plan's arguments (not its services): what the job holds from before its plan is made
        until it has ended, together with what its children hold
    :param recovery: what happens to a job that a kill interrupted: ``undo`` takes it back, ``forward`` finishes it
    :param conditions: names of :class:`~rooftree.jobs.conditions.Conditions` without which it is not begun
    :param when_busy: what happens to a job whose locks another one holds: it ``wait``\\ s for its turn, or is
        ``refuse``\\ d, naming the job in the way
    :param at_most: how often it may begin for one reference; what comes too soon is refused, saying when it may
    :param makes_room: it leads to more room on the data disk, and is accepted when there is none left
    """

    def decorate(plan: Callable[..., Coroutine[Any, Any, Steps]]) -> JobKind:
        return JobKind(name, plan, reference, locks, recovery, tuple(conditions), when_busy, at_most, makes_room)

    return decorate
