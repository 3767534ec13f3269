"""Planning: from a kind of job to the whole list of what it would do, its children unfolded, or to a refusal.

Everything that can be refused is refused here, before anything is done: what a plan itself refuses, a condition that
does not hold, a job that would begin too often, one whose plugin does not run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from rooftree.jobs.conditions import Conditions
from rooftree.jobs.kinds import JobCall, JobKind, Steps
from rooftree.jobs.locks import Lock
from rooftree.jobs.plans import ChildRecord, ResolvedPlan
from rooftree.jobs.steps import Step, Verbs
from rooftree.jobs.suspension import Suspension
from rooftree.model import Limit, Throttle
from rooftree.services import Injector, ServiceDirectory, is_service, parameters

SPACE = "free_space"
"""The condition that is asked once more when the plan says how many bytes will be fetched."""


class Planner:
    """Makes plans."""

    def __init__(
        self, directory: ServiceDirectory, conditions: Conditions, suspension: Suspension, throttle: Throttle
    ) -> None:
        self._directory = directory
        self._conditions = conditions
        self._suspension = suspension
        self._throttle = throttle

    async def resolve(self, call: JobCall[Any], root: str) -> ResolvedPlan:
        """The plan with those of its children, unfolded into one list of steps.

        :param root: the id of the job that it is for
        """
        unfolding = _Unfolding(self)
        await unfolding.unfold(call, root)
        kind = call.kind
        steps = tuple(unfolding.steps)
        if unfolding.needs_space and (known := sum([await self._fetches(step) or 0 for step in steps])):
            await self._conditions.require(kind.name, [SPACE], known)
        return ResolvedPlan(
            name=kind.name,
            reference=kind.refers_to(call.arguments),
            steps=steps,
            children=tuple(unfolding.children),
            locks=frozenset(unfolding.locks),
            limits=tuple(unfolding.limits),
        )

    async def refuse(self, kind: JobKind, limits: Iterable[Limit]) -> None:
        """Refuse a job, or a child of one, that may not begin now."""
        self._suspension.refuse(kind.owner)
        self._throttle.refuse_too_soon(limits)
        await self._conditions.require(kind.name, kind.conditions)

    async def plan(self, call: JobCall[Any]) -> Steps:
        """What the kind's own plan says."""
        kind, arguments = call.kind, call.arguments
        wanted = {
            p.name: p.kind
            for p in parameters(kind.plan)
            if p.name not in arguments and (p.required or is_service(self._directory, p.kind))
        }
        directory = self._directory.beside_running(kind.plan.__module__)
        return await kind.plan(**Injector(directory, wanted).resolve(), **arguments)

    async def _fetches(self, step: Step) -> int | None:
        return await Verbs(step, self._directory).fetch_bytes()


class _Unfolding:
    """A plan that is being made, child by child."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.steps: list[Step] = []
        self.children: list[ChildRecord] = []
        self.locks: set[Lock] = set()
        self.limits: list[Limit] = []
        self.needs_space = False

    async def unfold(self, call: JobCall[Any], job_id: str) -> None:
        kind, limits = call.kind, limits_of(call)
        await self._planner.refuse(kind, limits)
        self.limits += limits
        self.locks.update(kind.locks(**call.arguments))
        self.needs_space = self.needs_space or SPACE in kind.conditions
        for part in await self._planner.plan(call):
            if isinstance(part, JobCall):
                await self._unfold_child(part, job_id)
            else:
                self.steps.append(part)

    async def _unfold_child(self, call: JobCall[Any], parent: str) -> None:
        first, place = len(self.steps), len(self.children)
        reference = call.kind.refers_to(call.arguments)
        begun = ChildRecord(name=call.kind.name, reference=reference, parent=parent, first=first, end=first)
        self.children.append(begun)
        await self.unfold(call, begun.id)
        self.children[place] = evolve(begun, end=len(self.steps))


def limits_of(call: JobCall[Any]) -> list[Limit]:
    """How often the job may begin: nothing, or one limit."""
    kind, arguments = call.kind, call.arguments
    return [Limit(kind.name, kind.refers_to(arguments), kind.at_most)] if kind.at_most else []
