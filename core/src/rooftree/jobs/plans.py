"""Plans: what a job would do, as data, before anything is done.

A plan is what ``?plan=1`` answers on every route that starts a job, and what the journal records when the job runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Self

from attrs import evolve, field, frozen

from rooftree.jobs.locks import Lock
from rooftree.jobs.steps import Step, Verbs
from rooftree.model import Limit
from rooftree.services import ServiceDirectory


@frozen(kw_only=True)
class ChildRecord:
    """Where a child job is among the steps of its root: those from ``first`` up to, without, ``end``."""

    id: str = field(factory=lambda: secrets.token_hex(16))
    name: str
    reference: str | None
    parent: str
    first: int
    end: int


@frozen(kw_only=True)
class PlannedStep:
    """One step of a plan."""

    job: str
    """The job that it belongs to: that of the plan, or one of its children."""
    job_reference: str | None
    """What that job acts on."""
    kind: str
    what: str
    """What it does, in a sentence."""
    subject: str | None
    """What it does it to: an image, a slug …"""
    fetch_bytes: int | None
    """Bytes that it fetches from elsewhere; ``None`` where that is not known beforehand."""
    downtime: bool
    """Whether something that runs does not run meanwhile, or any more."""
    reversible: bool
    """Whether it can be taken back when a later one fails."""
    notes: list[str] = field(factory=list)
    """What else to know before one agrees to it, such as what it will be given, and what it will not."""


@frozen(kw_only=True)
class Plan:
    """What a route would do. Without steps there is nothing to do but to note what was asked."""

    job: str | None
    """The job's name; ``None`` where no job is needed."""
    reference: str | None
    """What the job acts on."""
    access: str
    """Whom it needs: the route's access, in words."""
    steps: list[PlannedStep]
    fetch_bytes: int | None
    """Bytes that are fetched in all; ``None`` where a step does not know."""
    downtime: bool
    reversible: bool
    """Whether all of it can be taken back."""
    waits_for: list[str]
    """The jobs that it would wait for, as they hold something that it changes."""

    @classmethod
    def of(cls, resolved: ResolvedPlan, steps: Iterable[PlannedStep], waits_for: Iterable[str]) -> Self:
        """The plan of a job."""
        listed = list(steps)
        return cls(
            job=resolved.name,
            reference=resolved.reference,
            access="",
            steps=listed,
            fetch_bytes=sum_known(step.fetch_bytes for step in listed),
            downtime=any(step.downtime for step in listed),
            reversible=all(step.reversible for step in listed),
            waits_for=sorted(waits_for),
        )

    @classmethod
    def empty(cls) -> Self:
        """The plan of a call that begins no job."""
        return cls(job=None, reference=None, access="", steps=[], fetch_bytes=0, downtime=False, reversible=True,
                   waits_for=[])  # fmt: skip

    def needing(self, access: str) -> Self:
        """The same, saying whom it needs."""
        return evolve(self, access=access)


@frozen(kw_only=True)
class ResolvedPlan:
    """A job's whole plan with that of its children: the steps in order, and everything it has to hold."""

    name: str
    reference: str | None
    steps: tuple[Step, ...]
    children: tuple[ChildRecord, ...]
    locks: frozenset[Lock]
    limits: tuple[Limit, ...] = ()

    def owner_of(self, number: int) -> tuple[str, str | None]:
        """The name of the innermost job that step belongs to, and what that job acts on."""
        enclosing = [child for child in self.children if child.first <= number < child.end]
        inmost = enclosing[-1] if enclosing else self  # children are in the order in which they open
        return inmost.name, inmost.reference

    async def described(self, directory: ServiceDirectory) -> list[PlannedStep]:
        """The steps as data; asks each how many bytes it will fetch."""
        return [
            PlannedStep(
                job=self.owner_of(number)[0],
                job_reference=self.owner_of(number)[1],
                kind=step.kind,
                what=step.what(),
                subject=step.acts_on(),
                fetch_bytes=await Verbs(step, directory).fetch_bytes(),
                downtime=step.downtime,
                reversible=step.reversible(),
                notes=await Verbs(step, directory).notes(),
            )
            for number, step in enumerate(self.steps)
        ]


def sum_known(amounts: Iterable[int | None]) -> int | None:
    """The sum, or ``None`` when one of them is not known."""
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
