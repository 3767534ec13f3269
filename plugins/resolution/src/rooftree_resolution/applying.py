"""Doing what is suggested: the job of the domain that can, and then the end of the issue."""

from __future__ import annotations

from rooftree import Problems, Step, Steps, job, step
from rooftree_resolution.models import SuggestionId
from rooftree_resolution.resolution import Resolution


@step("resolution.end_issue/1")
class EndIssue(Step):
    """Take the issue off the list."""

    type: str
    context: str
    reference: str | None
    tidies = True

    async def do(self, problems: Problems) -> None:
        """Clear the problem, unless whoever reported it has."""
        problems.clear(self.type, self.context, self.reference)


@job("resolution_apply_suggestion", reference="suggestion", recovery="forward")
async def apply_suggestion(resolution: Resolution, suggestion: SuggestionId) -> Steps:
    """Do what is suggested against an issue."""
    offer = resolution.offer(suggestion)
    problem = offer.problem
    return [await resolution.remedy(offer), EndIssue(problem.type, problem.context, problem.reference)]
