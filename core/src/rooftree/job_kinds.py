"""Kinds of jobs: a plan, with what is declared beside it: what it holds, needs, and how often it may begin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from rooftree.locks import Lock
from rooftree.rates import Rate

if TYPE_CHECKING:
    from rooftree.steps import Steps

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

    @property
    def owner(self) -> str:
        """The package that it comes from."""
        return self.plan.__module__.partition(".")[0]

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

    All but ``recovery`` and ``when_busy``, which are the whole job's affair, hold where it is another job's child too.

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
